import fc from "fast-check";
import { expect, test } from "vitest";
import { backoffMs } from "../../../src/platform/backoff.js";
import { limits } from "../../../src/platform/limits.js";

const almostOne = 1 - Number.EPSILON;
const bounds = fc.record({ firstMs: fc.integer({ min: 1, max: 10_000 }), maxMs: fc.integer({ min: 1, max: 600_000 }) });

test("the cap doubles with each attempt until it reaches the maximum, and stays there for ever", () => {
  const caps = [0, 1, 2, 3, 4, 5, 6, 1_000_000].map((attempt) => backoffMs(limits.storeBackoff, attempt, () => almostOne));
  expect(caps).toEqual([50, 100, 200, 400, 800, 1_600, 2_000, 2_000]);
});

test("a delay is a whole number above zero and never above the maximum, whatever the dice say", () => {
  fc.assert(
    fc.property(bounds, fc.nat(), fc.double({ min: 0, max: almostOne, noNaN: true }), (range, attempt, dice) => {
      const delay = backoffMs(range, attempt, () => dice);
      expect(Number.isInteger(delay)).toBe(true);
      expect(delay).toBeGreaterThanOrEqual(1);
      expect(delay).toBeLessThanOrEqual(range.maxMs);
    }),
  );
});

test("peers that failed together come back over the whole range, not in its upper half", () => {
  const delays = [0, 0.25, 0.5, 0.75].map((dice) => backoffMs({ firstMs: 1_000, maxMs: 1_000 }, 0, () => dice));
  expect(delays).toEqual([1, 250, 500, 750]);
});
