import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { microsOfTimestamp, slotOf, timestampOfMicros } from "../../../src/store/timestamps.js";

describe("timestamps", () => {
  it("reads what Postgres writes, to the microsecond", () => {
    expect(microsOfTimestamp("1970-01-01 00:00:00+00")).toBe(0);
    expect(microsOfTimestamp("2026-11-20 20:42:00.5+00")).toBe(Date.UTC(2026, 10, 20, 20, 42, 0, 500) * 1000);
    expect(microsOfTimestamp("2026-11-20 20:42:00.000001+00")).toBe(Date.UTC(2026, 10, 20, 20, 42) * 1000 + 1);
    expect(microsOfTimestamp("1969-12-31 23:59:59.999999+00")).toBe(-1);
  });

  it("refuses a session that is not in UTC", () => {
    expect(() => microsOfTimestamp("2026-11-20 20:42:00+02")).toThrow(/UTC/);
  });

  it("has a slot that fits its column for every time of the contract, also those before and after all events", () => {
    const [firstMs, lastMs] = [Date.parse("0001-01-01T00:00:00Z"), Date.parse("9999-12-31T23:59:59Z")];
    expect(slotOf(firstMs * 1000)).toBe(-(2 ** 31));
    expect(slotOf(0)).toBe(0);
    expect(slotOf(Date.UTC(2026, 10, 21) * 1000)).toBe(Date.UTC(2026, 10, 21) / 10_000);
    expect(slotOf(lastMs * 1000)).toBe(2 ** 31 - 1);
  });

  it("writes what it reads, and slots keep the order", () => {
    const micros = fc.integer({ min: 0, max: Date.UTC(9999, 11, 31) * 1000 });
    fc.assert(
      fc.property(micros, micros, (a, b) => {
        expect(microsOfTimestamp(timestampOfMicros(a).replace("T", " ").replace("Z", "+00"))).toBe(a);
        if (a <= b) expect(slotOf(a)).toBeLessThanOrEqual(slotOf(b));
      }),
    );
  });
});
