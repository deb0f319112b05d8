import { expect, test } from "vitest";
import { settings } from "../../../src/config/settings.js";
import { limits } from "../../../src/platform/limits.js";
import { limitEffects, settingEffects } from "./limit-effects.js";
import { limitsSource, readBounds, renderLimitsDoc } from "./render-limits.js";

test("docs/limits.md has every bound with its value and reason; after a change, run vitest with -u", async () => {
  await expect(renderLimitsDoc()).toMatchFileSnapshot("../../../docs/limits.md");
});

test("the comments that are read out of the source stand above their own bounds", () => {
  const bounds = new Map(readBounds(limitsSource()).map(({ name, comment }) => [name, comment]));
  expect(bounds.size).toBe(Object.keys(limits).length);
  expect(bounds.get("keyMaxBytes")).toBe("Longest bearer key.");
  expect(bounds.get("frameMaxBytes")).toMatch(/^Largest gRPC message; .*setting\.$/);
  expect(bounds.get("http2ConnectionWindowBytes")).toBe("");
});

test("every bound has a unit, one reason, and what the peer sees when it is reached", () => {
  const bounds = readBounds(limitsSource());
  expect(Object.keys(limitEffects).sort()).toEqual(bounds.map(({ name }) => name as string).sort());
  const wrong = bounds.flatMap(({ name, comment }) => {
    const { unit, reached, why } = limitEffects[name];
    // A reason in both places would drift apart.
    const hasOneReason = (comment === "") !== (why === undefined);
    return unit !== "" && reached !== "" && hasOneReason ? [] : [name];
  });
  expect(wrong).toEqual([]);
});

test("names of bounds end with the unit that the page gives them", () => {
  const expected = [
    ["Bytes", "bytes"],
    ["Ms", "ms"],
    ["Days", "days"],
    ["Rows", "rows"],
    ["Chars", "characters"],
  ] as const;
  for (const [ending, unit] of expected) {
    const units = Object.entries(limitEffects).flatMap(([name, effect]) => (name.endsWith(ending) ? [effect.unit] : []));
    expect(new Set(units)).toEqual(new Set([unit]));
  }
});

test("every setting that is a number says what the peer sees when it is reached", () => {
  expect(Object.keys(settingEffects).sort()).toEqual(
    settings
      .filter(({ kind }) => kind === "number")
      .map(({ tomlPath }) => tomlPath)
      .sort(),
  );
});
