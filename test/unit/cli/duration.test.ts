import fc from "fast-check";
import { expect, test } from "vitest";
import { parseDuration, roundedMs, secondsOf } from "../../../src/cli/duration.js";

const decimals = (value: number): number => String(value).split(".")[1]?.length ?? 0;

test("figures for scripts have three decimals at most, and are off by less than half of the last", () => {
  fc.assert(
    fc.property(fc.double({ min: 0, max: 1e9, noNaN: true }), (ms) => {
      expect(Math.max(decimals(secondsOf(ms)), decimals(roundedMs(ms)))).toBeLessThanOrEqual(3);
      expect(Math.abs(secondsOf(ms) * 1_000 - ms)).toBeLessThanOrEqual(0.5 + 1e-6);
      expect(Math.abs(roundedMs(ms) - ms)).toBeLessThanOrEqual(0.0005 + 1e-6);
    }),
  );
});

test("a duration names its flag when it is none", () => {
  expect(parseDuration("--ack-timeout", "2m")).toBe(120_000);
  expect(() => parseDuration("--ack-timeout", "2 m")).toThrow("--ack-timeout must be a duration");
});
