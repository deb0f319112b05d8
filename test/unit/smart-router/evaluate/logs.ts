import type { Rng } from "../../../../src/platform/rng.js";
import type { LoggedCandidate, LoggedDecision, LoggedOutcome } from "../../../../src/smart-router/evaluate/logged-decision.js";

/** A candidate of which only its probability matters. */
export function candidate(mcpId: string, propensity: number, known: Partial<LoggedCandidate> = {}): LoggedCandidate {
  return {
    mcpId,
    inFlight: 0,
    capacity: 10,
    slowStart: 1,
    weight: 100,
    signals: undefined,
    isHot: false,
    propensity,
    excludedBecause: undefined,
    ...known,
  };
}

/** Completed at once, with this quality. */
export function rated(quality: number, isAudited = false): LoggedOutcome {
  return { kind: "complete", quality, isAudited, cost: undefined, observedMs: 100 };
}

/** A row of two MCPs, of which "a" was chosen with p = 0.5 and answered well. */
export function row(number: number, changes: Partial<LoggedDecision> = {}): LoggedDecision {
  return {
    decisionId: `d-${String(number).padStart(6, "0")}`,
    atMs: 0,
    policyId: "logger/1",
    requestType: "ocr",
    requestClass: "ocr/3",
    chosen: "a",
    propensity: 0.5,
    regime: "normal",
    isOpeEligible: true,
    candidates: [candidate("a", 0.5), candidate("b", 0.5)],
    keptShare: 1,
    shadow: [],
    outcome: rated(1),
    ...changes,
  };
}

/** A world of two types of request and two MCPs, in which the mean quality of each pair is known. */
export const meanQuality: Readonly<Record<string, Readonly<Record<string, number>>>> = {
  ocr: { a: 0.9, b: 0.3 },
  text: { a: 0.4, b: 0.7 },
};

/** `count` rows of that world, chosen with `shareOfA` for "a"; qualities are 0 or 1. */
export function loggedWorld(count: number, shareOfA: number, rng: Rng): readonly LoggedDecision[] {
  return Array.from({ length: count }, (_, number) => {
    const requestType = rng() < 0.5 ? "ocr" : "text";
    const chosen = rng() < shareOfA ? "a" : "b";
    const quality = rng() < (meanQuality[requestType]?.[chosen] ?? 0) ? 1 : 0;
    return row(number, {
      requestType,
      requestClass: `${requestType}/3`,
      chosen,
      propensity: chosen === "a" ? shareOfA : 1 - shareOfA,
      candidates: [candidate("a", shareOfA), candidate("b", 1 - shareOfA)],
      outcome: rated(quality),
    });
  });
}
