import type { Regime } from "../policy.js";

/** What was known of a candidate when the decision was made, as far as an evaluation reads it. A subset of TargetSignals. */
export type LoggedSignals = {
  /** Probability that the answer comes after the deadline, 0 to 1. */
  readonly tail: number;
  readonly errorRate: number;
  readonly quality: number;
  readonly qualitySigma: number;
  readonly latencyMs: number;
  readonly cost: number;
};

/** An MCP that a logged decision looked at; a subset of what the decision log keeps of it. */
export type LoggedCandidate = {
  readonly mcpId: string;
  readonly inFlight: number;
  readonly capacity: number;
  readonly slowStart: number;
  readonly weight: number;
  readonly signals: LoggedSignals | undefined;
  readonly isHot: boolean;
  /** Probability with which it was drawn: exact, never rounded; 0 when it could not be drawn. */
  readonly propensity: number;
  readonly excludedBecause: string | undefined;
};

/** What a policy that was only asked would have done. */
export type LoggedShadow = { readonly policyId: string; readonly mcpId: string; readonly propensity: number };

/** How a decision ended, as far as it is known when the log is read. */
export type LoggedOutcome =
  /**
   * `quality` undefined: nobody rated it. `isAudited`: somebody did who did not give the answer; otherwise the MCP itself. `observedMs`: from the decision to the end, on
   * the coordinator's clock.
   */
  | {
      readonly kind: "complete";
      readonly quality: number | undefined;
      readonly isAudited: boolean;
      readonly cost: number | undefined;
      readonly observedMs: number;
    }
  | { readonly kind: "error"; readonly cost: number | undefined; readonly observedMs: number }
  /** Given back unused, or its lease ran out before an end was heard. */
  | { readonly kind: "censored" }
  /** Nothing was heard yet. */
  | { readonly kind: "open" };

/**
 * One row of the decision log with its outcome: who could have been chosen and with which probability, who was, and what came of it.
 * Field names are those of Decision, so that a row is a decision with its candidates spelled out and its outcome joined.
 */
export type LoggedDecision = {
  readonly decisionId: string;
  /** When it was made; ms on any clock that `nowMs` of the evaluation shares. */
  readonly atMs: number;
  readonly policyId: string;
  readonly requestType: string;
  /** `classOf` the request. */
  readonly requestClass: string;
  readonly chosen: string;
  /** Probability of what was chosen; exact. */
  readonly propensity: number;
  readonly regime: Regime;
  readonly isOpeEligible: boolean;
  /** Every MCP of the fleet; empty when the log kept only the choice, and then the row is of no use here. */
  readonly candidates: readonly LoggedCandidate[];
  /**
   * Probability that the log kept the candidates of a row like this: 1 when it keeps all. A log that keeps those of every exploration and of a tenth of the rest
   * says 1 and 0.1, and the row counts 1 or 10 times; otherwise explorations would be over-represented.
   */
  readonly keptShare: number;
  readonly shadow: readonly LoggedShadow[];
  readonly outcome: LoggedOutcome;
};

/**
 * A policy whose value is wanted: with which probability it would have chosen each candidate of a row. The shares sum to 1; an MCP that is not named has 0.
 * `undefined`: it cannot be told for this row, which then does not count and is reported.
 */
export type EvaluatedPolicy = {
  readonly id: string;
  readonly shares: (row: LoggedDecision) => ReadonlyMap<string, number> | undefined;
};
