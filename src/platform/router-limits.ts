/** Bounds of what the router remembers and of what coordinators tell each other, part of `limits`. Unit in the name, reason in the comment. */
export const routerLimits = {
  /** MCPs that the router keeps signals for; the longest silent one is forgotten first. */
  routedMcpMax: 1_000,
  /** Requests of one MCP that are followed at once: above it, starts without a decision are not. Far above any max_concurrent_requests. */
  routedInFlightMax: 10_000,
  /** Ends of one MCP that wait for their starts: out of order by seconds, not by hours. */
  routedEarlyEndsMax: 1_000,
  /** Decisions remembered after their end, for ends that come late and audits: a minute at 150 a second, ten at 15. */
  routedPastMax: 10_000,
  /** Load reports in a row below our own count after which the MCP is right: one may have crossed a request on its way. */
  routedMismatchesMax: 2,
  /** Bounds of a lease: below, a pause of the network ends it; above, a lost end holds a place for an afternoon. */
  leaseMinMs: 30_000,
  leaseMaxMs: 600_000,
  /** Classes of requests whose medians are kept at hand; they are read again when there are more. */
  routedClassesMax: 1_000,
  /** Longest delay that a refused selection names: the fleet changes within a second. */
  selectRetryMaxMs: 1_000,
  /** Request classes and request types with signals of their own: names that strangers choose. The longest unused one is forgotten first. */
  signalClassesMax: 1_024,
  /** Pairs of MCP and class with signals of their own, about 5 KiB each: 40 MiB. */
  signalCellsMax: 8_192,
  /** Classes and types of one MCP with signals of their own: a hundred types in four sizes each. One with many must not make the others forgotten. */
  signalCellsPerMcpMax: 512,
  /** Open requests of which the router watches the age: twice what the MCPs that it routes to hold at 10 each, and more. */
  openRequestsMax: 50_000,
  /** Largest digest that a coordinator writes for the others, about once a second; above it, it tells less of each MCP. */
  routerDigestMaxBytes: 4 * 1024 * 1024,
  /** Largest memory of signals that is kept for a restart; above it, it keeps less of each MCP. */
  routerStateMaxBytes: 8 * 1024 * 1024,
  /** A coordinator whose digest is older is taken for gone, and the streams that it held with it: ten missed writings. */
  routerDigestMaxAgeMs: 10_000,
  /** How often digests are exchanged, at most: below the second in which weights are computed nothing is gained. */
  routerExchangeIntervalMs: 1_000,
  /** How often signals are kept for a restart: what a crash forgets is at most this much, of half-lives from minutes to hours. */
  routerStateIntervalMs: 10_000,
  /** Older memories of signals are not read, and forgotten: four half-lives of an MCP's own quality. */
  routerStateMaxAgeMs: 24 * 3_600_000,
  /** Memories of signals that a starting coordinator reads: its own, and those of peers whose MCPs may come to it. */
  routerStatesMax: 8,
  /** Memories of signals that are kept: far more than coordinators that save within ten seconds, and than a starting one reads. */
  routerStatesKeptMax: 64,
  /** Ends that one digest tells of requests that other coordinators decided; some 100 bytes each. */
  foreignEndsMax: 2_000,
  /** Audits that one digest tells to whoever holds the MCPs' streams; some 250 bytes each. They are acknowledged within two or three seconds. */
  foreignAuditsMax: 2_000,
  /** How long an audit is told that nobody acknowledges: longer than a lease of most requests, so that what still runs can end. */
  foreignAuditMaxAgeMs: 60_000,
  /** Three missed digests: an MCP of that coordinator gets nothing new while there is an alternative. */
  routerDigestSuspectMs: 3_000,
  /** Classes and types of each MCP in a digest: those used last. */
  routerDigestCellsMax: 8,
  /** Ended requests whose id is remembered, so that a repeated end counts once and a late one is told from a new one. */
  endedRequestsMax: 10_000,
} as const;
