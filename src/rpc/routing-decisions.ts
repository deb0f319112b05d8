import { createHash } from "node:crypto";
import { create, toBinary } from "@bufbuild/protobuf";
import { type LoggedDecision, LoggedDecisionSchema } from "../../gen/mcp/coordinator/v1/decisions_pb.js";
import {
  type ExplainDecisionRequest,
  type ExplainDecisionResponse,
  ExplainDecisionResponseSchema,
  type ListDecisionsRequest,
  type ListDecisionsResponse,
  ListDecisionsResponseSchema,
} from "../../gen/mcp/coordinator/v1/routing_service_pb.js";
import { type Principal, scopeTo } from "../auth/principal.js";
import { checkText } from "../interaction/check.js";
import type { Clock } from "../platform/clock.js";
import { CoordinatorError, type FieldFault } from "../platform/errors.js";
import { limits } from "../platform/limits.js";
import { parseUuidV7 } from "../platform/uuid-v7.js";
import type { DecisionLog } from "../smart-router/log/decision-log.js";
import { type DecisionRecord, recordOfRow } from "../smart-router/log/decision-record.js";
import { mergeOutcomes } from "../smart-router/log/outcome-row.js";
import type { DecisionFilter, DecisionWithOutcome } from "../store/decision-row.js";
import type { Store } from "../store/store.js";
import { msFromTimestamp } from "../wire/time.js";
import type { UnaryHandler } from "./context.js";
import { loggedDecision } from "./decision-messages.js";
import { refuseFaults } from "./field-faults.js";
import { parseDecisionId, refuseForeign, unknownDecision } from "./routing-select.js";

export type DecisionDeps = {
  readonly store: Pick<Store, "readDecision" | "listDecisions">;
  readonly log: Pick<DecisionLog, "recent" | "waitingOutcome">;
  readonly clock: Pick<Clock, "nowMs">;
};

export type DecisionHandlers = {
  readonly explainDecision: UnaryHandler<ExplainDecisionRequest, ExplainDecisionResponse>;
  readonly listDecisions: UnaryHandler<ListDecisionsRequest, ListDecisionsResponse>;
};

/** Reads the decision log. What was just decided here is read from memory, with its candidates. */
export function createDecisionHandlers(deps: DecisionDeps): DecisionHandlers {
  return {
    explainDecision: async (request, { principal, signal }) => {
      const decisionId = parseDecisionId(request.decisionId);
      const recent = deps.log.recent(decisionId);
      if (recent !== undefined) refuseForeign(principal, recent.keyId, recent.chosen);
      const stored = await deps.store.readDecision(decisionId, signal);
      const record = recent ?? (stored === undefined ? undefined : recordOfRow(stored.decision));
      if (record === undefined) throw unknownDecision(decisionId);
      refuseForeign(principal, record.keyId, record.chosen);
      return create(ExplainDecisionResponseSchema, { decision: decisionWithEnd(deps, record, stored?.outcome) });
    },
    listDecisions: async (request, { principal, signal }) => {
      const filter = parseFilter(request, principal, deps.clock.nowMs());
      const afterId = parseToken(filter, request.pageToken);
      const pageSize = request.pageSize === 0 ? limits.pageDefaultCount : request.pageSize;
      const page: LoggedDecision[] = [];
      let bytes = 0;
      for await (const { decision, outcome } of readInChunks(deps.store, filter, afterId, signal)) {
        const message = decisionWithEnd(deps, recordOfRow(decision), outcome);
        bytes += toBinary(LoggedDecisionSchema, message).byteLength;
        const isFull = page.length >= pageSize || (page.length > 0 && bytes > limits.decisionPageMaxBytes);
        if (isFull) return create(ListDecisionsResponseSchema, { decisions: page, nextPageToken: formatToken(filter, page.at(-1)) });
        page.push(message);
      }
      return create(ListDecisionsResponseSchema, { decisions: page });
    },
  };
}

function decisionWithEnd(deps: DecisionDeps, record: DecisionRecord, stored: DecisionWithOutcome["outcome"]): LoggedDecision {
  const waiting = deps.log.waitingOutcome(record.decisionId, record.chosen);
  const isBoth = waiting !== undefined && stored !== undefined;
  return loggedDecision(record, isBoth ? mergeOutcomes(stored, waiting) : (waiting ?? stored));
}

/** Decisions in order, a few at a time: a page of large ones ends long before its count. */
async function* readInChunks(
  store: DecisionDeps["store"],
  filter: DecisionFilter,
  afterId: string | undefined,
  signal: AbortSignal,
): AsyncGenerator<DecisionWithOutcome> {
  for (let after = afterId; ; ) {
    const chunk = await store.listDecisions(filter, limits.decisionChunkMax, after, signal);
    yield* chunk;
    after = chunk.at(-1)?.decision.decisionId;
    if (chunk.length < limits.decisionChunkMax) return;
  }
}

/** Which decisions. Throws all faults of the request at once, or `forbidden` for decisions of another MCP than the key's. */
function parseFilter(request: ListDecisionsRequest, principal: Principal, nowMs: number): DecisionFilter {
  const faults: FieldFault[] = [];
  const report = (field: string, reason: string, description: string) => void faults.push({ field, reason, description });
  checkText(request.policyId, "policy_id", report);
  checkText(request.mcpId, "mcp_id", report);
  if (request.pageSize > limits.pageMaxCount) {
    report("page_size", "OUT_OF_RANGE", `must be 1 to ${limits.pageMaxCount}, or 0 for ${limits.pageDefaultCount}`);
  }
  const startMs = request.startTime === undefined ? 0 : msFromTimestamp(request.startTime);
  const endMs = request.endTime === undefined ? nowMs : msFromTimestamp(request.endTime);
  if (startMs === undefined) report("start_time", "OUT_OF_RANGE", "must lie between the years 1 and 9999");
  if (endMs === undefined) report("end_time", "OUT_OF_RANGE", "must lie between the years 1 and 9999");
  if (startMs !== undefined && endMs !== undefined && endMs < startMs) report("end_time", "OUT_OF_RANGE", "must not be before start_time");
  refuseFaults(faults);
  return {
    startMs: startMs ?? 0,
    endMs: endMs ?? nowMs,
    policyId: request.policyId === "" ? undefined : request.policyId,
    chosen: scopeTo(principal, request.mcpId),
    hasCandidates: request.onlyWithCandidates,
  };
}

/** "<fingerprint of the filter>.<last id>". The end is left out of the fingerprint: without end_time it moves with every call. */
function formatToken(filter: DecisionFilter, last: LoggedDecision | undefined): string {
  return last === undefined ? "" : `${fingerprint(filter)}.${last.decisionId}`;
}

function parseToken(filter: DecisionFilter, text: string): string | undefined {
  if (text === "") return undefined;
  const [filterPart, idPart = ""] = text.length > limits.idMaxBytes ? [] : text.split(".");
  const afterId = parseUuidV7(idPart);
  if (afterId !== undefined && filterPart === fingerprint(filter)) return afterId;
  const description = afterId === undefined ? "is not one that this service gave out" : "belongs to a list with other filters";
  throw new CoordinatorError("invalid", `page_token ${description}`, {
    reason: "PAGE_TOKEN_INVALID",
    fields: [{ field: "page_token", reason: "MALFORMED", description }],
  });
}

function fingerprint({ startMs, policyId, chosen, hasCandidates }: DecisionFilter): string {
  const parts = [startMs, policyId ?? null, chosen ?? null, hasCandidates];
  return createHash("sha256").update(JSON.stringify(parts)).digest("hex").slice(0, 16);
}
