import type { EventInit } from "../client/wire/frames.js";
import { durationOf, timestampOf } from "../client/wire/time.js";
import type { Rng } from "../platform/rng.js";
import type { TraceRow } from "./trace.js";

/** One event of a planned interaction. `afterMs` counts from the interaction's start, in the time of the trace. */
export type PlannedEvent = { readonly afterMs: number; readonly detail: NonNullable<EventInit["detail"]> };

/** An interaction as a replay reports it: a start, progress while it is long, then one end. */
export type InteractionPlan = { readonly id: string; readonly events: readonly PlannedEvent[]; readonly endsWell: boolean };

/** Figures of an ordinary language model server: prompt reading some 5k tokens/s, writing some 40 tokens/s. */
const baseMs = 150;
const perContextTokenMs = 0.2;
const perGeneratedTokenMs = 25;
/** Interactions longer than this report progress, at most `progressMax` times. */
const progressEveryMs = 5_000;
const progressMax = 3;
/** One request in a hundred fails: enough to be seen, not enough to hide the rest. */
const errorShare = 0.01;

/** What becomes of a request of a trace. The same row, name and randomness give the same plan. */
export function planInteraction(row: TraceRow, id: string, rng: Rng): InteractionPlan {
  const processingMs = baseMs + row.contextTokens * perContextTokenMs + row.generatedTokens * perGeneratedTokenMs;
  const endsWell = rng() >= errorShare;
  const quality = 0.7 + 0.3 * rng();
  const events: PlannedEvent[] = [startOf(row)];
  const progressCount = Math.min(progressMax, Math.floor(processingMs / progressEveryMs));
  for (let index = 1; index <= progressCount; index++) {
    const fraction = index / (progressCount + 1);
    events.push({ afterMs: processingMs * fraction, detail: { case: "progress", value: { fraction, step: "generate" } } });
  }
  events.push({ afterMs: processingMs, detail: endsWell ? completeOf(row, processingMs, quality) : errorOf(processingMs) });
  return { id, events, endsWell };
}

/** An event of a plan as a session takes it. `occurredAtMs` is wall time. */
export function eventOf(plan: InteractionPlan, planned: PlannedEvent, mcpId: string, eventId: string, occurredAtMs: number): EventInit {
  return {
    eventId,
    mcpId,
    interactionId: plan.id,
    occurredAt: timestampOf(occurredAtMs),
    labels: { environment: "replay" },
    detail: planned.detail,
  };
}

function startOf(row: TraceRow): PlannedEvent {
  const inputBytes = BigInt(row.contextTokens * 4);
  return {
    afterMs: 0,
    detail: { case: "start", value: { requestType: "chat", inputBytes, qualityLevel: "normal", privacyLevel: "internal" } },
  };
}

function completeOf(row: TraceRow, processingMs: number, qualityScore: number): PlannedEvent["detail"] {
  const outputBytes = BigInt(row.generatedTokens * 4);
  return { case: "complete", value: { processingTime: durationOf(processingMs), outputBytes, qualityScore } };
}

function errorOf(processingMs: number): PlannedEvent["detail"] {
  const value = { errorType: "TimeoutError", errorCode: "UPSTREAM_TIMEOUT", errorMessage: "the model did not answer", retryable: true };
  return { case: "error", value: { ...value, processingTime: durationOf(processingMs) } };
}
