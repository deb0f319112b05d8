import { expect, test } from "vitest";
import { checklists, describeChecklists } from "../../../src/cli/checklist.js";
import { judgeSkew, judgeTls, judgeVersion } from "../../../src/cli/reporter-checks.js";
import { coordinatorVersion } from "../../../src/config/version.js";

const at = Date.UTC(2026, 10, 21, 12);
const dateOf = (ms: number): string => new Date(ms).toUTCString();

test("clocks that agree to the second pass, and those that do not are named with the direction", () => {
  expect(judgeSkew(dateOf(at), at + 300, at + 900)).toMatchObject({ kind: "passed" });
  expect(judgeSkew(dateOf(at + 120_000), at, at + 10)).toMatchObject({ kind: "failed", finding: expect.stringContaining("120 s behind") });
  expect(judgeSkew(dateOf(at - 120_000), at, at + 10)).toMatchObject({
    kind: "failed",
    finding: expect.stringContaining("119 s ahead of"),
  });
  expect(judgeSkew(null, at, at)).toMatchObject({ kind: "skipped" });
});

test("the same major version passes, another fails, and one that is not said is skipped", () => {
  expect(judgeVersion(coordinatorVersion)).toMatchObject({ kind: "passed" });
  expect(judgeVersion("99.0.0")).toMatchObject({ kind: "failed", nextStep: expect.any(String) });
  expect(judgeVersion(undefined)).toMatchObject({ kind: "skipped" });
});

test("plain text is said to be plain text", () => {
  expect(judgeTls("http://a")).toMatchObject({ kind: "skipped", finding: expect.stringContaining("plain text") });
  expect(judgeTls("https://a")).toMatchObject({ kind: "passed" });
});

test("the check lists of the guide are printed with a box before each item", () => {
  const boxes = describeChecklists().match(/\[ \]/g) ?? [];
  expect(boxes).toHaveLength(checklists.reduce((sum, { items }) => sum + items.length, 0));
  expect(checklists.map(({ items }) => items.length)).toEqual([4, 4, 4]);
});
