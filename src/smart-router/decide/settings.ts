/** Every number and switch of the rule. The switches are there to measure what each part is worth; all are on in service. */
export type RuleSettings = {
  /** Utility that a certainly late answer costs, that an answer as slow as the deadline costs, and that the dearest target's cost costs. */
  readonly tailWeight: number;
  readonly latencyWeight: number;
  readonly costWeight: number;
  /** Utilities closer than this count as equal, and closer than `tieSigmas` standard errors of their difference. */
  readonly tieMin: number;
  readonly tieSigmas: number;
  /** Samples that the priors of the estimates stand for. */
  readonly tieSamples: number;
  /** More samples than this make an estimate no surer: the newest weigh most. */
  readonly tieSamplesMax: number;
  /** What tail and latency may take from a score before it is more than load explains: beyond, it counts against what an answer is worth. */
  readonly paceSlack: number;
  /** Newest ends on which the usual load of an MCP stands, how many there must be before load has a price, and by how many standard errors its effect is taken for greater than it was. */
  readonly loadMemory: number;
  readonly loadEndsMin: number;
  readonly loadSigmas: number;
  /** What one more request takes from others is counted up to a latency of so many deadlines. */
  readonly crowdingMax: number;
  /** Of those that are tied, those up to this rank of load stay in the draw. */
  readonly tieLoadQuantile: number;
  /** Loads closer than this count as equal. Unit: share of the capacity. */
  readonly tieLoadMin: number;
  /** Standard error of an expected latency, as a share of it. */
  readonly latencyNoise: number;
  /** Share of choices made to learn. */
  readonly epsilon: number;
  /**
   * An MCP that has none of the requests that it got for the sake of learning may get another one this long after the last; a degraded one after the longer time. What it gets
   * as one of the best does not count: who serves one type well may be unknown in another.     Unit: ms.
   */
  readonly exploreEveryMs: number;
  readonly exploreDegradedEveryMs: number;
  /** Nor is it tried out before so many times the latency that is expected of it have passed: a trial of a slow MCP costs its caller more. */
  readonly exploreLatencies: number;
  /** Part of its share in the draw that a degraded MCP keeps. */
  readonly degradedShare: number;
  /** Rank from which an MCP counts as hot among the others, and the load from which it always does. */
  readonly hotQuantile: number;
  readonly hotAlways: number;
  /** Below so many targets a rank is too coarse: hot is then who has `smallFleetFactor` times the median load, and at least `smallFleetLoadMin`. */
  readonly smallFleet: number;
  readonly smallFleetFactor: number;
  readonly smallFleetLoadMin: number;
  /** With fewer in flight nobody is hot by rank alone. */
  readonly hotInFlightMin: number;
  readonly usesQuality: boolean;
  readonly usesTail: boolean;
  readonly usesTieSet: boolean;
  readonly usesRecent: boolean;
};

/** Defaults; reasons in SPEC.md. */
export const ruleDefaults = {
  tailWeight: 0.5, // a late answer is worth half of a good one: between a failure and a success
  latencyWeight: 0.2, // four points of quality are worth a fifth of the deadline
  costWeight: 0.1, // only counts where cost is reported
  tieMin: 0.01, // one point of quality: below it, load decides
  tieSigmas: 0.5,
  tieSamples: 10,
  tieSamplesMax: 32, // the tail that decides stands on the newest 16 answers and as many of the usual ones
  paceSlack: 0.45, // a machine of which neighbours take 60 % loses 0.5, one that is ten times too slow 0.65
  loadMemory: 200, // some seconds to a minute: longer than the coming and going of neighbours, which numbers in flight tell sooner than a mean of so few latencies can
  loadEndsMin: 16,
  loadSigmas: 2, // numbers in flight vary little and each latency a lot, which makes a slope seem smaller than it is
  crowdingMax: 5,
  tieLoadQuantile: 0.25, // p99 under antagonists is least from 0 to 0.25 and grows by half towards 0.84: the numbers in flight are our own and exact
  tieLoadMin: 0.001, // one request of a thousand says nothing of who is busier; with a capacity below that each one counts
  latencyNoise: 0.2, // the median of nine answers whose standard deviation is half their mean: 1.25 × 0.5 / 3
  epsilon: 0.01, // as in the SLO-headroom tiers of gateway-api-inference-extension 2754
  exploreEveryMs: 1_000,
  exploreDegradedEveryMs: 5_000, // a slow MCP makes a caller wait: tried less often
  exploreLatencies: 3, // trials keep it busy for a quarter of the time at most
  degradedShare: 0.25, // h of the weights; to leave it out would push its load on others, until they are degraded too
  hotQuantile: 0.84, // Prequal's Q_RIF of 2^-0.25
  hotAlways: 0.9, // the last tenth of the places is for what is already on its way
  smallFleet: 6,
  smallFleetFactor: 2,
  smallFleetLoadMin: 0.5,
  hotInFlightMin: 2, // one request more or less is noise
  usesQuality: true,
  usesTail: true,
  usesTieSet: true,
  usesRecent: true,
} as const satisfies RuleSettings;
