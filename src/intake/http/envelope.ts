import { type CoordinatorError, errorTable, type FieldFault } from "../../platform/errors.js";
import { limits } from "../../platform/limits.js";
import type { Answer, JsonObject } from "./call.js";

/** What an envelope says besides its answer.     Units: `nowMs` is wall time; `durationMs` runs from the arrival of the headers. */
export type Around = { readonly requestId: string; readonly nowMs: number; readonly durationMs: number };

/**
 * The body of every answer of the HTTP API: success, data, message, timestamp, request_id, performance; and the documented members at the top.
 * Source: the unified response format of the specification's API guide.
 */
export function envelopeOf(answer: Answer, around: Around): JsonObject {
  return {
    success: answer.status === 200,
    data: answer.data,
    message: answer.message,
    timestamp: new Date(around.nowMs).toISOString(),
    request_id: around.requestId,
    performance: { duration_ms: Math.round(around.durationMs * 1_000) / 1_000, cache_hit: answer.isCacheHit ?? false },
    ...answer.top,
  };
}

/** HTTP statuses that no code of errors stands for. */
const statusByReason: ReadonlyMap<string, number> = new Map([
  ["MESSAGE_TOO_LARGE", 413],
  ["CONTENT_TYPE_UNSUPPORTED", 415],
  ["QUEUE_FULL", 503],
]);

/** What documented clients know a refusal by. */
const messageByStatus: ReadonlyMap<number, string> = new Map([
  [401, "Invalid API key"],
  [500, "Internal server error"],
]);

/** A refusal as an answer. `detail` is where clients of the specification find the sentence. The caller is not told what a bug of ours says. */
export function answerOfError(
  error: CoordinatorError,
  more: { readonly status?: number; readonly headers?: Readonly<Record<string, string>> } = {},
): Answer {
  const status = more.status ?? statusByReason.get(error.reason) ?? errorTable[error.code].http;
  const message = messageByStatus.get(status) ?? error.message.slice(0, limits.statusMessageMaxChars).toWellFormed();
  const isBug = error.code === "broken";
  const headers = {
    ...retryHeader(error.retryAfterMs),
    ...(status === 401 ? { "www-authenticate": "Bearer" } : {}),
    ...more.headers,
  };
  const data = {
    error: {
      code: error.code,
      reason: isBug ? "INTERNAL" : error.reason,
      retryable: errorTable[error.code].retry !== "never",
      ...(error.retryAfterMs === undefined ? {} : { retry_after_ms: error.retryAfterMs }),
      fields: isBug ? [] : fieldsOf(error.fields),
    },
  };
  return { status, message, data, top: { detail: message }, headers };
}

/** Faults as JSON; their texts hold what the caller sent, which may be long. */
export function fieldsOf(faults: readonly FieldFault[]): readonly JsonObject[] {
  return faults.slice(0, limits.violationMaxCount).map(({ field, reason, description }) => ({
    field: field.slice(0, limits.idMaxBytes).toWellFormed(),
    reason,
    description: description.slice(0, limits.statusMessageMaxChars).toWellFormed(),
  }));
}

/** Retry-After has whole seconds.     Units: ms. */
export function retryHeader(retryAfterMs: number | undefined): Readonly<Record<string, string>> {
  return retryAfterMs === undefined ? {} : { "retry-after": String(Math.max(1, Math.ceil(retryAfterMs / 1_000))) };
}
