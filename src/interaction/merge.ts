import type { EventKind, Facts, Interaction, InteractionState } from "./event.js";

/** What merging reads of an event. */
export type MergeInput = {
  readonly eventId: string;
  readonly kind: EventKind;
  readonly occurredAtUs: number;
  readonly facts: Facts;
};

/** Everything about an interaction that follows from its events. Times in microseconds since the Unix epoch. */
export type Merged = Omit<Interaction, "mcpId" | "interactionId">;

/**
 * The merged state of an interaction as a pure function of the set of its events: order and repetition make no difference. The store computes the
 * same in SQL, batch by batch; tests hold the two together.
 * Rules: the greatest event_id of a kind speaks for it (version 7: the latest minted); a terminal event outranks progress, progress outranks start;
 * started_at is the earliest start, last_event_at the latest event.     `events` must not be empty.
 * Source: protocol.md section 5; store/SPEC.md.
 */
export function mergeEvents(events: readonly MergeInput[]): Merged {
  const distinct = [...new Map(events.map((event) => [event.eventId, event])).values()];
  const terminals = distinct.filter((event) => event.facts.kind === "terminal");
  const starts = distinct.filter((event) => event.facts.kind === "start");
  const terminal = latest(terminals);
  const terminalFacts = terminal?.facts.kind === "terminal" ? terminal.facts : undefined;
  const start = latest(starts);
  const startFacts = start?.facts.kind === "start" ? start.facts : undefined;
  const lastEventAtUs = Math.max(...distinct.map((event) => event.occurredAtUs));
  const outcomes = new Set(terminals.map((event) => event.facts.kind === "terminal" && event.facts.success));
  return {
    state: stateOf(distinct, terminalFacts?.success),
    startedAtUs: starts.length === 0 ? undefined : Math.min(...starts.map((event) => event.occurredAtUs)),
    endedAtUs: terminal?.occurredAtUs,
    lastEventAtUs,
    eventCount: distinct.length,
    missingStart: starts.length === 0,
    conflictingTerminal: outcomes.size > 1,
    lateEvents: terminal !== undefined && lastEventAtUs > terminal.occurredAtUs,
    requestType: startFacts?.requestType ?? "",
    sessionId: startFacts?.sessionId ?? "",
    userPseudonym: startFacts?.userPseudonym ?? "",
    durationMs: terminalFacts?.durationMs,
    success: terminalFacts?.success,
    qualityScore: terminalFacts?.qualityScore,
    errorCode: terminalFacts?.errorCode ?? "",
    adapterUsed: terminalFacts?.adapterUsed ?? "",
  };
}

function latest(events: readonly MergeInput[]): MergeInput | undefined {
  return events.reduce<MergeInput | undefined>(
    (best, event) => (best === undefined || event.eventId > best.eventId ? event : best),
    undefined,
  );
}

function stateOf(events: readonly MergeInput[], success: boolean | undefined): InteractionState {
  if (success !== undefined) return success ? "completed" : "failed";
  return events.some((event) => event.kind === "progress") ? "running" : "started";
}
