import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { limits } from "../../../src/platform/limits.js";
import { readBounds, renderLimitsDoc } from "./render-limits.js";

test("docs/limits.md has every bound with its value and reason; after a change, run vitest with -u", async () => {
  await expect(renderLimitsDoc()).toMatchFileSnapshot("../../../docs/limits.md");
});

test("the comments that are read out of the source stand above their own bounds", () => {
  const bounds = new Map(readBounds(readFileSync("src/platform/limits.ts", "utf8")).map(({ name, comment }) => [name, comment]));
  expect(bounds.size).toBe(Object.keys(limits).length);
  expect(bounds.get("keyMaxBytes")).toBe("Longest bearer key.");
  expect(bounds.get("frameMaxBytes")).toMatch(/^Largest gRPC message; .*setting\.$/);
  expect(bounds.get("http2ConnectionWindowBytes")).toBe("");
});
