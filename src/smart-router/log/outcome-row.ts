import type { DecisionOutcome, OutcomeState } from "../decision.js";

/** What is known of the end of a decision, or only of its start: then `state` is undefined. The same shape as `StoredOutcome` of store/, which this room does not import. */
export type OutcomeRow = {
  readonly decisionId: string;
  readonly mcpId: string;
  readonly interactionId: string;
  readonly state: OutcomeState | undefined;
  readonly censoredBecause: string;
  readonly isLate: boolean;
  readonly observedMs: number | undefined;
  readonly durationMs: number | undefined;
  readonly quality: number | undefined;
  readonly errorCode: string;
  readonly auditedQuality: number | undefined;
  readonly auditor: string;
};

/** An MCP began with what a decision sent it. */
export function startRow(decisionId: string, mcpId: string, interactionId: string): OutcomeRow {
  return { ...nothingKnown, decisionId, mcpId, interactionId };
}

/** Somebody who did not give the answer judged it. */
export function auditRow(decisionId: string, mcpId: string, auditedQuality: number, auditor: string): OutcomeRow {
  return { ...nothingKnown, decisionId, mcpId, auditedQuality, auditor };
}

export function outcomeRow(outcome: DecisionOutcome): OutcomeRow {
  const { decisionId, mcpId, interactionId, state, censoredBecause, isLate, observedMs, durationMs, quality, errorCode } = outcome;
  const told = { decisionId, mcpId, interactionId, state, censoredBecause, isLate, observedMs, durationMs, quality, errorCode };
  return { ...nothingKnown, ...told };
}

/** What is logged of a decision of whose end nothing was heard. */
export const nothingKnown = {
  interactionId: "",
  state: undefined,
  censoredBecause: "",
  isLate: false,
  observedMs: undefined,
  durationMs: undefined,
  quality: undefined,
  errorCode: "",
  auditedQuality: undefined,
  auditor: "",
} as const satisfies Omit<OutcomeRow, "decisionId" | "mcpId">;

/** Order of what is believed: an end that was heard outranks "censored". */
const rank = { complete: 1, error: 2, censored: 3 } as const satisfies Record<OutcomeState, number>;

/** Both together, by the rules of Store.recordOutcomes: what is known later wins, what is not known then stays; of audits the first one stays. */
export function mergeOutcomes(old: OutcomeRow, next: OutcomeRow): OutcomeRow {
  const isNextState = next.state !== undefined && (old.state === undefined || rank[next.state] <= rank[old.state]);
  return {
    decisionId: old.decisionId,
    mcpId: old.mcpId,
    interactionId: next.interactionId === "" ? old.interactionId : next.interactionId,
    state: isNextState ? next.state : old.state,
    censoredBecause: isNextState ? next.censoredBecause : old.censoredBecause,
    isLate: old.isLate || next.isLate,
    observedMs: next.observedMs ?? old.observedMs,
    durationMs: next.durationMs ?? old.durationMs,
    quality: next.quality ?? old.quality,
    errorCode: next.errorCode === "" ? old.errorCode : next.errorCode,
    auditedQuality: old.auditedQuality ?? next.auditedQuality,
    auditor: old.auditedQuality === undefined ? next.auditor : old.auditor,
  };
}
