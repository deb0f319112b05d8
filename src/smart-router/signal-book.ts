import type { Assigned, Ended } from "./policy.js";
import type { RouteRequest } from "./request.js";

/** What is known of one MCP with regard to one request. Estimates, not observations; each says where it comes from. */
export type TargetSignals = {
  readonly mcpId: string;
  /** Expected latency at the present number in flight, ms, > 0. Never below the median age of what the MCP has open in this class: what has not come back counts too. */
  readonly latencyMs: number;
  readonly latencyFrom: "near" | "peak_ewma" | "open_age" | "prior";
  /** Probability that the answer comes later than the deadline, 0 to 1. */
  readonly tail: number;
  /** Probability of failure, 0 to 1; shrunk to the fleet's. */
  readonly errorRate: number;
  /** Expected quality, 0 to 1, and its standard error. */
  readonly quality: number;
  readonly qualitySigma: number;
  /**
   * By what its share may be multiplied because of what it says of its own quality and nobody has audited, within [0.8, 1.25]; 1 when nothing is left unaudited or the
   * book believes self-reports. It is not part of `quality`: a value in a score can decide everything, a factor on a share cannot. Undefined counts as 1.
   */
  readonly selfFactor?: number | undefined;
  /** Age of the newest word from the coordinator that holds the MCP's stream; undefined when that is this one. Unit: ms. */
  readonly ageMs?: number | undefined;
  /** Mean cost; 0 when nothing is reported. */
  readonly cost: number;
  /** Assignments of the last seconds, decayed with a half-life of 2 s: breaks ties. */
  readonly recent: number;
  /** Ends that stand behind the estimates, decayed; 0 means that all are priors. */
  readonly samples: number;
  /**
   * What the policy itself has seen of the effect of load on the latency of this MCP, over all classes: others in flight and latency (ms) in the mean, and the part of the latency, 0 to 1, that grows in
   * proportion to the requests in flight. Undefined while too little is known, and where a policy does not ask. Written by the policy into what it has read: a copy for every target would
   * cost as much as the reading.
   */
  load?: { readonly inFlight: number; readonly latencyMs: number; readonly growth: number } | undefined;
};

/** What is known of a class over the fleet. Latencies in ms. */
export type ClassSignals = {
  readonly p50Ms: number;
  readonly p90Ms: number;
  readonly p95Ms: number;
  readonly errorRate: number;
  /** Mean quality. */
  readonly quality: number;
  /** The latency that still counts as in time when a request tells no deadline: the configured objective, else p90Ms. */
  readonly deadlineMs: number;
};

/** What the published weight of one MCP is made of: over all classes. */
export type WeightSignals = {
  readonly mcpId: string;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly errorRate: number;
  /** Lower confidence bound of its quality, and the fleet's mean. */
  readonly qualityLcb: number;
  readonly fleetQuality: number;
  /** False once audits outnumber what it says of itself: then its quality may count for more. */
  readonly isSelfReported: boolean;
  /** The last event of any kind, monotonic ms. */
  readonly heardAtMs: number | undefined;
  readonly samples: number;
};

/** Everything folded from what was assigned and how it ended. Monotonic ms throughout; bounds from `limits`. */
export type SignalBook = {
  readonly assigned: (assigned: Assigned) => void;
  readonly ended: (ended: Ended) => void;
  /** `deadlineMs` undefined takes that of the class. */
  readonly read: (mcpId: string, request: RouteRequest, inFlight: number, nowMs: number) => TargetSignals;
  readonly readClass: (request: RouteRequest, nowMs: number) => ClassSignals;
  /** Of the MCPs named, ascending by mcpId; one that is unknown has priors. */
  readonly readWeights: (mcpIds: readonly string[], nowMs: number) => readonly WeightSignals[];
};
