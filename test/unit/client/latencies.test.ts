import fc from "fast-check";
import { expect, test } from "vitest";
import { createLatencies } from "../../../src/client/latencies.js";

test("every quantile lies within one percent of the true one", () => {
  fc.assert(
    fc.property(
      fc.array(fc.double({ min: 0.01, max: 60_000, noNaN: true }), { minLength: 1, maxLength: 200 }),
      fc.double({ min: 0.01, max: 1, noNaN: true }),
      (values, share) => {
        const latencies = createLatencies();
        for (const value of values) latencies.record(value);
        const exact = [...values].sort((a, b) => a - b)[Math.ceil(share * values.length) - 1] ?? 0;
        expect(Math.abs(latencies.quantile(share) - exact)).toBeLessThanOrEqual(exact * 0.0101);
        expect(latencies.max()).toBe(Math.max(...values));
      },
    ),
  );
});

test("latencies of two windows add up", () => {
  const [one, two] = [createLatencies(), createLatencies()];
  one.record(1);
  two.record(100);
  one.add(two);
  expect([one.count(), one.max()]).toEqual([2, 100]);
});
