import fc from "fast-check";
import { expect, test } from "vitest";
import { smallest } from "../../../src/smart-router/decide/order-statistic.js";

test("what is at a place is what sorting puts there, whatever lies behind the values that count", () => {
  const values = fc.array(fc.oneof(fc.double({ noNaN: true, min: 0 }), fc.constantFrom(0, 0.25, 1)), { minLength: 1, maxLength: 70 });
  fc.assert(
    fc.property(values, fc.nat(), fc.array(fc.double({ noNaN: true }), { maxLength: 5 }), (counted, any, behind) => {
      const place = any % counted.length;
      const all = Float64Array.from([...counted, ...behind]);
      expect(smallest(all, counted.length, place)).toBe(Float64Array.from(counted).sort()[place]);
      expect([...all.subarray(counted.length)]).toEqual(behind);
      expect(Float64Array.from(all.subarray(0, counted.length)).sort()).toEqual(Float64Array.from(counted).sort());
    }),
  );
});

test("a place that is not there holds 0", () => {
  expect(smallest(new Float64Array(4).fill(7), 0, 0)).toBe(0);
  expect(smallest(new Float64Array(4).fill(7), 2, 2)).toBe(0);
});
