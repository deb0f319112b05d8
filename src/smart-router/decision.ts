import type { CoordinatorError } from "../platform/errors.js";
import type { Factor, HealthState, Regime } from "./policy.js";
import type { RouteRequest } from "./request.js";
import type { ClassSignals, TargetSignals } from "./signal-book.js";

/**
 * One MCP of the fleet as one decision saw it: everything that the rule read of it, and what came of that. From the candidates of a decision, its features and its
 * seed the same choice can be computed again, bit for bit (`decide/recompute.ts`).
 */
export type Candidate = {
  readonly mcpId: string;
  readonly state: HealthState;
  /** Requests in flight and how many it may have at once, when it was looked at. */
  readonly inFlight: number;
  readonly capacity: number;
  readonly slowStart: number;
  readonly weight: number;
  /** What was known of it; undefined when it was excluded before anyone asked, and for policies that read no signals. */
  readonly signals: TargetSignals | undefined;
  /** inFlight / capacity. */
  readonly rho: number;
  /** U of the rule: the exact sum of `factors`, in their order. NaN when it was not scored. */
  readonly score: number;
  readonly factors: readonly Factor[];
  readonly isHot: boolean;
  readonly isExplorable: boolean;
  /** Probability with which it was drawn; never rounded. 0 for excluded ones; NaN where the policy cannot tell. */
  readonly propensity: number;
  /** Why it could not be drawn; undefined when it could. */
  readonly excludedBecause: string | undefined;
};

/** What a decision looked at of the request, and what was known of its class. */
export type DecisionFeatures = {
  readonly requestType: string;
  readonly inputBytes: number;
  readonly qualityLevel: string;
  readonly privacyLevel: string;
  readonly format: string;
  readonly noExplore: boolean;
  readonly isIdempotent: boolean;
  /** Undefined when the request named none: then that of the class counts. */
  readonly deadlineMs: number | undefined;
  /** Undefined for policies that read no signals. */
  readonly classSignals: ClassSignals | undefined;
};

/** What a policy that is not in force would have done. */
export type ShadowChoice = {
  readonly policyId: string;
  readonly mcpId: string;
  /** NaN where the policy cannot tell. */
  readonly propensity: number;
};

/** A request was given to an MCP, and why. Immutable; the whole of what a decision log keeps. */
export type Decision = {
  /** UUID version 7. */
  readonly decisionId: string;
  /** When, in ms since the Unix epoch, and on the coordinator's monotonic clock. */
  readonly atMs: number;
  readonly atMonoMs: number;
  readonly policyId: string;
  /** 16 hex digits: the policy's id and all its parameters. */
  readonly policyHash: string;
  readonly request: RouteRequest;
  readonly requestClass: string;
  readonly features: DecisionFeatures;
  readonly chosen: string;
  /** Probability that the policy in force chose this MCP in this situation, in (0, 1]; NaN where it cannot tell. Never rounded. */
  readonly propensity: number;
  /** Part of `propensity`: the probability with which its priority tier was drawn; 1 with one tier. */
  readonly tierShare: number;
  readonly epsilon: number;
  readonly regime: Regime;
  readonly isExploration: boolean;
  /** Seed of the randomness that the policy was given; a safe integer, so that JSON keeps it. */
  readonly seed: number;
  /** Whether the choice may enter an evaluation after the fact: a known propensity, and a regime in which others could have been chosen. */
  readonly isOpeEligible: boolean;
  readonly shadow: readonly ShadowChoice[];
  /** How long the request holds its place at the MCP when no end is reported, from `atMonoMs`. */
  readonly leaseMs: number;
  readonly leaseExpiresAtMs: number;
  /** Every MCP of the fleet, ascending by mcpId, excluded ones with the reason. Built when asked, from what was kept: costs some 20 µs for 50 MCPs. */
  readonly candidates: () => readonly Candidate[];
};

/** What `select` answers. A refusal is `unavailable` when nobody could serve the request, and `busy` when all who could are full; both with a delay. */
export type Selection =
  | { readonly kind: "decided"; readonly decision: Decision }
  | { readonly kind: "refused"; readonly error: CoordinatorError };

/** How a decision ended. "censored": given back unused, or no end was heard before the lease ran out. */
export type OutcomeState = "complete" | "error" | "censored";

/** The end of a decision. Comes once for each decision, and a second time with `isLate` when the end is heard after the lease ran out. */
export type DecisionOutcome = {
  readonly decisionId: string;
  readonly mcpId: string;
  /** The interaction that confirmed the decision; empty when none did. */
  readonly interactionId: string;
  readonly state: OutcomeState;
  /** Says more about "censored": "released" or "expired"; empty otherwise. */
  readonly censoredBecause: "" | "released" | "expired";
  readonly isLate: boolean;
  readonly atMonoMs: number;
  /** From the decision to the end, on the coordinator's clock, ms. */
  readonly observedMs: number;
  /** The MCP's own measure, undefined when it told none. */
  readonly durationMs: number | undefined;
  readonly quality: number | undefined;
  readonly errorCode: string;
};
