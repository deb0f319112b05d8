import { toJsonString } from "@bufbuild/protobuf";
import { DurationSchema, TimestampSchema } from "@bufbuild/protobuf/wkt";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { durationFromMs, msFromTimestamp, timestampFromMs, timestampFromUs } from "../../../src/wire/time.js";

describe("a timestamp", () => {
  it.each([
    [0, "1970-01-01T00:00:00Z"],
    [1_780_272_000_000_001, "2026-06-01T00:00:00.000001Z"],
    [-1, "1969-12-31T23:59:59.999999Z"],
  ])("of %d µs reads %s", (us, text) => {
    expect(toJsonString(TimestampSchema, timestampFromUs(us))).toBe(`"${text}"`);
  });

  it("of whole milliseconds comes back as they were", () => {
    fc.assert(
      fc.property(fc.integer({ min: -62_135_596_800_000, max: 8_000_000_000_000 }), (ms) => {
        expect(msFromTimestamp(timestampFromMs(ms))).toBe(ms);
      }),
    );
  });

  it.each([
    [-62_135_596_801n, 0],
    [253_402_300_800n, 0],
    [0n, -1],
    [0n, 1_000_000_000],
  ])("of %d s and %d ns is none", (seconds, nanos) => {
    expect(msFromTimestamp({ $typeName: "google.protobuf.Timestamp", seconds, nanos })).toBeUndefined();
  });
});

describe("a duration", () => {
  it.each([
    [0, "0s"],
    [1_500.25, "1.500250s"],
    [0.000_001, "0.000000001s"],
    [999.999_999_9, "1s"],
    [-0.000_000_1, "0s"],
    [-1_500.5, "-1.500500s"],
  ])("of %d ms reads %s", (ms, text) => {
    expect(toJsonString(DurationSchema, durationFromMs(ms))).toBe(`"${text}"`);
  });

  it("is as long as its milliseconds to the nanosecond, both members of one sign", () => {
    fc.assert(
      fc.property(fc.double({ min: -1e9, max: 1e9, noNaN: true }), (ms) => {
        const { seconds, nanos } = durationFromMs(ms);
        expect(Math.abs(Number(seconds) * 1_000 + nanos / 1e6 - ms)).toBeLessThan(1e-5);
        expect(Math.abs(nanos)).toBeLessThan(1e9);
        expect(seconds === 0n || nanos === 0 || seconds > 0n === nanos > 0).toBe(true);
      }),
    );
  });
});
