/** Bounds of the reporter, part of `limits`: a file of their own because they meet only inside of an MCP. Unit in the name, reason in the comment. */
export const reporterLimits = {
  /** Encoded events that a spool holds by default: an hour at 700 events of 400 bytes a second. Its file is about a quarter larger. */
  spoolMaxBytes: 1024 * 1024 * 1024,
  /** Events that a spool holds by default: twice an outage of a million events. */
  spoolMaxEvents: 2_000_000,
  /** Age of an event in a spool by default, the figure of the specification: 7 days. */
  spoolMaxAgeMs: 7 * 24 * 60 * 60_000,
  /** Events, and bytes of them, that wait in memory for the disk under a spool: a second of a disk that hangs. */
  spoolPendingMaxEvents: 50_000,
  spoolPendingMaxBytes: 32 * 1024 * 1024,
  /** Share of that which progress may fill, so that a slow disk costs progress first. */
  spoolPendingProgressShare: 0.5,
  /** Events, and bytes of them, in one transaction of a spool: copying them takes about a millisecond of the caller's thread. */
  spoolCommitMaxEvents: 500,
  spoolCommitMaxBytes: 4 * 1024 * 1024,
  /** Encoded bytes that one read of a spool hands out, unless the first event alone is larger. */
  spoolPageMaxBytes: 8 * 1024 * 1024,
  /** Events, and bytes of them, that are set aside in a spool: enough to see what is refused and why. */
  spoolSetAsideMaxEvents: 10_000,
  spoolSetAsideMaxBytes: 64 * 1024 * 1024,
  /** Longest reason of a set-aside event.     Unit: bytes of UTF-8. */
  spoolReasonMaxBytes: 512,
  /** How often a spool looks for events that are too old: of an age of days, a minute is nothing. */
  spoolSweepIntervalMs: 60_000,
  /** Events that a spool drops or sets aside for age or room in one transaction: some milliseconds of the caller's thread. */
  spoolSweepMaxEvents: 500,
  /** How long after a refusal of the disk a spool tries again what may be tried again. */
  spoolRetryMs: 1_000,
  /** Lines in the log about one kind of trouble of a spool: one in this time at most, with the number of those in between. */
  spoolTroubleIntervalMs: 10_000,
  /** How often the holder of a spool shows that it lives, to processes that cannot see it: those of other hosts or containers. */
  spoolHolderBeatMs: 5_000,
  /** A holder on another host that has not shown itself for so long is gone: six missed beats. */
  spoolHolderGoneMs: 30_000,
  /** How often a spool that another process holds, or that has no room to be opened, is tried again: as often as a holder shows that it lives. */
  spoolOpenRetryMs: 5_000,
  /** For so long after a spool was opened nothing in it is too old: what another process left is offered first, because the clock may have jumped in between. */
  spoolAgeGraceMs: 3_600_000,
  /** Longest wait for another key from the owner's `renewKey`: above any answer of a service for secrets, below the warning of two minutes. */
  keyRenewalMaxMs: 30_000,
  /** Events that the reporter has out of its spool at once: with a transport, waiting for one, or waiting to be offered again. */
  pumpHeldMaxEvents: 8_192,
  /** Events that the gRPC transport of the reporter has taken and not settled: two full windows, so that the stream never waits for the spool. */
  grpcHeldMaxEvents: 2_000,
  /** How long a stream that is given up may take to end. */
  grpcCloseMaxMs: 500,
  /** A live stretch of the spool that is longer than this is read as a backlog, beside what is reported from then on: a fifth of a second of replay. */
  replayLaneMinEvents: 4_096,
  /** Backlogs that are read one after another beside the live stretch: one for each outage that follows too soon on the last. */
  replayLanesMax: 8,
  /** Refused events that are kept where the spool is in memory; the oldest is forgotten first. */
  setAsideInMemoryMax: 1_000,
  /** Resident memory is asked for at most this often. */
  usageSampleMs: 100,
  /** A transport with events that says nothing for so long is left for another, where there is one; the others are made ready after half of it. A commit takes milliseconds. */
  transportSilenceMaxMs: 2_000,
  /** How often the reporter looks whether another of several transports is the better one. */
  transportLookMs: 250,
  /** A stream with events on which nothing comes for so long is left for another coordinator, where the client knows one. */
  streamSilenceMaxMs: 3_000,
  /** How long a backlog waits for the best transport while another works: a coordinator starts within it. */
  backlogPatienceMs: 10_000,
  /** Longest probe of a transport. */
  transportProbeMaxMs: 2_000,
  /** Pause between two probes of a transport that is down. */
  transportProbeBackoff: { firstMs: 500, maxMs: 30_000 },
  /** Pause before a session that was refused is tried again: a key is replaced by people. */
  refusedBackoff: { firstMs: 1_000, maxMs: 60_000 },
  /** Longest wait that a coordinator may ask of an event of the reporter. */
  retryAfterMaxMs: 300_000,
  /** Deadline of a report over HTTP; the specification says 5 s. */
  httpReportMaxMs: 5_000,
  /** Requests with reports that the HTTP transport has under way at once. */
  httpRequestsAtOnce: 2,
  /** Largest body that the HTTP transport sends. Source: clientFrameMaxBytes. */
  httpBodyMaxBytes: 1024 * 1024,
  /** Bytes of an answer over HTTP that are read: verdicts on batchMaxEvents events, each with violationMaxCount faults, stay below. */
  httpAnswerMaxBytes: 4 * 1024 * 1024,
  /** Events reported before the spool is open. It opens within milliseconds. */
  spoolWaitMaxEvents: 10_000,
  /** Troubles of the reporter that are kept to be looked at. */
  recentTroublesMax: 16,
  /** A trouble of one kind is told at most this often; the count says how many there were. */
  troubleLogMs: 10_000,
  /** How long a reporter that closes waits for its last verdicts. With a spool on disk nothing is lost when it waits no longer. */
  reporterCloseMaxMs: 5_000,
} as const;
