import type { Accepted, Bearer, Refused } from "../../ingest/accept.js";
import type { Verdict } from "../../ingest/verdict.js";
import type { Draft, NewEvent } from "../../interaction/event.js";
import type { FieldFault } from "../../platform/errors.js";
import { limits } from "../../platform/limits.js";
import type { WaitingReport } from "../../store/waiting-reports.js";
import type { ReadReport } from "../../wire/report-body.js";

/** What a row of the shared table is, before the store is asked. */
export type JudgedReport =
  | { readonly kind: "event"; readonly event: NewEvent }
  /** The front door said no, and for good. */
  | { readonly kind: "refused"; readonly verdict: Verdict }
  /** It is no report at all: what is wrong, and the id that it gives itself, if any. */
  | { readonly kind: "unreadable"; readonly eventId: string; readonly faults: readonly FieldFault[] }
  /** It may pass later as it is. */
  | { readonly kind: "early" };

export type JudgeDeps = {
  readonly read: (value: unknown) => ReadReport;
  readonly judge: (bearer: Bearer, draft: Draft) => Accepted | Refused;
};

/** Judges one row: whatever JSON it holds, it gets one of the four answers. The columns speak for a body that says nothing; where both speak they must agree. */
export function judgeReport({ read, judge }: JudgeDeps, report: WaitingReport): JudgedReport {
  if (report.data === undefined) {
    const description = `is ${report.dataBytes} bytes of JSON; at most ${limits.tableReportMaxBytes} are read`;
    return unreadable("", [{ field: "data", reason: "TOO_LARGE", description }]);
  }
  const found = read(JSON.parse(report.data));
  if (found.kind === "faulty") return unreadable(found.eventId, found.faults);
  const { draft } = found;
  const faults = [
    ...disagreement("mcp_id", report.mcpId, draft.mcpId),
    ...disagreement("interaction_id", report.interactionId, draft.interactionId),
  ];
  if (faults.length > 0) return unreadable(draft.eventId, faults);
  const mcpId = report.mcpId === "" ? draft.mcpId : report.mcpId;
  const interactionId = draft.interactionId === "" ? report.interactionId : draft.interactionId;
  const judged = judge(bearerOf(mcpId), { ...draft, mcpId, interactionId });
  if (judged.kind === "accepted") return { kind: "event", event: judged.event };
  return judged.verdict.retryable ? { kind: "early" } : { kind: "refused", verdict: judged.verdict };
}

/** Whoever may insert may report for every MCP: the database has judged who that is. */
function bearerOf(mcpId: string): Bearer {
  return { principal: { kind: "anyone" }, mcpId, producerId: "", epoch: 0, labels: {}, source: "table" };
}

function unreadable(eventId: string, faults: readonly FieldFault[]): JudgedReport {
  return { kind: "unreadable", eventId, faults };
}

function disagreement(field: string, column: string, body: string): readonly FieldFault[] {
  if (column === "" || body === "" || column === body) return [];
  return [{ field, reason: "CONTRADICTS_COLUMN", description: "the column and the body name two different ones" }];
}

/** Why a row was set aside, for the operator who reads the dead letters. */
export function reasonOf(status: string, faults: readonly FieldFault[]): string {
  const named = faults
    .slice(0, limits.violationMaxCount)
    .map(({ field, reason, description }) => `${field} ${reason}: ${description}`.trimStart());
  return [status.toUpperCase(), ...named].join("; ");
}
