import type { Detail, Draft } from "../../src/interaction/event.js";

/** The time at which test events happen: 2026-11-20T12:00:00Z. */
export const noonMs = Date.UTC(2026, 10, 20, 12, 0, 0);

export const startDetail: Detail = {
  kind: "start",
  requestType: "search",
  userId: "",
  inputBytes: 0n,
  qualityLevel: "",
  privacyLevel: "",
  parameters: undefined,
  routingDecisionId: "",
  payload: undefined,
};

export const progressDetail: Detail = {
  kind: "progress",
  fraction: 0.5,
  step: "",
  message: "",
  resourceUsage: undefined,
  payload: undefined,
};

export const completeDetail: Detail = {
  kind: "complete",
  success: undefined,
  processingTime: { seconds: 1n, nanos: 500_000_000 },
  outputBytes: 0n,
  qualityScore: undefined,
  confidence: undefined,
  adapterUsed: "",
  stepsExecuted: [],
  resourceUsage: undefined,
  payload: undefined,
};

/** A valid draft; `more` overrides fields. */
export function draftOf(more: Partial<Draft> = {}): Draft {
  return {
    eventId: "",
    sequence: 0n,
    mcpId: "demo",
    interactionId: "i-1",
    occurredAt: { seconds: BigInt(noonMs / 1000), nanos: 0 },
    parentInteractionId: "",
    traceParent: "",
    labels: {},
    sessionId: "",
    detail: startDetail,
    encodedBytes: 100,
    ...more,
  };
}
