/**
 * Everything about weights that is a number. The first five are settings of an operator (section `routing` of the configuration), the first four of them
 * with the names and defaults of gRFC A58, so that people who know it know ours; the others are fixed here.
 */
export type RouterSettings = {
  /** An MCP's first results say little: its own signals count only this long after them. A58 `blackoutPeriod`. */
  readonly blackoutPeriodMs: number;
  /** Without a result for this long, signals say nothing any more. Also how long an MCP without a session stays in the table. A58 `weightExpirationPeriod`. */
  readonly weightExpirationPeriodMs: number;
  /** How often weights are computed. Less than 100 counts as 100. A58 `weightUpdatePeriod`. */
  readonly weightUpdatePeriodMs: number;
  /** How heavily a share of errors counts beside utilization. A58 `errorUtilizationPenalty`. */
  readonly errorUtilizationPenalty: number;
  /** Requests that one MCP is taken to serve at once: the denominator of utilization. */
  readonly maxConcurrentDefault: number;
  /** Tier of an MCP of which nothing is known. */
  readonly priorityDefault: number;
  /** Events of this age count half as much as new ones. */
  readonly halfLifeMs: number;
  /** Share of the way to its target that ln weight moves in one second, downwards and upwards; in (0, 1]. */
  readonly fallPerSecond: number;
  readonly risePerSecond: number;
  /** A publication raises no weight by more than this factor, before normalising. */
  readonly riseMaxFactor: number;
  /** A table is published when a weight has moved by more than this factor. */
  readonly deadBandFactor: number;
  /** An unchanged table is published again after this time: sign of life of the publisher, far below `validForMs`. */
  readonly refreshMs: number;
  /** Two publications are at least this far apart; also how often membership is looked at. */
  readonly publishIntervalMinMs: number;
  /** How often a follower reads the newest publication, and how long a failed store is left alone. */
  readonly followPeriodMs: number;
  /** A follower takes over when nothing new was published for this long. */
  readonly takeoverSilenceMs: number;
  /** How long a client may use a table without a newer one. */
  readonly validForMs: number;
};

/** Defaults; each reason is a document or a sum, none is a guess left alone. */
export const routerDefaults = {
  blackoutPeriodMs: 10_000, // A58
  weightExpirationPeriodMs: 180_000, // A58
  weightUpdatePeriodMs: 1_000, // A58
  errorUtilizationPenalty: 1.0, // A58
  maxConcurrentDefault: 10, // until an MCP registers its own; A58 has no such number, since its servers report utilization themselves
  priorityDefault: 0, // served first
  halfLifeMs: 10_000, // as long as A58's out-of-band reporting period: about the last 14 s count
  fallPerSecond: 0.5, // shed fast: 94 % of a step in 4 s
  risePerSecond: 0.1, // recover slowly: time constant about 10 s, Finagle's default decay; far above the loop delay of 2.25 s, hence no oscillation
  riseMaxFactor: 1.25, // a recovered MCP doubles its share in four publications, not in one
  deadBandFactor: 1.05, // below it a push costs more than it tells
  refreshMs: 30_000, // six publications within validForMs
  publishIntervalMinMs: 250, // an MCP that leaves is out of the table within this; A58's floor is 100 ms
  followPeriodMs: 1_000, // one indexed row a second
  takeoverSilenceMs: 90_000, // validForMs / 2, three missed refreshes: one is noise, two is a pause, three is gone
  validForMs: 180_000, // as A58's weightExpirationPeriod: older weights are worth no more than equal ones
} as const satisfies RouterSettings;
