import type { Facts } from "../interaction/event.js";
import type { Rng } from "../platform/rng.js";
import type { Decision, DecisionOutcome, Selection } from "./decision.js";
import type { HealthChange } from "./health/fleet-health.js";
import type { ToldHealth } from "./health/told.js";
import type { Ended, HealthState, Policy } from "./policy.js";
import type { RouteRequest } from "./request.js";
import type { SignalBook, WeightSignals } from "./signal-book.js";
import type { StillOpen, Unheard } from "./signals/still-open.js";

/** What an operator or the registry says of an MCP. */
export type TargetConfig = {
  readonly mcpId: string;
  /** Tier: 0 is served first; the next one gets what the healthy capacity of this one cannot take. Whole number, 0 to 9. */
  readonly priority: number;
  /** Multiplies its share; 100 is neutral, 0 takes it out. 0 to 10 000. */
  readonly weight: number;
  /** Requests that it may have at once; undefined takes the default of the settings. */
  readonly maxConcurrent: number | undefined;
  /** What it can do, and which input formats it reads. An empty list of formats means any. */
  readonly capabilities: readonly string[];
  readonly formats: readonly string[];
  /** What a request costs, ≥ 0, in the operator's unit; undefined when no operator says so. */
  readonly costPerRequest?: number | undefined;
  /** Gets nothing new; what it has may end. */
  readonly isDraining: boolean;
  /** Somebody counts on it: it is registered and has not left, or an operator named it. Any other one is forgotten when it is idle. */
  readonly isExpected: boolean;
};

/** An MCP that said nothing of itself and of which no operator said anything. `priority`: the tier of those. */
export function plainTarget(mcpId: string, priority = 0): TargetConfig {
  return { mcpId, priority, weight: 100, maxConcurrent: undefined, capabilities: [], formats: [], isDraining: false, isExpected: false };
}

/** A stored event as the router sees it. */
export type ObservedEvent = {
  readonly mcpId: string;
  readonly interactionId: string;
  readonly facts: Facts;
};

/** What an MCP says of itself in a heartbeat or a load report. */
export type ReportedLoad = {
  readonly inFlight: number;
  readonly queued: number;
  readonly utilization: number;
  /** When it was so, where another coordinator holds the stream and tells of it; undefined where the MCP said it here. Monotonic ms. */
  readonly toldAtMs?: number | undefined;
};

/** How a client keeps up with one of its sessions: routing tables in a row without an answer, and the jitter of its heartbeats as a share of their interval. */
export type ReportedStrain = { readonly unansweredTables: number; readonly heartbeatJitter: number };

/** An MCP as the router sees it now. Times monotonic ms. */
export type RoutedMcp = {
  readonly mcpId: string;
  readonly config: TargetConfig;
  readonly state: HealthState;
  readonly stateSinceMs: number;
  /** The state that it would be in again if it came back now: its last stream ended in good order, and it is still expected. Otherwise undefined. */
  readonly expectedAs: HealthState | undefined;
  /** Why it is in its state, for people. */
  readonly stateReason: string;
  /** Heartbeats are missing, or answers to routing tables: no new requests while there is an alternative. */
  readonly isSuspect: boolean;
  readonly openStreams: number;
  /** The greater of what is reserved or open here and what it reports. */
  readonly inFlight: number;
  /** Of these, reserved by decisions that no start event has confirmed. */
  readonly reserved: number;
  /** What it reported last; undefined when it reports nothing. */
  readonly reportedInFlight: number | undefined;
  /** Requests that it may have at once in its state, and when it is well. */
  readonly capacity: number;
  readonly maxConcurrent: number;
  /** Share of its slow start that is behind it, also while it is expected back; 1 when it is not starting. */
  readonly slowStart: number;
  /** Share of its weight that its health leaves it: 1 healthy and warming, 0.25 degraded, 0 otherwise. h of router.md 1.4. */
  readonly healthFactor: number;
  /** How often it was ejected lately, and until when it is; undefined when it is not. */
  readonly ejectionCount: number;
  readonly ejectedUntilMs: number | undefined;
  readonly consecutiveErrors: number;
};

/** What the router counts since its start. */
export type RouterFigures = {
  readonly decisions: number;
  readonly explorations: number;
  readonly refusedUnavailable: number;
  readonly refusedBusy: number;
  readonly released: number;
  readonly expired: number;
  readonly lateEnds: number;
  readonly ejections: number;
  readonly panicDecisions: number;
  /** Decisions whose lease runs, and interactions that run without a decision. */
  readonly openLeases: number;
  readonly openInteractions: number;
};

export type SelectionSettings = {
  /** Capacity of an MCP that registered none. */
  readonly maxConcurrentDefault: number;
  /** Tier of an MCP that is not configured; 0 when missing. One that differs from that of the others takes all of their requests, or none. */
  readonly priorityDefault?: number;
  /** The policy in force at the start, and the ones that are asked along without effect. */
  readonly policyId: string;
  readonly shadowPolicyIds: readonly string[];
};

/** Makes a policy over the signals that the router keeps; the router feeds the book, the policy only reads it. */
export type PolicyFactory = (book: Pick<SignalBook, "read" | "readClass">) => Policy;

/** A signal book, and what the owner of one may tell it besides. */
export type Book = SignalBook & {
  /** An independent judgement that came by itself. */
  readonly audited?: (audit: LearntAudit) => void;
  /** A sign of life that is no end of a request. */
  readonly heard?: (mcpId: string, atMs: number) => void;
  readonly tick?: (nowMs: number) => void;
  /** How many of these requests at one MCP still run, as a mean and its variance, when what had ended by `toldAtMs` would be known. Without it all count as running. */
  readonly stillOpen?: (mcpId: string, unheard: Iterable<Unheard>, toldAtMs: number, nowMs: number) => Readonly<StillOpen>;
};

/** How a decision ended, as whoever called the MCP tells it. */
export type EndReport = {
  readonly result: Ended["result"];
  readonly durationMs: number | undefined;
  readonly quality: number | undefined;
  readonly auditedQuality: number | undefined;
  readonly cost: number | undefined;
  readonly errorCode: string;
  /** When it ended, where this coordinator heard of it later; undefined for now. Before the decision, or after now, it counts as that. Monotonic ms. */
  readonly endedAtMs?: number | undefined;
};

/** An audit of a decision, for whoever holds the stream of the MCP. `atMs`: when it was judged. */
export type LearntAudit = {
  readonly decisionId: string;
  readonly mcpId: string;
  readonly request: RouteRequest;
  readonly quality: number;
  readonly atMs: number;
};

/** What an audit met: whom it judges, the quality that counts, and whether this audit brought it. */
export type AuditVerdict = { readonly mcpId: string; readonly quality: number; readonly isFirst: boolean };

export type RouterDeps = {
  readonly book: Book;
  /** Every policy that may be in force or asked along, by id. */
  readonly policies: ReadonlyMap<string, PolicyFactory>;
  /** Seeds of decisions come from it, and the jitter of ejections. */
  readonly rng: Rng;
  /** Ms since the Unix epoch, for timestamps only. */
  readonly wallMs: () => number;
  /** Names of decisions: UUIDs version 7. */
  readonly mintDecisionId: () => string;
};

/**
 * The decision plane: who gets a request, who has what in flight, who is fit to get more. All in memory, no I/O, never waits. `nowMs` is the coordinator's
 * monotonic clock throughout; calls come with times that do not go back.
 */
export type Router = {
  /**
   * Chooses an MCP and reserves a place at it.     Cost: O(MCPs); 20 µs for 50 of them.
   * Errors: refused with `unavailable` (NO_ELIGIBLE_MCP) or `busy` (FLEET_FULL), `retryAfterMs` at most 1 000.
   */
  readonly select: (request: RouteRequest, nowMs: number) => Selection;
  /** Gives a place back that was not used. False when the decision is not open, or not one of this MCP. Idempotent. */
  readonly release: (decisionId: string, mcpId: string, nowMs: number) => boolean;

  /** Replaces the configuration of one MCP; it becomes a target even if it was never seen, if there is a place for it. */
  readonly configure: (config: TargetConfig, nowMs: number) => void;

  readonly streamOpened: (mcpId: string, sessionId: string, nowMs: number) => void;
  /** `how`: "orderly" after a drain or a half-close, "lost" otherwise. */
  readonly streamClosed: (mcpId: string, sessionId: string, how: "orderly" | "lost", nowMs: number) => void;
  /** Heartbeats of a session are missing, or are heard again. */
  readonly suspect: (mcpId: string, sessionId: string, isSuspect: boolean, nowMs: number) => void;
  readonly reportLoad: (mcpId: string, sessionId: string, load: ReportedLoad, nowMs: number) => void;
  readonly reportStrain: (mcpId: string, sessionId: string, strain: ReportedStrain, nowMs: number) => void;
  /** How an MCP is, as the coordinator says that holds this session of it; counts until `untilMs`, unless it is renewed, or the session closes. */
  readonly reportHealth: (mcpId: string, sessionId: string, health: ToldHealth, untilMs: number, nowMs: number) => void;
  /** Stored events, in any order; repetitions are not stored and so never get here. */
  readonly observe: (events: readonly ObservedEvent[], receivedAtMonoMs: number) => void;
  /** The end of a decision as the caller tells it, for callers that report no events. False when the decision is not open, or not one of this MCP. */
  readonly settle: (decisionId: string, mcpId: string, report: EndReport, nowMs: number) => boolean;
  /**
   * An independent judgement of a decision's result, 0 to 1. The first one of a decision counts, every other one changes nothing. Undefined when the decision is
   * forgotten, or was given back unused.     Bound: `limits.routedPastMax` decisions that have ended.
   */
  readonly audit: (decisionId: string, quality: number, nowMs: number) => AuditVerdict | undefined;
  /**
   * An audit that another coordinator took, of an MCP whose stream is here. True when what is known of the MCP has it; false while it waits for the end of the request, and then
   * the same audit may be told again. Of a request that is not remembered it counts each time: the caller keeps count (ForeignAudits).
   */
  readonly learnAudit: (audit: LearntAudit) => boolean;
  /** Time passes: leases run out, ejections end, estimators decay. About once a second. */
  readonly tick: (nowMs: number) => void;

  /** Puts another policy in force. Errors: throws `not_found` for an id that is not in `policies`. */
  readonly switchPolicy: (policyId: string) => void;
  /** Replaces the policies that are asked along. Errors: as `switchPolicy`. */
  readonly setShadows: (policyIds: readonly string[]) => void;
  readonly policy: () => { readonly policyId: string; readonly policyHash: string; readonly shadowPolicyIds: readonly string[] };

  /** All MCPs that are remembered, ascending by mcpId. */
  readonly mcps: (nowMs: number) => readonly RoutedMcp[];
  readonly mcp: (mcpId: string, nowMs: number) => RoutedMcp | undefined;
  /** Requests that an MCP may have at once when it is well; the default for one that is unknown. Cheap. */
  readonly maxConcurrentOf: (mcpId: string) => number;
  /** What a request costs at an MCP, in the operator's unit: its price, or the mean of the others'; undefined while no MCP has one. Cheap. */
  readonly costOf: (mcpId: string) => number | undefined;
  readonly weightSignals: (nowMs: number) => readonly WeightSignals[];
  readonly figures: () => RouterFigures;

  /** Calls back with every decision, at once, before `select` returns. Must not throw, must not wait. Returns how to stop. */
  readonly onDecision: (hear: (decision: Decision) => void) => () => void;
  readonly onOutcome: (hear: (outcome: DecisionOutcome) => void) => () => void;
  /** Calls back with each audit of an MCP whose stream another coordinator holds: nothing was learned from it here. */
  readonly onForeignAudit: (hear: (audit: LearntAudit) => void) => () => void;
  /** Calls back when an MCP changes its state. */
  readonly onHealth: (hear: (change: HealthChange) => void) => () => void;
};
