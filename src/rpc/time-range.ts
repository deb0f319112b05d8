import type { GetPerformanceMetricsRequest } from "../../gen/mcp/coordinator/v1/query_service_pb.js";
import type { FieldFault } from "../platform/errors.js";
import { msFromTimestamp } from "../wire/time.js";

/** A time range, start inclusive, end exclusive. Units: milliseconds since the Unix epoch. */
export type TimeRange = { readonly startMs: number; readonly endMs: number };

export type ParsedRange =
  | { readonly kind: "range"; readonly range: TimeRange }
  | { readonly kind: "faults"; readonly faults: readonly FieldFault[] };

const hourMs = 60 * 60 * 1_000;

/** The words of `time_range`; each also with the prefix "last_". Source: comments of GetPerformanceMetricsRequest. */
const spanMs: ReadonlyMap<string, number> = new Map([
  ["1h", hourMs],
  ["24h", 24 * hourMs],
  ["7d", 7 * 24 * hourMs],
  ["30d", 30 * 24 * hourMs],
]);

/** The range that a request asks for, or its faults: a word back from now, a range of its own, or the last 24 hours when it says nothing. */
export function parseTimeRange(
  request: Pick<GetPerformanceMetricsRequest, "timeRange" | "startTime" | "endTime">,
  nowMs: number,
): ParsedRange {
  const isOwn = request.startTime !== undefined || request.endTime !== undefined;
  if (!isOwn) return rangeOfWord(request.timeRange === "" ? "24h" : request.timeRange, nowMs);
  const faults: FieldFault[] = [];
  if (request.timeRange !== "") {
    faults.push({ field: "time_range", reason: "MALFORMED", description: "must be empty when start_time or end_time is set" });
  }
  if (request.startTime === undefined)
    faults.push({ field: "start_time", reason: "REQUIRED", description: "must be set when end_time is" });
  const startMs = request.startTime === undefined ? undefined : msFromTimestamp(request.startTime);
  if (request.startTime !== undefined && startMs === undefined) faults.push(unrepresentable("start_time"));
  const endMs = request.endTime === undefined ? nowMs : msFromTimestamp(request.endTime);
  if (endMs === undefined) faults.push(unrepresentable("end_time"));
  if (startMs !== undefined && endMs !== undefined && endMs <= startMs) {
    const field = request.endTime === undefined ? "start_time" : "end_time";
    const description = request.endTime === undefined ? "must be in the past when end_time is absent" : "must be after start_time";
    faults.push({ field, reason: "OUT_OF_RANGE", description });
  }
  if (faults.length > 0 || startMs === undefined || endMs === undefined) return { kind: "faults", faults };
  return { kind: "range", range: { startMs, endMs } };
}

function rangeOfWord(word: string, nowMs: number): ParsedRange {
  const span = spanMs.get(word.replace(/^last_/, ""));
  if (span !== undefined) return { kind: "range", range: { startMs: nowMs - span, endMs: nowMs } };
  const words = [...spanMs.keys()].map((known) => `"${known}"`).join(", ");
  return {
    kind: "faults",
    faults: [{ field: "time_range", reason: "MALFORMED", description: `must be one of ${words}, also with the prefix "last_"` }],
  };
}

function unrepresentable(field: string): FieldFault {
  return { field, reason: "OUT_OF_RANGE", description: "must lie between the years 1 and 9999, with nanos from 0 to 999,999,999" };
}
