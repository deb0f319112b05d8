import { describe, expect, it } from "vitest";
import { parseTimeRange } from "../../../src/rpc/time-range.js";
import { timestampFromMs } from "../../../src/wire/time.js";

const nowMs = 1_780_000_000_000;
const hourMs = 3_600_000;
const at = (ms: number) => timestampFromMs(ms);
const asked = (range: { timeRange?: string; startTime?: ReturnType<typeof at>; endTime?: ReturnType<typeof at> }) =>
  parseTimeRange({ timeRange: "", ...range }, nowMs);

describe("a time range", () => {
  it.each([
    ["", 24],
    ["1h", 1],
    ["24h", 24],
    ["7d", 7 * 24],
    ["30d", 30 * 24],
    ["last_1h", 1],
    ["last_24h", 24],
    ["last_7d", 7 * 24],
    ["last_30d", 30 * 24],
  ])("of the word %j reaches %d hours back", (timeRange, hours) => {
    expect(asked({ timeRange })).toEqual({ kind: "range", range: { startMs: nowMs - hours * hourMs, endMs: nowMs } });
  });

  it("of its own is taken as it is, and ends now without an end", () => {
    expect(asked({ startTime: at(5), endTime: at(6) })).toEqual({ kind: "range", range: { startMs: 5, endMs: 6 } });
    expect(asked({ startTime: at(5) })).toEqual({ kind: "range", range: { startMs: 5, endMs: nowMs } });
  });

  const outside = (seconds: bigint, nanos: number) => ({ $typeName: "google.protobuf.Timestamp" as const, seconds, nanos });
  it.each([
    ["an unknown word", { timeRange: "2h" }, ["time_range"]],
    ["a prefix twice", { timeRange: "last_last_1h" }, ["time_range"]],
    ["a word in capitals", { timeRange: "1H" }, ["time_range"]],
    ["both kinds", { timeRange: "1h", startTime: at(5), endTime: at(6) }, ["time_range"]],
    ["a word and an end", { timeRange: "1h", endTime: at(6) }, ["time_range", "start_time"]],
    ["an end alone", { endTime: at(6) }, ["start_time"]],
    ["an end before its start", { startTime: at(6), endTime: at(5) }, ["end_time"]],
    ["an end at its start", { startTime: at(6), endTime: at(6) }, ["end_time"]],
    ["a start in the future", { startTime: at(nowMs + 1) }, ["start_time"]],
    ["a start before the year 1", { startTime: outside(-62_135_596_801n, 0) }, ["start_time"]],
    ["an end after the year 9999", { startTime: at(5), endTime: outside(253_402_300_800n, 0) }, ["end_time"]],
    ["nanos below zero", { startTime: outside(1n, -1) }, ["start_time"]],
  ])("of %s is a fault of the named fields", (_what, range, fields) => {
    const parsed = asked(range);
    expect(parsed.kind === "faults" ? parsed.faults.map(({ field }) => field) : parsed).toEqual(fields);
  });
});
