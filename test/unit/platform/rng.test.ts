import fc from "fast-check";
import { expect, test } from "vitest";
import { seededRng, systemRng } from "../../../src/platform/rng.js";

test("the same seed gives the same numbers, and the first ones are fixed for all machines", () => {
  const [left, right] = [seededRng(42), seededRng(42)];
  const numbers = Array.from({ length: 3 }, left);
  expect(numbers).toEqual(Array.from({ length: 3 }, right));
  expect(numbers).toEqual([0.6011037519201636, 0.44829055899754167, 0.8524657934904099]);
});

test("numbers lie in [0, 1) for every seed", () => {
  fc.assert(
    fc.property(fc.integer(), (seed) => {
      const rng = seededRng(seed);
      for (const number of [...Array.from({ length: 50 }, rng), systemRng()]) {
        expect(number).toBeGreaterThanOrEqual(0);
        expect(number).toBeLessThan(1);
      }
    }),
  );
});

test("numbers are spread evenly: each tenth gets its share within five standard deviations", () => {
  const rng = seededRng(7);
  const count = 100_000;
  const tenths = new Array<number>(10).fill(0);
  for (let draw = 0; draw < count; draw++) {
    const tenth = Math.floor(rng() * 10);
    tenths[tenth] = (tenths[tenth] ?? 0) + 1;
  }
  const deviation = Math.sqrt(count * 0.1 * 0.9);
  for (const share of tenths) expect(Math.abs(share - count / 10)).toBeLessThan(5 * deviation);
});
