import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { betaAbove, betaAtMost, logGamma } from "../../../src/smart-router/health/beta.js";

describe("the incomplete beta function", () => {
  it.each([
    // Closed forms: I_x(1, b) = 1 − (1 − x)^b, I_x(a, 1) = x^a, and the arcsine law.
    [0.05, 1, 19, 1 - 0.95 ** 19],
    [0.3, 4, 1, 0.3 ** 4],
    [0.5, 0.5, 0.5, 0.5],
    [0.25, 0.5, 0.5, (2 / Math.PI) * Math.asin(Math.sqrt(0.25))],
    [0.5, 7, 7, 0.5],
    [0.5, 1_000, 1_000, 0.5],
    // P(at least 2 of 5 with p = 0.3) by the binomial identity.
    [0.3, 2, 4, 1 - 0.7 ** 5 - 5 * 0.3 * 0.7 ** 4],
  ])("at %d with a = %d and b = %d has its known value", (x, a, b, known) => {
    expect(betaAtMost(x, a, b)).toBeCloseTo(known, 11);
  });

  it("equals the binomial sum for whole a and b", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 40 }),
        fc.integer({ min: 1, max: 40 }),
        fc.double({ min: 0.01, max: 0.99, noNaN: true }),
        (a, b, x) => {
          const n = a + b - 1;
          let sum = 0;
          for (let k = a; k <= n; k += 1) {
            const choose = Math.exp(logGamma(n + 1) - logGamma(k + 1) - logGamma(n - k + 1));
            sum += choose * x ** k * (1 - x) ** (n - k);
          }
          expect(betaAtMost(x, a, b)).toBeCloseTo(sum, 9);
        },
      ),
    );
  });

  it("grows from 0 to 1, and both tails sum to 1", () => {
    const shape = fc.double({ min: 0.1, max: 5_000, noNaN: true });
    const share = fc.double({ min: 0, max: 1, noNaN: true });
    fc.assert(
      fc.property(shape, shape, share, share, (a, b, x, y) => {
        const [low, high] = [betaAtMost(Math.min(x, y), a, b), betaAtMost(Math.max(x, y), a, b)];
        expect(low).toBeGreaterThanOrEqual(0);
        expect(high).toBeLessThanOrEqual(1);
        expect(high - low).toBeGreaterThan(-1e-9);
        expect(betaAtMost(x, a, b) + betaAbove(x, a, b)).toBeCloseTo(1, 9);
      }),
    );
  });

  it("knows the logarithm of factorials", () => {
    let factorial = 1;
    for (let n = 1; n <= 20; n += 1) {
      factorial *= n;
      expect(logGamma(n + 1)).toBeCloseTo(Math.log(factorial), 10);
    }
    expect(logGamma(0.5)).toBeCloseTo(Math.log(Math.sqrt(Math.PI)), 12);
  });
});
