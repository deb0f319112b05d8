import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { seededRng } from "../../../src/platform/rng.js";
import { hyperexponential } from "../../../src/simulate/arrivals.js";
import { bursty } from "../../../src/simulate/bursts.js";
import { estimate, jainIndex, pairedDifference, quantile, quantileOfCounts, studentT95 } from "../../../src/simulate/statistics.js";

describe("statistics", () => {
  test("an interval of ten values is that of a table of Student's t", () => {
    const { mean, halfWidth } = estimate([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    expect(mean).toBe(5.5);
    // 2.262 × 3.02765 / √10
    expect(halfWidth).toBeCloseTo(2.1657, 3);
    expect(studentT95(1)).toBe(12.706);
    expect(studentT95(1_000)).toBe(1.96);
  });

  test("one seed has no interval", () => {
    expect(estimate([3]).halfWidth).toBeNaN();
  });

  test("pairs that differ by the same amount have an interval of nothing", () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: -1_000, max: 1_000 }), { minLength: 2, maxLength: 30 }), (values) => {
        const difference = pairedDifference(
          values.map((value) => value + 7),
          values,
        );
        expect(difference.mean).toBeCloseTo(7, 9);
        expect(difference.halfWidth).toBeCloseTo(0, 9);
      }),
    );
  });

  test("quantiles are between the least and the greatest value, and grow", () => {
    fc.assert(
      fc.property(
        fc.array(fc.double({ min: 0, max: 1e6, noNaN: true }), { minLength: 1 }),
        fc.double({ min: 0, max: 1, noNaN: true }),
        (values, q) => {
          const sorted = Float64Array.from(values).sort();
          expect(quantile(sorted, q)).toBeGreaterThanOrEqual(sorted[0] ?? 0);
          expect(quantile(sorted, q)).toBeLessThanOrEqual((sorted.at(-1) ?? 0) + 1e-6);
          expect(quantile(sorted, q)).toBeGreaterThanOrEqual(quantile(sorted, q / 2) - 1e-6);
        },
      ),
    );
  });

  test("a quantile of counts counts every one of them", () => {
    const seen = new Map([
      [3, 1],
      [0, 98],
      [1, 1],
    ]);
    expect(quantileOfCounts(seen, 0.98)).toBe(0);
    expect(quantileOfCounts(seen, 0.99)).toBe(1);
    expect(quantileOfCounts(seen, 1)).toBe(3);
  });

  test("fairness is 1 for equal shares and 1/n for one who has all", () => {
    expect(jainIndex([5, 5, 5, 5])).toBe(1);
    expect(jainIndex([8, 0, 0, 0])).toBe(0.25);
  });
});

describe("arrivals", () => {
  const cvOf = (gaps: readonly number[]): number => {
    const mean = gaps.reduce((sum, gap) => sum + gap, 0) / gaps.length;
    return Math.sqrt(gaps.reduce((sum, gap) => sum + (gap - mean) ** 2, 0) / gaps.length) / mean;
  };
  const draw = (next: () => number): readonly number[] => Array.from({ length: 400_000 }, next);

  test("hyperexponential gaps have the rate and the variation that were asked for", () => {
    const gaps = draw(hyperexponential(50, 3)(seededRng(1)));
    expect(gaps.reduce((sum, gap) => sum + gap, 0) / gaps.length).toBeCloseTo(20, 0);
    expect(cvOf(gaps)).toBeGreaterThan(2.8);
    expect(cvOf(gaps)).toBeLessThan(3.2);
  });

  test("bursts have a variation of 13, and three of four seconds are idle", () => {
    const gaps = draw(bursty(2.6)(seededRng(2)));
    expect(cvOf(gaps)).toBeGreaterThan(12);
    expect(cvOf(gaps)).toBeLessThan(14.5);
    const seconds = new Map<number, number>();
    let nowMs = 0;
    for (const gap of gaps) {
      nowMs += gap;
      const second = Math.floor(nowMs / 1_000);
      seconds.set(second, (seconds.get(second) ?? 0) + 1);
    }
    const idle = 1 - seconds.size / (nowMs / 1_000);
    expect(idle).toBeGreaterThan(0.68);
    expect(idle).toBeLessThan(0.82);
    expect(Math.max(...seconds.values())).toBeGreaterThan(50);
  });
});
