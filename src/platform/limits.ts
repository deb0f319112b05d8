import { redisLimits } from "./redis-limits.js";
import { reporterLimits } from "./reporter-limits.js";
import { routerLimits } from "./router-limits.js";

/**
 * Every bound of the system that is not a setting: unit in the name, reason in the comment.
 * What an operator may change is in config/schema.ts instead; both are listed in docs/limits.md.
 */
export const limits = {
  /** Longest id or short text field. Long enough for a URN, short enough for an index entry. Unit: bytes of UTF-8. */
  idMaxBytes: 256,
  /** Longest text for people. A stack trace fits. Unit: bytes of UTF-8. */
  messageMaxBytes: 64 * 1024,
  labelMaxCount: 32,
  labelKeyMaxBytes: 64,
  labelValueMaxBytes: 256,
  stepMaxCount: 256,
  /** Deepest nesting of a JSON payload: real documents stay below 20. */
  jsonMaxDepth: 64,
  /** Deepest nesting of protobuf messages: a level of Struct takes three, plus the frame around it. */
  decodeMaxDepth: 64 * 3 + 8,
  /** Largest encoded event. Larger content belongs into an object store. */
  eventMaxBytes: 256 * 1024,
  /** Largest gRPC message; the usual default of gRPC stacks, so that no client needs a setting. */
  frameMaxBytes: 4 * 1024 * 1024,
  /** Most events in one frame or unary call. */
  batchMaxEvents: 500,
  /** Most reports in one array posted over HTTP: the queue of the specification's HTTP documents. Its bytes are bounded by frameMaxBytes. */
  httpBatchMaxEvents: 10_000,
  /** Bytes of all bodies that are being read over HTTP: sixteen of the largest, whatever the number of connections. */
  httpBodiesMaxBytes: 64 * 1024 * 1024,
  /** Wrong keys from one address over HTTP: the figures of the specification's API guide, some hundred a minute and twenty at once. */
  httpWrongKeys: { burst: 20, perSecond: 1.6 },
  /** Callers whose allowance is remembered; the one not heard of for longest is forgotten first. */
  httpCallersMax: 10_000,
  /** How long figures of the store are given again without asking it: a dashboard asks every 30 s, and counting a million rows takes half a second. */
  httpFiguresMaxAgeMs: 1_000,
  /** MCPs and time ranges whose figures are kept for that. */
  httpFiguresMaxCount: 1_000,
  /** Most events in one commit: a flush of the WAL is shared by more of them (bench/README.md, "Where the time goes"). */
  commitMaxEvents: 2_000,
  /** Producers opened in one statement: a restart with 10 000 sessions takes twenty. */
  openingsMaxCount: 500,
  /** How often one batch is sifted and tried again when new repetitions of its events keep arriving elsewhere.     Unit: statements. */
  appendMaxAttempts: 5,
  /** After a repetition, how many batches of the lane are looked up before they are written: a reconnect repeats up to a window of every stream. */
  siftAfterRepeatBatches: 64,
  /** Most bytes of JSON in one commit: keeps a batch of large events below the memory of one backend. */
  commitMaxBytes: 4 * 1024 * 1024,
  /**
   * Events of one producer that a statement takes before others have their turn, while more waits than it can hold; a large one counts for as many as its share
   * of commitMaxBytes. With eight, 250 that flood a lane leave a newcomer its place in the next statement.
   */
  turnMaxEvents: 8,
  /** Most faults named for one event or request. */
  violationMaxCount: 16,
  /** Farther ahead of our clock than this, an event's time is a mistake and not a skew. */
  skewRetryMaxMs: 24 * 60 * 60 * 1000,
  /** Unsettled events over all peers. Above it who has some of them is not read, or gets OVERLOADED. */
  pendingMaxEvents: 20_000,
  /** Bytes of those: with the database down under load the process must stay below 64 MiB of growth. */
  pendingMaxBytes: 24 * 1024 * 1024,
  /** Above these bounds, calls for MCPs of which nothing waits may fill this share more: two thousand single events, and within the 64 MiB. */
  pendingReserveShare: 0.1,
  /** Window of one stream. At 30k events/s a window of 1 000 covers 33 ms of commit latency. */
  windowMaxEvents: 1_000,
  /** Sequences of one session that were refused for now and are waited for: a whole window of them. Above it the resume point stays where it is until the session ends. */
  deferredSequencesMax: 1_000,
  windowMaxBytes: 4 * 1024 * 1024,
  /** A stream is no longer read above this many windows: a client that ignores its window meets the back-pressure of HTTP/2. */
  windowPauseFactor: 2,
  /** Windows shrink when this share of the pending budget is filled, for all who send together to fill no more than it. */
  pressureHighShare: 0.5,
  /** A budget filled this far in spite of it makes them shrink further, step by step. */
  pressureFullShare: 0.9,
  /** They grow again below this share: half of what made them shrink, so that growing by one step cannot make them shrink. */
  pressureLowShare: 0.25,
  /** For so long there must be no reason for a shrunken window before it grows by one step. */
  pressureCalmMs: 5_000,
  /** Shares of the memory that the process may have at which windows shrink and may grow again. The rest is for the collector to work in. */
  memoryHighShare: 0.85,
  memoryLowShare: 0.75,
  /** Smallest window: the full one halved so often, 7 events. */
  windowHalvingsMax: 7,
  /** A client has so long after a window began to shrink before it can be taken for a violator. */
  windowGraceMs: 10_000,
  /** Events above a shrunken window that make a violator: twice what a client can have sent before it learnt of the smallest one (hub/SPEC.md). */
  windowOverrunMaxEvents: 4_000,
  /** Sessions are drained at up to this share before their age is reached, each at its own: those that began together do not end together. */
  sessionAgeSpread: 0.1,
  /** How long a client has to half-close after a DrainNotice because of age: a commit and a few round trips, many times over. */
  sessionDrainMs: 30_000,
  /** A client is told so long ahead that its credential expires: time to fetch another, and to ask a person for one. */
  credentialNoticeMs: 120_000,
  /** Credentials refused on one stream before it ends: mistakes, but no guessing. */
  credentialRefusalsMax: 3,
  /** A load report is worth nothing after this. */
  loadReportMaxAgeMs: 60_000,
  /** Largest number in a load report that is believed. */
  loadReportMax: 1_000_000,
  /** Acks with full detail in one frame: keeps the frame far below the 4 MiB that clients accept. */
  exceptionsPerFrameMax: 500,
  /** A routing table, or settings of a session, that are not acked within this time no longer hold back newer ones. */
  pushAckMaxMs: 5_000,
  /** How often the credential of a server stream (WatchMcps, WatchRoutes) is judged again; a session's own is judged at every tick. One hash each time. */
  credentialCheckMs: 1_000,
  /** An opened stream must send something within this time. */
  helloMaxMs: 10_000,
  heartbeatIntervalMs: 15_000,
  /** How soon a session that stores nothing learns that another coordinator has its producer; one that does learns it with its next commit. */
  fenceCheckIntervalMs: 5_000,
  /** Producers asked about in one statement: lookups by primary key, some milliseconds. */
  fenceCheckMaxCount: 1_000,
  /** One loss is noise, two is a pause, three is gone. */
  heartbeatMissesMax: 3,
  /** Acks that cannot be written for this long mean that the peer does not read. */
  slowConsumerMaxMs: 30_000,
  /** Streams per connection; several times what any client library opens by itself. */
  streamsPerConnectionMax: 128,
  /** Sessions per process: about 60 KiB each. */
  sessionsMax: 10_000,
  /** Sessions on one connection: below streamsPerConnectionMax, so that unary calls still find a stream. */
  sessionsPerConnectionMax: 100,
  /** Receive windows of HTTP/2: grpc-js leaves the server at 64 KiB (grpc-node issue 3058). */
  http2StreamWindowBytes: 1024 * 1024,
  http2ConnectionWindowBytes: 8 * 1024 * 1024,
  /** How long a unary report waits for the store when the caller set no deadline. */
  reportDeadlineMs: 5_000,
  /** A statement that has not answered by then is taken for lost on a half-open socket. Above statement_timeout on purpose. */
  statementWatchdogMs: 10_000,
  statementTimeoutMs: 5_000,
  lockTimeoutMs: 2_000,
  /** Between two statements of a transaction lie milliseconds. A coordinator that stands still in one keeps its locks for so long: no longer than its clients take to go elsewhere. */
  idleInTransactionMs: 2_000,
  /** Appends that run at once on Postgres: one commits, one executes, one is filled (bench/README.md, "Where the time goes"). */
  storeLanes: 3,
  /** Connections for what the coordinator itself asks, on Postgres: sessions, registry, routing, maintenance. */
  queryConnections: 4,
  /** Connections for what callers read, on Postgres: apart from the others, so that questions that take seconds keep nobody's session or lease waiting. */
  readConnections: 3,
  /** Statements that wait for a connection of one pool; more are refused. A fleet that registers at once comes a few hundred at a time. */
  poolWaitingMax: 1_000,
  /** How long they wait: longer than callers do. The embedded store, with one connection, takes a hundred registrations in a few seconds. */
  poolWaitMaxMs: 30_000,
  connectTimeoutMs: 5_000,
  /** TCP keep-alive on connections to Postgres: a dead peer is noticed on idle connections too. */
  keepAliveMs: 10_000,
  /** How long statements in flight may still use a pool that is being replaced or closed. */
  poolDrainMs: 5_000,
  /** How long to wait for another coordinator that migrates the database. Building an index over a large table takes minutes. */
  migrationLockMaxMs: 10 * 60_000,
  migrationLockPollMs: 250,
  /** One statement of a migration: an index over a large table. */
  migrationStatementMaxMs: 60 * 60_000,
  /** Maintenance gives up a table lock after this and tries at its next run: appends queue behind a waiting lock. */
  maintenanceLockMs: 500,
  /** First start of the embedded database runs initdb: seconds on two cores, several times that on a slow disk. */
  embeddedStartMaxMs: 120_000,
  /** Longest path of a Unix socket: 108 bytes on Linux, 104 on macOS, one for the end. */
  socketPathMaxBytes: 103,
  /** Retry of a failed commit. */
  storeBackoff: { firstMs: 50, maxMs: 2_000 },
  /** Most transient failures (deadlock, serialization) of one batch before the store counts as down. */
  transientRetryMax: 5,
  /** How often the store is asked whether it still answers: health follows within this. */
  storeProbeIntervalMs: 2_000,
  /** Page of a list. */
  pageDefaultCount: 100,
  pageMaxCount: 1_000,
  /** Bytes of one page of registrations, or of the events of one interaction: half of frameMaxBytes. */
  pageMaxBytes: 2 * 1024 * 1024,
  /** Ids in one VerifyEvents call. */
  verifyMaxCount: 1_000,
  /** Partitions made ahead of today. */
  partitionsAheadDays: 7,
  /** Partitions that rows may ask for, ahead of the database's clock: a machine may have slept for months, and a clock that is wrong by years must not make days that nobody drops. */
  partitionsAheadMaxDays: 366,
  /** Rows deleted in one statement by maintenance: holds locks for milliseconds only. */
  purgeBatchRows: 5_000,
  /** Statements of one kind in one run of maintenance; the rest waits for the next. */
  purgeRoundsMax: 200,
  /** Longest delay that a drain notice gives, so that sessions do not all come back at once. A client of ours spends it sending. */
  reconnectSpreadMs: 5_000,
  /** Delays are spread over this much for each session that leaves, up to reconnectSpreadMs: what a reconnect costs both ends on two cores. */
  reconnectSpreadPerSessionMs: 4,
  /** Distinct pseudonyms kept in memory. */
  pseudonymCacheMax: 10_000,
  /** Longest bearer key. */
  keyMaxBytes: 256,
  /** Reconnects of a client: fast enough to hide a restart, slow enough that a fleet does not hammer a coordinator that is down. */
  reconnectBackoff: { firstMs: 100, maxMs: 30_000 },
  /**
   * How long a fenced client waits before it takes its producer_id back: `floorMs`, and on top a jittered delay that doubles with each fencing. Two
   * processes with one producer_id so trade places a few times an hour at most, instead of at the pace of their reconnects.
   */
  fencedBackoff: { floorMs: 30_000, firstMs: 30_000, maxMs: 600_000 },
  /** Unacknowledged events and their encoded bytes that a client session holds by default. Above either, the caller waits. */
  outboxMaxEvents: 100_000,
  outboxMaxBytes: 256 * 1024 * 1024,
  /** Largest batch frame a client writes: far below frameMaxBytes, so that one lost stream does not cost megabytes again. */
  clientFrameMaxBytes: 1024 * 1024,
  /** How long a closing client session waits for its last acks. */
  clientCloseMaxMs: 30_000,
  /** Longest grpc-message of a refusal, in UTF-16 units; it travels percent-encoded in a header. */
  statusMessageMaxChars: 1_024,
  /** Largest google.rpc.Status of a refusal: with base64 it stays below the 8 KiB of headers that Java and many proxies accept. */
  statusDetailsMaxBytes: 4_096,
  /** Longest x-request-id that is taken over from a caller. */
  requestIdMaxChars: 128,
  /** Bytes of an undecodable frame that go to the log: the tags and lengths at its beginning, and next to nothing of a text, which may be a key or name a user. */
  undecodableHeadBytes: 8,
  /** Lines of the log that wait for whoever reads stderr: some 20 000, what an outage writes in a minute. */
  logBufferMaxBytes: 8 * 1024 * 1024,
  /** Server keepalive: a dead peer is found after 80 s; pings more frequent than a minute anger proxies. */
  keepaliveTimeMs: 60_000,
  keepaliveTimeoutMs: 20_000,
  /** Queries of one connection whose answers have not left: a dashboard asks for a dozen at once, and a peer that takes no answer leaves a page of each here. */
  queriesPerConnectionMax: 32,
  queryRetryMs: 250,
  /**
   * Streams of one connection that may end with a reset. A client that cancels everything it has open does so 128 times at once; above 1,000 and 33 a
   * second Node itself stops to answer.
   */
  streamResets: { burst: 500, perSecond: 30 },
  /** PING and SETTINGS frames of one connection. Clients that measure the bandwidth ping a few times a second while much data flows. */
  controlFrames: { burst: 1_000, perSecond: 100 },
  /** A line in the log about connections that were ended for misconduct, in this time at most. */
  misconductLogMs: 1_000,
  /** Health watchers per process: probes and clients' health checks, not end users. */
  healthWatchersMax: 1_000,
  /** Longest page token; a cursor holds two ids of idMaxBytes, escaped and in base64. */
  pageTokenMaxChars: 8 * 1024,
  /** A health check of the web port that takes longer counts as failed. Below the usual probe timeouts of 3 s and more. */
  healthCheckMaxMs: 2_000,
  /** Web port: a browser opens about six connections; 1 024 leave file descriptors for streams and the database. */
  webConnectionsMax: 1_024,
  webHeaderMaxBytes: 16 * 1024,
  /** Time for a request's headers, and for all of it: a 4 MiB message at 140 kB/s. */
  webHeadersMaxMs: 10_000,
  webRequestMaxMs: 30_000,
  webKeepAliveMs: 65_000,
  /** Longest deadline that a timer of Node can hold: 2^31 - 1 ms, about 24.8 days. */
  timerMaxMs: 2_147_483_647,
  /** Routing acks waiting to be stored: one per session that a process may hold. */
  routingAckBufferMax: 10_000,
  /** An MCP that left in good order has this long to come back before it counts as disconnected: twice reconnectSpreadMs. */
  returnMaxMs: 10_000,
  /** An MCP whose last session ended this long ago leaves the table: router.md 1.5. */
  goneAfterMs: 600_000,
  /** Routes of one table that a client of ours takes: ten times what a coordinator publishes, so that deltas cannot make it grow without end. */
  clientRoutesMax: 10_000,
  /** Tables that one MCP has rejected and is not sent again; the oldest is forgotten first. */
  rejectedTablesPerMcpMax: 256,
  /** MCPs whose rejections a coordinator remembers: as many as a table can name. */
  rejectingMcpMax: 1_000,
  /** Rejections read from the store at once, and shown in GetRoutes. */
  rejectionPageMax: 1_000,
  rejectionShownMax: 64,
  /** How far back a coordinator that starts looks for rejected tables: weights do not come back after a day. */
  rejectionMemoryMs: 86_400_000,
  /** Acks that the figures from publication to application are taken over. */
  applyDelaySampleMax: 4_096,
  /** Requests that clients observed count in the figures for this long. */
  observedSharesMaxAgeMs: 60_000,
  /** Routing acks stored in one statement. */
  routingAckBatchMax: 500,
  /** Stored text about refused targets of one ack: with routingAckBufferMax acks waiting, 20 MiB at most. */
  routingAckDetailMaxChars: 2_048,
  /** How often routing acks are stored: at most once in this time. */
  routingAckFlushMs: 1_000,
  /** Refused targets in one routing ack, and bytes of each reason; routes.proto. */
  routeVerdictMax: 64,
  routeVerdictReasonMaxBytes: 256,
  /** How often a coordinator looks for a newer routing configuration: one row by its key. */
  routingConfigPollMs: 1_000,
  /** Tries of one change of the routing configuration while others change it too. */
  routingConfigMaxAttempts: 5,
  /** What an operator may say of an MCP; routing_service.proto. */
  routingPriorityMax: 9,
  routingWeightMax: 10_000,
  /** Greatest cost of one request that an operator may set: a typing error is found, and sums of costs stay exact enough. */
  routingCostMax: 1_000_000_000,
  routingConcurrentMax: 10_000,
  /** Policies asked along without effect: each costs as much as a decision. */
  shadowPoliciesMax: 4,
  /** MCPs that a request may exclude: those that were tried already. */
  excludedMcpMax: 64,
  /** Capabilities that a request may ask for. */
  capabilityMaxCount: 32,
  /** Decisions waiting to be logged: 20 s at 1 000 a second, some 20 MiB without candidates. */
  decisionBufferMax: 20_000,
  /** Candidates of decisions waiting to be logged, over all of them: some 30 MiB. */
  candidateBufferMax: 50_000,
  /** Ends and starts of decisions waiting to be logged. */
  outcomeBufferMax: 40_000,
  /** Decisions, or their ends, stored in one statement; and candidates in it, some 4 MiB of JSON. */
  decisionBatchMax: 500,
  candidateBatchMax: 8_000,
  /** How often decisions are stored: at most once in this time. */
  decisionFlushMs: 1_000,
  /** Of decisions that are no explorations, one in so many keeps its candidates. */
  decisionSampleEvery: 10,
  /** Latest decisions kept in memory with all their candidates, for explaining what just happened. */
  recentDecisionsMax: 500,
  /** Decisions made here of which it is remembered for whom, to judge a release or a start event: 15 MiB. */
  madeDecisionsMax: 100_000,
  /** Decisions read in one statement for a page: with a thousand candidates each some 12 MiB. */
  decisionChunkMax: 25,
  /** Bytes of one page of decisions: half of frameMaxBytes. */
  decisionPageMaxBytes: 2 * 1024 * 1024,
  /** Registrations that have not ended: each coordinator keeps all of them in memory, about 2 KiB each. */
  registrationsMax: 10_000,
  /** Longest name of an MCP: with "_NNN" it stays well below idMaxBytes. Unit: bytes. */
  mcpNameMaxBytes: 128,
  /** Capabilities, and formats, of one registration. */
  mcpTagMaxCount: 64,
  /** Longest URL of an endpoint. Unit: bytes. */
  endpointMaxBytes: 2_048,
  /** Most signs of life in a row that a lease has to show before it is alive again: two minutes at the usual pace. */
  leaseNeededBeatsMax: 8,
  /** Signs of life in a row after which a lease that has flapped needs half as many. */
  leaseCalmBeats: 20,
  /** How often each coordinator looks for changes that others made to the registry, and how late a revoked key may still pass. */
  registryPollMs: 500,
  /** Longest text of a report in the shared table that is read: JSON takes up to four times what the event does as Protocol Buffers. Unit: bytes. */
  tableReportMaxBytes: 1024 * 1024,
  /** Bytes of reports taken from the shared table in one transaction: what a drain may hold in memory, a few times over. */
  tableBatchMaxBytes: 4 * 1024 * 1024,
  /** How much of a refused row of the shared table is kept, so that a row of a gigabyte can be set aside at all. Unit: characters. */
  tableAsideMaxChars: 4 * 1024 * 1024,
  /** Rows of the shared table that are counted exactly; above it, that there are as many is what is known. */
  tableDepthMaxCount: 100_000,
  /** A pass over the shared table begins again at its oldest row after this time, however much is left: ids may be committed in another order. */
  tablePassMaxMs: 60_000,
  /** Events that our client's database transport holds: four statements of them. */
  databaseQueueMax: 2_000,
  /** Events in one INSERT of it: a second's worth of a busy MCP. */
  databaseBatchMax: 500,
  /** Characters of JSON in one INSERT of it: what one transaction on the other side takes out. */
  databaseBatchMaxChars: 4 * 1024 * 1024,
  /** How often leases are renewed and judged. */
  leaseTickMs: 1_000,
  /** Leases renewed, and registrations made by Hello, in one transaction. */
  leaseBatchMax: 500,
  /** An MCP whose last stream here has ended may come back, here or elsewhere, before it is suspect: the spread of reconnects, twice. */
  leaseLostGraceMs: 10_000,
  /** Watchers of registrations per process. */
  mcpWatchersMax: 1_000,
  /** Watchers of the routing table per process: gateways and operators. Whoever has a session gets the table there. */
  routeWatchersMax: 1_000,
  /** Registrations in one message of a watch: far below frameMaxBytes. */
  watchMcpsPerMessage: 100,
  /** Answers about configurations, and entries of history, shown of one MCP. */
  mcpStandingMaxCount: 100,
  /** Answers about configurations that wait to be stored: one per session that a process may hold. */
  mcpConfigAckBufferMax: 10_000,
  /** Checks of health endpoints that run at once. */
  healthChecksAtOnce: 16,
  /** Bytes of an answer to a health check that are read; its status is what counts. */
  healthBodyMaxBytes: 64 * 1024,
  /** Redirects that a health check follows, all on the host that was registered. */
  healthRedirectsMax: 3,
  /** Failed checks in a row that make an MCP unhealthy, and passed ones that make it healthy again. */
  healthFallCount: 3,
  healthRiseCount: 2,
  /** Largest configuration file: a thousand times the documented one, or some ten thousand keys. Unit: bytes. */
  configFileMaxBytes: 1024 * 1024,
  /** How often a configuration file is looked at, and how long it must have stood still to be read: an editor, or a copy over the network, writes it in pieces. */
  configLookMs: 1_000,
  configSettleMs: 2_000,
  /** Faults, and warnings, of a configuration that are told one by one: more than anybody corrects before the next look. */
  configRemarksMax: 100,
  ...redisLimits,
  ...reporterLimits,
  ...routerLimits,
} as const;
