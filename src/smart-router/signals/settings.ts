/** Numbers of the estimators. Half-lives and ages in ms of the coordinator's monotonic clock. */
export type SignalBookSettings = {
  /** Half-life of the count of recent assignments. */
  readonly recentHalfLifeMs: number;
  /** A completion older than this says nothing about the latency at a given number in flight. */
  readonly nearMaxAgeMs: number;
  /** Completions, nearest in requests in flight, whose median is the expected latency. */
  readonly nearCount: number;
  /** With fewer samples than this a class says nothing by itself: the request type is asked, then everything. */
  readonly samplesMin: number;
  /** Time constant (not half-life) of the mean that follows peaks at once. */
  readonly peakDecayMs: number;
  /** Expected latency where nothing at all is known, and the factor on the class median for an MCP of which nothing is known. */
  readonly latencyPriorMs: number;
  readonly latencyPriorFactor: number;
  /** Whether a request that is open counts with its age before it has ended. Off only to measure what that is worth. */
  readonly countsOpenAge: boolean;
  /** Half-life of latency histograms and of costs. */
  readonly histogramHalfLifeMs: number;
  /** Samples that the pooled tail probability weighs against that of one load bucket. */
  readonly tailShrinkage: number;
  /** Newest answers that tell whether what was usual still is, and what the usual weighs against them, in answers. */
  readonly recentTailCount: number;
  readonly recentTailShrinkage: number;
  /** Tail probability where nothing is known: a deadline at the p90 is missed by one in ten. */
  readonly tailPrior: number;
  readonly errorHalfLifeMs: number;
  /** Ends that the fleet's error rate weighs against those of one MCP, and the rate of a fleet that has ended nothing. */
  readonly errorShrinkage: number;
  readonly errorPrior: number;
  /** A failure counts as at least this latency, and as at least so many times the p95 of the class. */
  readonly failurePenaltyMs: number;
  readonly failureP95Factor: number;
  /** How far an MCP's own measure may be from ours: the larger of the two bounds. Beyond, the longer one counts. */
  readonly durationToleranceMs: number;
  readonly durationToleranceShare: number;
  /** After this long without an event, an MCP's weight is made of the fleet's signals. */
  readonly weightExpirationMs: number;
  /** What another coordinator told of open requests counts no longer than this. */
  readonly toldMaxAgeMs: number;
  /** Latency objective by request type, at first; a class without one takes its p90 as deadline. */
  readonly objectiveMs: ReadonlyMap<string, number>;
  /** Wall-clock ms at monotonic 0: lets quality depend on the hour of the day. 0 where hours mean nothing. */
  readonly wallOffsetMs: number;
  readonly quality: QualitySettings;
};

/** Numbers of learned quality. */
export type QualitySettings = {
  /** Half-life of the shared regression, and its ridge. */
  readonly sharedHalfLifeMs: number;
  readonly ridge: number;
  /** Samples between two solutions of the shared regression. */
  readonly solveEvery: number;
  /** Half-life of what is particular to one MCP. */
  readonly ownHalfLifeMs: number;
  /** Samples that the shared prediction weighs against an MCP's own. */
  readonly shrinkage: number;
  /** The same between types and between classes of a type: the less levels differ, the more samples the coarser one is worth. */
  readonly typeShrinkage: number;
  readonly classShrinkage: number;
  /** Samples, of all MCPs together, that "nothing special" weighs against what the requests of a type have in common, and the newest that this can stand on. */
  readonly sharedShrinkage: number;
  readonly sharedMemorySamples: number;
  /** Newest samples that a mean can stand on: bounds how long an MCP that changed is judged by what it was. */
  readonly memorySamples: number;
  /** Of deviations of judged answers, in standard deviations: what is worn off from each, what sum is an alarm, and how many samples there must be before. */
  readonly changeSlack: number;
  readonly changeAlarm: number;
  readonly changeCountMin: number;
  /** Samples that a mean still stands on after an alarm. */
  readonly changeKept: number;
  /** An MCP that tells nothing goes back to the fleet's mean with this half-life. */
  readonly silenceHalfLifeMs: number;
  /** Variance of a sample where nothing is known, and what a variance grows by per ms of silence, up to `varianceMax`. */
  readonly variancePrior: number;
  readonly varianceDriftPerMs: number;
  readonly varianceMax: number;
  /** Mean where nothing is known. */
  readonly prior: number;
  /** Self-reports that never differ say nothing: below this variance with more than so many reports they count as missing. */
  readonly constantVarianceMax: number;
  readonly constantCount: number;
  /** "capped": what nobody audited moves shares by `selfFactorMax` at most. "trusted": MCPs are believed, as far as audits do not correct them. */
  readonly selfReports: "capped" | "trusted";
  /** Each audit vouches for so many self-reports. */
  readonly vouchedPerAudit: number;
  /** Greatest factor, and smallest as its inverse, on the share of an MCP by its own word; and how steep it grows with quality. */
  readonly selfFactorMax: number;
  readonly selfFactorSteepness: number;
  /** What a self-report weighs in the shared regression beside an audit. */
  readonly selfWeight: number;
};

const hourMs = 3_600_000;

/** Defaults; each reason is a document or a sum. */
export const signalDefaults: SignalBookSettings = {
  recentHalfLifeMs: 2_000, // a few round trips of the feedback: an assignment is not yet seen as open elsewhere
  nearMaxAgeMs: 60_000, // older completions belong to another situation
  nearCount: 9, // Prequal: the median of recent completions near the present load
  samplesMin: 5, // fewer have no median worth the name
  peakDecayMs: 10_000, // Finagle's decayTime
  latencyPriorMs: 1_000, // Tower's default RTT; pessimistic for most
  latencyPriorFactor: 1.5, // a newcomer must not look faster than those who are known
  countsOpenAge: true,
  histogramHalfLifeMs: 300_000, // a tail of 1 % needs minutes of samples
  tailShrinkage: 10,
  recentTailCount: 16, // an MCP that turned slow is known by it as soon as it has answered so often
  recentTailShrinkage: 16,
  tailPrior: 0.1,
  errorHalfLifeMs: 60_000,
  errorShrinkage: 2,
  errorPrior: 0.05, // the mean of Beta(1, 19), with which ejection begins
  failurePenaltyMs: 5_000, // Linkerd's Load Biaser
  failureP95Factor: 2,
  durationToleranceMs: 25, // one group commit and a scheduler's pause
  durationToleranceShare: 0.2,
  weightExpirationMs: 180_000, // A58
  toldMaxAgeMs: 10_000, // ten missed exchanges
  objectiveMs: new Map(),
  wallOffsetMs: 0,
  quality: {
    sharedHalfLifeMs: 24 * hourMs,
    ridge: 1,
    solveEvery: 32, // 12 × 12: some microseconds, so below 0.2 µs per sample
    ownHalfLifeMs: 6 * hourMs,
    // Their inverses sum to 1/20: with one class, 20 samples are half of an estimate.
    shrinkage: 60,
    typeShrinkage: 40,
    classShrinkage: 120,
    sharedShrinkage: 5,
    sharedMemorySamples: 1_000,
    memorySamples: 200, // after 300 samples 78 % of a mean are new
    changeSlack: 0.5, // changes of a deviation are found soonest, and those of half a one not at all
    changeAlarm: 14, // a false alarm in 100 000 samples or more; an MCP that falls from 0.85 to 0.55 is found within 36
    changeCountMin: 30, // before, a mean is still drawn so much towards the prior that it misses the truth
    changeKept: 10, // half of the prior: a hint, and no more
    silenceHalfLifeMs: hourMs / 2,
    variancePrior: 1 / 16, // standard deviation 0.25
    varianceDriftPerMs: 0.01 / hourMs, // ± 0.1 after an hour of silence
    varianceMax: 0.25, // the largest that a value in [0, 1] can have
    prior: 0.5,
    constantVarianceMax: 1e-6,
    constantCount: 50,
    selfReports: "capped",
    vouchedPerAudit: 4,
    selfFactorMax: 1.25,
    selfFactorSteepness: 4, // η of the weight rule
    selfWeight: 0.1,
  },
};
