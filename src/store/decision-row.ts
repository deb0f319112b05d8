/** Under which rule a decision was made. The words of smart-router/policy.ts, which this room does not import. */
export type DecisionRegime = "normal" | "cold_start" | "all_hot" | "panic" | "probe";

/** How a decision ended. */
export type DecisionState = "complete" | "error" | "censored";

/** A decision as it is kept. Written once and never changed. */
export type StoredDecision = {
  /** UUID version 7. */
  readonly decisionId: string;
  readonly decidedAtMs: number;
  readonly coordinatorId: string;
  /** Whom it was made for; empty where the server runs without keys. */
  readonly keyId: string;
  readonly configVersion: number;
  /** The table of weights in force; zeros before the first one. */
  readonly weightsTerm: number;
  readonly weightsVersion: number;
  readonly policyId: string;
  readonly policyHash: string;
  readonly requestClass: string;
  /** JSON; its shape is smart-router/decision-record.ts's, like that of the next two. */
  readonly features: unknown;
  readonly chosen: string;
  /** NaN where the policy cannot tell. Never rounded. */
  readonly propensity: number;
  readonly tierShare: number;
  readonly epsilon: number;
  readonly regime: DecisionRegime;
  readonly isExploration: boolean;
  /** A safe integer. */
  readonly seed: number;
  readonly isOpeEligible: boolean;
  readonly leaseMs: number;
  /** Undefined where only the choice is kept. */
  readonly candidates: unknown;
  /** Probability with which candidates of a decision like this are kept. */
  readonly keptShare: number;
  readonly shadow: unknown;
};

/**
 * What is known of the end of a decision, or only of its start: then `state` is undefined. Several of the same decision and MCP add up: what is known later wins, what is
 * not known then stays.
 */
export type StoredOutcome = {
  readonly decisionId: string;
  /** Who says so. Counts only if it is the MCP that was chosen. */
  readonly mcpId: string;
  /** Empty when no interaction confirmed the decision. */
  readonly interactionId: string;
  readonly state: DecisionState | undefined;
  readonly censoredBecause: string;
  readonly isLate: boolean;
  /** From the decision to its end, ms. */
  readonly observedMs: number | undefined;
  readonly durationMs: number | undefined;
  readonly quality: number | undefined;
  readonly errorCode: string;
  /** What an independent judge made of it, and who that was, as it said; the first of several stays. */
  readonly auditedQuality: number | undefined;
  readonly auditor: string;
};

/** A decision read back, with what became of it; undefined when nothing was heard. */
export type DecisionWithOutcome = { readonly decision: StoredDecision; readonly outcome: StoredOutcome | undefined };

/** Which decisions. Times are those in their ids, start inclusive, end exclusive. */
export type DecisionFilter = {
  readonly startMs: number;
  readonly endMs: number;
  readonly policyId: string | undefined;
  readonly chosen: string | undefined;
  readonly hasCandidates: boolean;
};

/** What operators decided about routing. `document` is JSON; its shape is smart-router/operator-config.ts's. */
export type StoredRoutingConfig = {
  readonly version: number;
  readonly document: unknown;
  /** Undefined before the first change. */
  readonly changedAtMs: number | undefined;
  readonly changedBy: string;
};

/** A change to be stored: the whole document after it, and what differs. */
export type RoutingConfigWrite = {
  /** Nothing is stored unless this is the version in force. */
  readonly ifVersion: number;
  readonly document: unknown;
  readonly changedBy: string;
  readonly coordinatorId: string;
  readonly reason: string;
  readonly changes: readonly SettingChange[];
};

/** One setting before and after, as JSON texts; empty means not set. */
export type SettingChange = { readonly setting: string; readonly oldValue: string; readonly newValue: string };

/** A change as the audit keeps it. */
export type StoredRoutingChange = Omit<RoutingConfigWrite, "ifVersion" | "document"> & {
  readonly version: number;
  readonly changedAtMs: number;
};
