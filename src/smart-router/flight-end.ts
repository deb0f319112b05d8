import type { Flight } from "./in-flight.js";
import type { Ended } from "./policy.js";
import type { EndReport } from "./router.js";

/** What a terminal event says, or whoever called the MCP; `atMs` is when this coordinator heard of it. */
export type End = EndReport & { readonly atMs: number };

/** How far an MCP's own measure of a latency may be from ours before the longer one counts.     Source: router.md 1.6, "Clock skew". */
const skewMs = 250;
const skewShare = 0.2;

/** An end that tells nothing of the request. */
export const nothing = {
  result: "released",
  durationMs: undefined,
  quality: undefined,
  auditedQuality: undefined,
  cost: undefined,
  errorCode: "",
} as const satisfies EndReport;

/** When it ended: what another coordinator heard first, this one hears of later. */
export function endedAtOf({ assignedAtMs }: { readonly assignedAtMs: number }, { atMs, endedAtMs }: End): number {
  return endedAtMs === undefined ? atMs : Math.min(atMs, Math.max(assignedAtMs, endedAtMs));
}

/** The MCP's own measure, unless it is far from what was seen here: then the longer one. */
export function latencyOf({ durationMs, startedAtMs, endedAtMs }: Ended): number {
  const seenMs = endedAtMs - startedAtMs;
  if (durationMs === undefined || !Number.isFinite(durationMs) || durationMs < 0) return seenMs;
  const isOff = Math.abs(durationMs - seenMs) > Math.max(skewMs, skewShare * seenMs);
  return isOff ? Math.max(durationMs, seenMs) : durationMs;
}

/** What policies hear of the end of a request. */
export function endedOf(
  flight: Pick<Flight, "decisionId" | "isNamed" | "mcpId" | "request" | "startedAtMs" | "assignedAtMs" | "inFlightBefore">,
  end: End,
): Ended {
  return {
    decisionId: flight.decisionId,
    mcpId: flight.mcpId,
    request: flight.request,
    startedAtMs: flight.startedAtMs ?? flight.assignedAtMs,
    endedAtMs: endedAtOf(flight, end),
    inFlightBefore: flight.inFlightBefore,
    result: end.result,
    durationMs: end.durationMs,
    quality: end.quality,
    auditedQuality: end.auditedQuality,
    cost: end.cost,
    isUnnamed: !flight.isNamed,
  };
}
