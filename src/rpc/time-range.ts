import type { GetPerformanceMetricsRequest } from "../../gen/mcp/coordinator/v1/query_service_pb.js";
import { type ParsedRange, rangeOfWord } from "../interaction/time-word.js";
import type { FieldFault } from "../platform/errors.js";
import { msFromTimestamp } from "../wire/time.js";

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

function unrepresentable(field: string): FieldFault {
  return { field, reason: "OUT_OF_RANGE", description: "must lie between the years 1 and 9999, with nanos from 0 to 999,999,999" };
}
