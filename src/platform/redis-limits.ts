/** Bounds of the way through Redis, part of `limits`. Unit in the name, reason in the comment. */
export const redisLimits = {
  /** Largest entry of a Redis stream: an event of eventMaxBytes as JSON with every byte escaped once, in base64 or text. Unit: bytes of names and values. */
  redisEntryMaxBytes: 1024 * 1024,
  /** Entries read from a Redis stream and not yet acknowledged: two full commits, so that one is written while one is filled. */
  redisInFlightMaxEntries: 4_000,
  /** Bytes of those: beside what the queue of the ingest holds of them. */
  redisInFlightMaxBytes: 16 * 1024 * 1024,
  /** Entries acknowledged in one transaction: below a millisecond of Redis' time. */
  redisAckMaxEntries: 500,
  /** Connecting to Redis, and any answer beyond the time that was asked to wait. */
  redisConnectMaxMs: 5_000,
  redisCommandMaxMs: 5_000,
  /** Reconnects to Redis: a restart is found within a moment, a server that is down costs one attempt in some seconds. */
  redisBackoff: { firstMs: 100, maxMs: 5_000 },
  /** How often the depth and lag of a Redis stream are asked for, and entries in work are kept young. */
  redisTickMs: 1_000,
  /** How long the sign that a coordinator reads a stream outlives it: several ticks and a slow failover. */
  redisReaderMs: 15_000,
  /** From this share of `redis.max_len` on a stream is trimmed, once in redisTickMs: careful producers hold back at the whole, and must not do so for entries that are done with. */
  redisTrimShare: 0.5,
  /** Dead letters kept in Redis; the oldest go first. */
  redisDeadLetterMaxEntries: 100_000,
  /** Verdicts that wait in the stream of one producer: several windows of a client of ours. */
  redisVerdictStreamMaxEntries: 20_000,
  /** How long the verdicts of a producer that is gone are kept. */
  redisVerdictKeepMs: 3_600_000,
  /** A consumer of the group that has been silent for so long and has nothing pending is forgotten. */
  redisConsumerMaxIdleMs: 3_600_000,
  /** Events that a client has in a Redis stream without a verdict: covers a commit and two round trips at 20 000 events/s. */
  redisWindowMaxEvents: 5_000,
  /** A client that has had no verdict for so long sends the event again. Above half of a takeover from a dead coordinator. */
  redisVerdictMaxMs: 30_000,
} as const;
