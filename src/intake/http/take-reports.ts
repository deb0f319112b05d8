import { boundMcpId, type Principal } from "../../auth/principal.js";
import type { Accepted, Bearer, Refused } from "../../ingest/accept.js";
import type { Ingest } from "../../ingest/ingest.js";
import { reportOnce } from "../../ingest/report.js";
import { createVerdict, type Verdict, type VerdictStatus } from "../../ingest/verdict.js";
import type { Instant } from "../../interaction/event.js";
import type { Clock } from "../../platform/clock.js";
import { CoordinatorError } from "../../platform/errors.js";
import { limits } from "../../platform/limits.js";
import { type Places, placeOf, readReports } from "../../wire/report-body.js";
import type { Answer, HttpCall, JsonObject } from "./call.js";
import { fieldsOf, retryHeader } from "./envelope.js";
import type { HttpTally } from "./tally.js";

export type TakeDeps = { readonly ingest: Ingest; readonly clock: Clock; readonly tally: HttpTally };

/** A report that was judged, its place in the array that was posted, and how its sender names its fields. */
type Judged = { readonly index: number; readonly judged: Accepted | Refused; readonly places: Places | undefined };

/**
 * Takes the reports of a body: one, or an array of at most `limits.httpBatchMaxEvents`. Answers after the commit; a fault of one report harms no other.
 * Errors: `invalid` with TOO_MANY_EVENTS or FIELD_VIOLATION for the array as a whole.
 */
export async function takeReports(deps: TakeDeps, call: HttpCall): Promise<Answer> {
  const array = arrayOf(call.body);
  const isArray = array !== undefined;
  const values = array ?? [call.body];
  const isTooMany = values.length > limits.httpBatchMaxEvents;
  const settle = deps.tally.take(isTooMany || values.length === 0 ? 1 : values.length);
  let resolvedCount = 0;
  try {
    if (isTooMany) throw tooMany(values.length);
    if (values.length === 0) throw empty();
    const judged = await judgeAll(deps, bearerOf(call.principal), values);
    const verdicts = await reportOnce(
      deps.ingest,
      deps.clock,
      judged.map((one) => one.judged),
      { signal: call.signal, timeoutMs: limits.reportDeadlineMs },
    );
    const results = judged.flatMap((one, i) => {
      const verdict = verdicts[i];
      return verdict === undefined ? [] : [{ index: one.index, verdict, result: resultOf(one, verdict) }];
    });
    resolvedCount = values.length - new Set(results.flatMap(({ index, verdict }) => (isResolved(verdict) ? [] : [index]))).size;
    const queuePosition = deps.ingest.queue.pendingEvents;
    return isArray ? answerArray(results, resolvedCount, values.length, queuePosition) : answerOne(results, queuePosition);
  } finally {
    settle(resolvedCount);
  }
}

/** The reports of an array, or of the request that registrations are told to post: `{"events": […]}` with events of the contract. */
function arrayOf(body: unknown): readonly unknown[] | undefined {
  if (Array.isArray(body)) return body;
  if (typeof body !== "object" || body === null || !("events" in body) || "action" in body) return undefined;
  return Array.isArray(body.events) ? body.events.map((event: unknown) => ({ event })) : undefined;
}

/** Judges in slices, so that a long array does not keep others waiting. */
async function judgeAll(deps: TakeDeps, bearer: Bearer, values: readonly unknown[]): Promise<readonly Judged[]> {
  const defaults = { occurredAt: instantOf(deps.clock.nowMs()) };
  const judged: Judged[] = [];
  for (const [index, value] of values.entries()) {
    if (index > 0 && index % limits.batchMaxEvents === 0) await new Promise<void>((resolve) => setImmediate(resolve));
    for (const report of readReports(value, defaults)) {
      if (report.kind === "draft") {
        judged.push({ index, judged: deps.ingest.accept(bearer, report.draft), places: report.places });
      } else {
        const verdict = createVerdict({ ...report, sequence: 0n }, "invalid", { violations: report.faults });
        deps.ingest.countRefused(verdict, "http");
        judged.push({ index, judged: { kind: "refused", verdict }, places: undefined });
      }
    }
  }
  return judged;
}

function bearerOf(principal: Principal): Bearer {
  return { principal, mcpId: boundMcpId(principal) ?? "", producerId: "", epoch: 0, labels: {}, source: "http" };
}

function instantOf(ms: number): Instant {
  return { seconds: BigInt(Math.floor(ms / 1_000)), nanos: (Math.floor(ms) % 1_000) * 1_000_000 };
}

/** Nothing is left to do for the event. */
const isResolved = ({ status }: Verdict): boolean => status === "stored" || status === "duplicate" || status === "not_collected";

/** HTTP status, reason and sentence of a single report that met a verdict. */
const meanings = {
  stored: [200, "", "stored"],
  duplicate: [200, "", "stored before, with the same content"],
  not_collected: [200, "", "left out by a rule of the MCP; do not send it again"],
  invalid: [400, "FIELD_VIOLATION", "the report breaks a rule"],
  too_large: [413, "MESSAGE_TOO_LARGE", `the event has more than ${limits.eventMaxBytes} bytes`],
  too_old: [400, "TOO_OLD", "the event is older than the coordinator remembers ids"],
  clock_skew: [400, "CLOCK_SKEW", "the event's time lies too far in the future"],
  conflict: [409, "CONFLICT", "another content is stored under this event_id"],
  permission_denied: [403, "MCP_NOT_ALLOWED", "the key may not act for this mcp_id"],
  fenced: [409, "FENCED", "a newer session owns the producer_id"],
  overloaded: [503, "QUEUE_FULL", "Service temporarily unavailable"],
  unavailable: [503, "STORE_UNAVAILABLE", "Service temporarily unavailable"],
  not_found: [404, "NOT_FOUND", "no event with this id is stored"],
} as const satisfies Record<VerdictStatus, readonly [number, string, string]>;

type Result = { readonly index: number; readonly verdict: Verdict; readonly result: JsonObject };

function resultOf({ judged, places }: Judged, verdict: Verdict): JsonObject {
  const [, reason, message] = meanings[verdict.status];
  const faults = verdict.violations.map((fault) => ({
    ...fault,
    field: places === undefined ? fault.field : placeOf(places, fault.field),
  }));
  const eventId = judged.kind === "accepted" ? judged.event.eventId : verdict.eventId;
  const known = {
    status: isResolved(verdict) ? "accepted" : "refused",
    verdict: verdict.status,
    event_id: eventId.slice(0, limits.idMaxBytes).toWellFormed(),
    interaction_id: verdict.interactionId.slice(0, limits.idMaxBytes).toWellFormed(),
    ...(verdict.storedAtMs === undefined ? {} : { stored_at: new Date(verdict.storedAtMs).toISOString() }),
  };
  if (isResolved(verdict)) return known;
  const retry = verdict.retryAfterMs === undefined ? {} : { retry_after_ms: verdict.retryAfterMs };
  const fields = fieldsOf(faults);
  const sentence = faults.length === 0 ? message : faults.map(({ field, description }) => `${field}: ${description}`).join("; ");
  return {
    ...known,
    error: {
      reason,
      retryable: verdict.retryable,
      ...retry,
      message: sentence.slice(0, limits.statusMessageMaxChars).toWellFormed(),
      fields,
    },
  };
}

/** The documented answer to one report. A whole interaction was two events: what was refused speaks. */
function answerOne(results: readonly Result[], queuePosition: number): Answer {
  const spoken = results.find(({ verdict }) => !isResolved(verdict)) ?? results.at(-1);
  if (spoken === undefined) throw empty();
  const { verdict, result } = spoken;
  const [status, , message] = meanings[verdict.status];
  const top = { status: result.status ?? "", interaction_id: result.interaction_id ?? "", queue_position: queuePosition };
  const data = { ...result, ...top, ...(results.length > 1 ? { results: results.map((one) => one.result) } : {}) };
  if (status === 200) return { status, message, data, top };
  const sentence = status === 400 && verdict.violations.length > 0 ? sentenceOf(result, message) : message;
  return { status, message: sentence, data, top: { ...top, detail: sentence }, headers: retryHeader(verdict.retryAfterMs) };
}

function sentenceOf(result: JsonObject, fallback: string): string {
  const { error } = result;
  return typeof error === "object" && error !== null && "message" in error && typeof error.message === "string" ? error.message : fallback;
}

/** 200 when all are resolved; 503 when the coordinator had room for none; 207 when some were refused: `results` has each. */
function answerArray(results: readonly Result[], resolvedCount: number, count: number, queuePosition: number): Answer {
  const refusedCount = count - resolvedCount;
  const isBusy = results.every(({ verdict }) => verdict.status === "overloaded" || verdict.status === "unavailable");
  const status = refusedCount === 0 ? 200 : isBusy ? 503 : 207;
  const word = refusedCount === 0 ? "accepted" : resolvedCount === 0 ? "refused" : "partial";
  const top = { status: word, queue_position: queuePosition };
  const data = {
    ...top,
    accepted: resolvedCount,
    refused: refusedCount,
    results: results.map(({ index, result }) => ({ index, ...result })),
  };
  if (status === 503) {
    const message = "Service temporarily unavailable";
    return { status, message, data, top: { ...top, detail: message }, headers: retryHeader(limits.storeBackoff.maxMs) };
  }
  return { status, message: `${resolvedCount} of ${count} reports stored, before or now`, data, top };
}

function tooMany(count: number): CoordinatorError {
  const message = `${count} reports in one array; at most ${limits.httpBatchMaxEvents} are allowed`;
  return new CoordinatorError("invalid", message, { reason: "TOO_MANY_EVENTS" });
}

function empty(): CoordinatorError {
  const description = "the array must hold at least one report";
  return new CoordinatorError("invalid", description, {
    reason: "FIELD_VIOLATION",
    fields: [{ field: "", reason: "REQUIRED", description }],
  });
}
