import type { Rng } from "../platform/rng.js";
import type { RouteRequest } from "./request.js";
import type { ClassSignals, TargetSignals } from "./signal-book.js";

/** Where an MCP stands; the table of transitions is in SPEC.md, "Health". Only healthy, degraded and warming ones are chosen outside of a panic. */
export type HealthState = "joining" | "warming" | "healthy" | "degraded" | "ejected" | "probing" | "draining" | "disconnected" | "gone";

/** An MCP that may take the request at hand, as every policy sees it. What else a policy wants to know, it folds from `assigned` and `ended`. */
export type Target = {
  readonly mcpId: string;
  readonly state: HealthState;
  /** Requests in flight: the greater of what was reserved here and what the MCP reports. */
  readonly inFlight: number;
  /** Requests that it may have at once in its state; > inFlight, unless the regime is a panic. */
  readonly capacity: number;
  /** Share of its traffic that it may have while it starts, in (0, 1]; 1 once it is warm. */
  readonly slowStart: number;
  /** What the operator set: multiplies its share; 100 is neutral. */
  readonly weight: number;
};

/**
 * Under which rule a choice was made. "probe" is not a policy's: the router tries an ejected MCP with one request that may be repeated.
 * Only choices under `normal` can be evaluated afterwards without reserve.
 */
export type Regime = "normal" | "cold_start" | "all_hot" | "panic" | "probe";

/** Signed contributions by name; what they sum to is said where they are used. */
export type Factor = { readonly name: string; readonly contribution: number };

/** What a policy thought of one target. */
export type Scored = {
  readonly mcpId: string;
  /** The higher, the better; the exact sum of `factors`, in their order. */
  readonly score: number;
  readonly factors: readonly Factor[];
  /** Probability with which it was drawn. Never rounded. */
  readonly propensity: number;
  readonly isHot: boolean;
  /** Why it could not be drawn although it was a target; undefined when it could. */
  readonly excludedBecause: string | undefined;
  /** What was read of it; absent for policies that read no signals. */
  readonly signals?: TargetSignals;
  /** Whether the policy was free to choose it for the sake of learning; absent for policies that do not explore. */
  readonly isExplorable?: boolean;
};

/** What a policy chose. */
export type Choice = {
  readonly mcpId: string;
  /** Probability that this policy chooses this MCP in this situation, over its own randomness. Exact, in (0, 1]; NaN where the policy cannot tell. */
  readonly propensity: number;
  /** Share of choices made to learn rather than to serve. */
  readonly epsilon: number;
  readonly regime: Regime;
  readonly isExploration: boolean;
  /** All targets, in their order. May be computed when it is asked for, and says the same whenever that is. */
  readonly scored: readonly Scored[];
  /** What was known of the class; absent for policies that read no signals. */
  readonly classSignals?: ClassSignals;
};

/** A request was given to an MCP, by this policy or otherwise. Times are monotonic ms of the coordinator. */
export type Assigned = {
  readonly decisionId: string;
  readonly mcpId: string;
  readonly request: RouteRequest;
  readonly atMs: number;
  /** Requests in flight at the MCP when this one arrived, without it. */
  readonly inFlightBefore: number;
  /** Given to learn and not to serve; absent where nobody can tell. */
  readonly isExploration?: boolean;
};

/** How a request ended. */
export type Ended = {
  readonly decisionId: string;
  readonly mcpId: string;
  readonly request: RouteRequest;
  /** When it was assigned, or started, and when its end was received. Monotonic ms. */
  readonly startedAtMs: number;
  readonly endedAtMs: number;
  readonly inFlightBefore: number;
  /**
   * "expired": no end was reported before the lease ran out. Counts as a failure of unknown quality. "released": the place was given back and no MCP is to blame;
   * only what counts open requests may look at it.
   */
  readonly result: "ok" | "error" | "expired" | "released";
  /** The MCP's own measure, undefined when it told none. Unit: ms. */
  readonly durationMs: number | undefined;
  /** Self-reported, 0 to 1; undefined when none or none that is usable. */
  readonly quality: number | undefined;
  /** From an independent audit, 0 to 1; outranks `quality`. */
  readonly auditedQuality: number | undefined;
  /** In the operator's unit; undefined when nothing is reported. */
  readonly cost: number | undefined;
  /** No decision is named with it, of this coordinator or another: no other word of it can follow, neither a late end nor an audit. Absent means that one may. */
  readonly isUnnamed?: boolean;
};

/**
 * A way to choose. One instance per coordinator (or per simulated one); it folds what it needs from `assigned` and `ended` and holds no clock, no timer and no
 * socket. Every strategy that an operator can switch to, every shadow and every baseline of the evaluation is one.
 */
export type Policy = {
  /** Name and version, for example "quality-tail-load/1". */
  readonly id: string;
  /** Every number and switch that decides, besides the id: both together make the policy_hash of the decision log. Absent means none. */
  readonly parameters?: Readonly<Record<string, number | string | boolean>>;
  /**
   * Picks one of `targets`, which is not empty and ascending by mcpId. All randomness comes from `rng`. Changes nothing that a second call in the same
   * situation would notice: a shadow may ask and never assign.     Cost: O(targets).
   */
  readonly choose: (request: RouteRequest, targets: readonly Target[], nowMs: number, rng: Rng) => Choice;
  /** Must not throw, like the next two. */
  readonly assigned: (assigned: Assigned) => void;
  readonly ended: (ended: Ended) => void;
  /** Time passes: about once a second, and whenever a simulated second has passed. */
  readonly tick: (nowMs: number) => void;
};
