import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { estimate, type Sample, weightMax } from "../../../../src/smart-router/evaluate/estimate.js";

const unit = fc.double({ min: 0, max: 1, noNaN: true });
const sample: fc.Arbitrary<Sample> = fc.record({
  ratio: fc.double({ min: 0, max: 100, noNaN: true }),
  reward: unit,
  expected: unit,
  predicted: unit,
  multiplicity: fc.constantFrom(1, 10),
});
const samples = fc.array(sample, { minLength: 2, maxLength: 60 });

describe("estimate", () => {
  test("the self-normalised estimate of a constant reward is that constant, whatever the weights", () => {
    fc.assert(
      fc.property(samples, unit, (some, constant) => {
        fc.pre(some.some(({ ratio }) => ratio > 1e-6));
        const snips = estimate(some.map((each) => ({ ...each, reward: constant })))?.snips;
        expect(snips?.value).toBeCloseTo(constant, 9);
        expect(snips?.standardError).toBeCloseTo(0, 9);
      }),
    );
  });

  test("the self-normalised estimate stays between the least and the greatest reward", () => {
    fc.assert(
      fc.property(samples, (some) => {
        const snips = estimate(some)?.snips;
        if (snips === undefined) return;
        expect(snips.value).toBeGreaterThanOrEqual(Math.min(...some.map(({ reward }) => reward)) - 1e-9);
        expect(snips.value).toBeLessThanOrEqual(Math.max(...some.map(({ reward }) => reward)) + 1e-9);
      }),
    );
  });

  test("the effective sample size is at most the number of samples, and that number when all weigh the same", () => {
    fc.assert(
      fc.property(samples, fc.double({ min: 0.01, max: weightMax, noNaN: true }), (some, ratio) => {
        expect(estimate(some)?.ess ?? 0).toBeLessThanOrEqual(some.length + 1e-9);
        expect(estimate(some.map((each) => ({ ...each, ratio, multiplicity: 1 })))?.ess).toBeCloseTo(some.length, 6);
      }),
    );
  });

  test("a model that is always right leaves doubly robust without noise, whatever the weights", () => {
    fc.assert(
      fc.property(samples, (some) => {
        const right = some.map((each) => ({ ...each, predicted: each.reward, expected: 0.25 }));
        expect(estimate(right)?.dr.value).toBeCloseTo(0.25, 9);
        expect(estimate(right)?.dr.standardError).toBeCloseTo(0, 9);
      }),
    );
  });

  test("doubly robust without a model is the inverse propensity score", () => {
    fc.assert(
      fc.property(samples, (some) => {
        const bare = estimate(some.map((each) => ({ ...each, predicted: 0, expected: 0 })));
        expect(bare?.dr).toEqual(bare?.ips);
      }),
    );
  });

  test("what the logging policy itself would have achieved is the mean reward, by each estimator, with a gain of 0", () => {
    fc.assert(
      fc.property(samples, (some) => {
        const own = estimate(some.map((each) => ({ ...each, ratio: 1, expected: each.predicted })));
        expect(own?.ips.value).toBeCloseTo(own?.logged.value ?? Number.NaN, 9);
        expect(own?.snips?.value).toBeCloseTo(own?.logged.value ?? Number.NaN, 9);
        expect(own?.dr.value).toBeCloseTo(own?.logged.value ?? Number.NaN, 9);
        expect(own?.gain.value).toBeCloseTo(0, 9);
        expect(own?.gain.standardError).toBeCloseTo(0, 9);
      }),
    );
  });

  test("a row that stands for ten counts like ten rows", () => {
    fc.assert(
      fc.property(samples, (some) => {
        const spelled = some.flatMap((each) => Array.from({ length: each.multiplicity }, () => ({ ...each, multiplicity: 1 })));
        for (const name of ["ips", "dr", "logged", "gain"] as const) {
          expect(estimate(some)?.[name].value).toBeCloseTo(estimate(spelled)?.[name].value ?? Number.NaN, 9);
        }
      }),
    );
  });

  test("weights above the limit are cut and said to be", () => {
    const some: readonly Sample[] = [
      { ratio: 3 * weightMax, reward: 1, expected: 0, predicted: 0, multiplicity: 1 },
      { ratio: 0, reward: 0, expected: 0, predicted: 0, multiplicity: 1 },
    ];
    expect(estimate(some)?.ips.value).toBe(weightMax / 2);
    expect(estimate(some)?.clippedShare).toBeCloseTo(2 / 3, 12);
    expect(estimate(some, 3 * weightMax)?.clippedShare).toBe(0);
  });

  test("an interval holds the uncut estimate: what clipping takes away is not hidden", () => {
    fc.assert(
      fc.property(samples, fc.double({ min: 0.5, max: 50, noNaN: true }), (some, clipAt) => {
        const [cut, uncut] = [estimate(some, clipAt), estimate(some, 1e9)];
        for (const name of ["ips", "snips", "dr", "gain"] as const) {
          const [its, whole] = [cut?.[name], uncut?.[name]];
          if (its === undefined || whole === undefined) continue;
          expect(its.low).toBeLessThanOrEqual(whole.value + 1e-9);
          expect(its.high).toBeGreaterThanOrEqual(whole.value - 1e-9);
        }
      }),
    );
  });

  test("evidence of rare trials counts: a log that tries one in a hundred tells what it never does", () => {
    // 20 000 rows; the other of two choices has p = 0.005 and is right in nine of ten, the usual one in half. A model that knows neither.
    const rows = Array.from({ length: 20_000 }, (_, index): Sample => {
      const isTrial = index % 200 === 0;
      const reward = isTrial ? Number((index / 200) % 10 !== 0) : index % 2;
      return { ratio: isTrial ? 200 : 0, reward, expected: 0.5, predicted: 0.5, multiplicity: 1 };
    });
    const dr = estimate(rows)?.dr;
    expect(dr?.value).toBeCloseTo(0.9, 9);
    expect(estimate(rows, 20)?.dr.value).toBeLessThan(0.6);
    expect(estimate(rows, 20)?.dr.high).toBeGreaterThan(0.9);
  });

  test("without any weight there is no self-normalised estimate, and one sample is no evidence", () => {
    const zero: Sample = { ratio: 0, reward: 1, expected: 0.5, predicted: 0.5, multiplicity: 1 };
    expect(estimate([zero, zero])?.snips).toBeUndefined();
    expect(estimate([zero, zero])?.ess).toBe(0);
    expect(estimate([zero])).toBeUndefined();
  });

  test("the interval of the mean is the textbook one", () => {
    const some = [0, 0, 1, 1].map((reward): Sample => ({ ratio: 1, reward, expected: 0, predicted: 0, multiplicity: 1 }));
    expect(estimate(some)?.logged.standardError).toBeCloseTo(Math.sqrt(1 / 3) / 2, 12);
  });
});
