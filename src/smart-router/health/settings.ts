import { limits } from "../../platform/limits.js";

/** Every number of the health rules. */
export type HealthSettings = {
  /** Outcomes of this age count half as much as new ones. */
  readonly halfLifeMs: number;
  readonly consecutiveErrorsMax: number;
  /** Prior of the share of errors: Beta(priorErrors, priorOks). */
  readonly priorErrors: number;
  readonly priorOks: number;
  /** Ejected when its share of errors is above `errorFactor` times the fleet's plus `errorMargin` with more than this probability, on so many outcomes. */
  readonly errorFactor: number;
  readonly errorMargin: number;
  readonly confidence: number;
  readonly outcomesMin: number;
  /** Requests without an end, within the window, that eject. */
  readonly expiriesMax: number;
  readonly expiryWindowMs: number;
  /** Lost streams, within the window, that eject. */
  readonly flapsMax: number;
  readonly flapWindowMs: number;
  readonly ejectionMs: number;
  readonly ejectionMaxMs: number;
  /** An ejection takes up to this share longer, by chance. */
  readonly ejectionJitter: number;
  /** So long without a new ejection takes back one of those that made the next one longer. */
  readonly forgiveEveryMs: number;
  /** Share of the live fleet that may be ejected at once; one always may, the last one never. */
  readonly ejectedMaxShare: number;
  /** Length of the slow start, of a newcomer and of one that comes back, and the successes that end it early. */
  readonly warmingMs: number;
  readonly rewarmingMs: number;
  readonly warmingOks: number;
  readonly slowStartMin: number;
  /** Capacity never falls below this share while it starts. */
  readonly warmingCapacityMin: number;
  /** Slow: more than half of its answers take longer than this many medians of their class, on so many answers. */
  readonly slowFactor: number;
  readonly slowOutcomesMin: number;
  readonly slowShareBegin: number;
  readonly slowShareEnd: number;
  /** Slow too: late answers, by the same test as errors, on so many answers. */
  readonly lateOutcomesMin: number;
  /** Slow too: routing tables in a row that every session of it leaves unanswered; suspect from `unansweredTablesMax` on. */
  readonly unansweredTablesBegin: number;
  readonly unansweredTablesMax: number;
  /** Slow too: mean deviation of heartbeats from their interval, as a share of it, on every session. */
  readonly jitterBegin: number;
  readonly jitterEnd: number;
  /** Whose last stream ended in good order may come back for so long as if it had never left. */
  readonly returnMaxMs: number;
  readonly probeEveryMs: number;
  readonly probesMax: number;
  /** When no request that may be repeated comes for so long, an MCP comes back without probes. */
  readonly unprobedMaxMs: number;
  /** Without a stream for so long, it is gone. */
  readonly goneAfterMs: number;
};

/** Defaults; reasons here and in SPEC.md. */
export const healthDefaults = {
  halfLifeMs: 60_000,
  consecutiveErrorsMax: 5, // gRPC, Envoy, Finagle
  priorErrors: 1,
  priorOks: 19, // one error in twenty is what we expect of an MCP that we do not know
  errorFactor: 2,
  errorMargin: 0.05,
  confidence: 0.99,
  outcomesMin: 5, // volume gates of 50 and 100 never fire at the traffic of MCPs
  expiriesMax: 3,
  expiryWindowMs: 60_000,
  flapsMax: 3,
  flapWindowMs: 60_000,
  ejectionMs: 30_000, // Envoy base_ejection_time
  ejectionMaxMs: 300_000, // Envoy max_ejection_time
  ejectionJitter: 0.2, // MCPs that failed together do not come back together
  forgiveEveryMs: 30_000,
  ejectedMaxShare: 0.34,
  warmingMs: 30_000,
  rewarmingMs: 5_000, // what it knew it still knows; only its caches and our picture of its load are cold
  warmingOks: 20, // time alone starves, and then floods, MCPs with little traffic
  slowStartMin: 0.1, // Envoy min_weight_percent
  warmingCapacityMin: 0.25,
  slowFactor: 3,
  slowOutcomesMin: 8,
  slowShareBegin: 0.5, // more than half above = median above
  slowShareEnd: 0.35, // lower than where it begins: no flapping at the edge
  lateOutcomesMin: 20,
  unansweredTablesBegin: 1, // five seconds without an answer: the loop that reads the stream stands still
  unansweredTablesMax: 3, // as with heartbeats: one is noise, two is a pause
  jitterBegin: 0.5, // half an interval, that is 7.5 s, off in the mean: no network does that for minutes
  jitterEnd: 0.25,
  returnMaxMs: limits.returnMaxMs,
  probeEveryMs: 1_000,
  probesMax: 3,
  unprobedMaxMs: 60_000,
  goneAfterMs: 600_000,
} as const satisfies HealthSettings;
