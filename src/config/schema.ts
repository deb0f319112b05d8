import { z } from "zod";
import { limits } from "../platform/limits.js";
import { parseRange } from "../platform/semver.js";
import { redis } from "./redis-section.js";
import { headerText, onOff, ratio, settingNotes, tableOf, text, whole } from "./rules.js";
import { escapeHint, isPostgresUrl } from "./url-rules.js";

const day = "days";

/** An API key as the coordinator keeps it: the key itself is not in it. */
const staticKey = z.strictObject({
  /** Stable public name; safe to log. */
  id: z.string(),
  /** The MCP that it may act for, or "*" for any. */
  mcpId: z.string(),
  /** SHA-256 of the key, 64 lower-case hex digits. */
  sha256: z.string().regex(/^[0-9a-f]{64}$/),
  /** Milliseconds since the Unix epoch; absent means never. */
  expiresAtMs: z.number().optional(),
  isDisabled: z.boolean(),
});

export type StaticKey = Readonly<z.output<typeof staticKey>>;

const server = z.strictObject({
  host: text("a host name or IP address").transform(withoutBrackets).default("127.0.0.1").register(settingNotes, {
    doc: "Address that both ports listen on. Anything but loopback needs keys, or `allow_insecure_bind`",
    reason: "nobody else can reach a coordinator that has no keys",
    flag: "--host",
  }),
  grpcPort: whole(0, 65_535).default(50_051).register(settingNotes, {
    doc: "Port of gRPC: streams, reports, reflection, health. 0 takes any free port",
    reason: "the customary port of gRPC examples, so that the grpcurl lines of the manuals work",
    flag: "--grpc-port",
  }),
  webPort: whole(0, 65_535).default(8080).register(settingNotes, {
    doc: "Port of HTTP: Connect JSON, gRPC-Web and `/health`. 0 takes any free port",
    reason: "the port that the specification names",
    flag: "--web-port",
  }),
  maxConnections: whole(1, 1_000_000).default(20_000).register(settingNotes, {
    doc: "Connections that the gRPC port takes; one more is closed at once, and its client tries again. Each takes a file descriptor: `ulimit -n` must allow them",
    reason: "a connection for each of 10,000 sessions, and as many again for gateways and operators",
  }),
  allowInsecureBind: onOff().default(false).register(settingNotes, {
    doc: "Listen beyond loopback although no keys are configured: anyone who reaches the port may report for every MCP",
    reason: "an open coordinator must be somebody's decision",
    flag: "--insecure-bind",
  }),
  coordinatorId: headerText().default("coordinator").register(settingNotes, {
    doc: "Name of this process among its peers, in logs, sessions, fencing and headers, and so printable ASCII",
    reason: "unique without being told, and says where to look",
    defaultText: "host name, process id and six random digits",
  }),
  drainSeconds: whole(1, 600).default(20).register(settingNotes, {
    doc: "Longest time from SIGTERM to exit: streams are told, acks are flushed, then connections are closed",
    reason: "fits into the 30 s that Kubernetes grants by default",
    unit: "seconds",
  }),
  watchConfig: onOff().default(true).register(settingNotes, {
    doc: "Read the configuration file again when it has changed, and take over what can be taken over while running",
    reason: "who changes the file means it; a faulty one changes nothing",
  }),
});

const store = z.strictObject({
  databaseUrl: z
    .string({ error: postgresUrlRule() })
    .regex(/^postgres(ql)?:\/\/\S+$/, postgresUrlRule())
    .refine(isPostgresUrl, `must look like postgres://user:password@host:5432/database, ${escapeHint}`)
    .optional()
    .register(settingNotes, {
      doc: "Postgres 14 or newer. Without it the embedded store in `data_dir` is used",
      reason: "one command must be enough to try the coordinator",
      flag: "--database-url",
      isSecret: true,
    }),
  dataDir: text("a path").default("./data").register(settingNotes, {
    doc: "Directory of the embedded store; made with mode 0700 when missing. Not used with `database_url`",
    reason: "beside the process, where a volume is easily mounted",
    flag: "--data-dir",
  }),
  retentionDays: whole(1, 3_650).default(30).register(settingNotes, {
    doc: "Events and interactions older than this are dropped: events a day at a time, interactions in small batches",
    reason: "a month answers most questions asked afterwards; at 100 events/s it is about 260 million rows",
    unit: day,
  }),
  dedupeHorizonDays: whole(1, 365).default(7).register(settingNotes, {
    doc: "How old an event may be and still be accepted; within it a repeated event is recognised. At most `retention_days`",
    reason: "a client that was cut off over a week-end and a holiday still delivers",
    unit: day,
  }),
  maxRecords: whole(1_000, 1_000_000_000).default(1_000_000).register(settingNotes, {
    doc: "Interactions kept; maintenance deletes the oldest above it",
    reason: "the figure of the sample configuration of the specification",
    unit: "interactions",
  }),
  maintenanceIntervalSeconds: whole(10, 86_400).default(3_600).register(settingNotes, {
    doc: "How often partitions are made ahead and dropped behind",
    reason: "the figure of the sample configuration of the specification; partitions are made a week ahead, so missing a run is harmless",
    unit: "seconds",
  }),
});

const ingest = z.strictObject({
  maxClockSkewSeconds: whole(1, 86_400).default(600).register(settingNotes, {
    doc: "How far ahead of the coordinator's clock an event may claim to be; beyond it the verdict is CLOCK_SKEW",
    reason: "ten minutes passes every machine with a time service and stops a wrong time zone",
    unit: "seconds",
  }),
});

const session = z.strictObject({
  heartbeatIntervalSeconds: whole(1, 3_600).default(15).register(settingNotes, {
    doc: "How often a client that promised heartbeats sends one; it is taken for dead after three missed. Taken over while running",
    reason: "a dead MCP is found in 45 s, and 10 000 idle sessions cost some 700 small frames a second",
    unit: "seconds",
  }),
  maxAgeSeconds: whole(10, 2_592_000).default(3_600).register(settingNotes, {
    doc: "Sessions are drained in good order before they get older, each up to a tenth earlier. Taken over while running",
    reason: "connections spread over coordinators again within the hour after one was added",
    unit: "seconds",
  }),
  maxBatchEvents: whole(1, limits.batchMaxEvents).default(limits.batchMaxEvents).register(settingNotes, {
    doc: "Most events that clients are asked to put into one frame. Taken over while running",
    reason: "a frame of ordinary events then stays below 1 MiB",
    unit: "events",
  }),
  maxPerKey: whole(1, 1_000_000).default(2_000).register(settingNotes, {
    doc: "Sessions of one key on this coordinator; one more is refused with KEY_SESSIONS_EXHAUSTED",
    reason: "a fleet behind one key fits, and cannot take a fifth of what a coordinator holds",
    unit: "sessions",
  }),
  maxSessions: whole(1, 1_000_000).default(limits.sessionsMax).register(settingNotes, {
    doc: "Sessions on this coordinator; one more is refused with SESSIONS_EXHAUSTED",
    reason: "about 60 KiB each",
    unit: "sessions",
  }),
});

const http = z.strictObject({
  requestsPerMinute: whole(0, 100_000_000).default(0).register(settingNotes, {
    doc: "Requests to the HTTP API that each key, or each address without one, may make; one more is refused with 429 and RATE_EXCEEDED. 0 sets no bound",
    reason: "a reporter of the reporter guide alone makes up to 600; the 100 of the specification's API guide would lose most of them",
    unit: "requests per minute",
  }),
  requestBurst: whole(1, 1_000_000).default(20).register(settingNotes, {
    doc: "How many of them may come at once",
    reason: "the figure of the specification's API guide",
    unit: "requests",
  }),
});

/** Most request types with an objective: a quarter of the classes and types that have signals of their own (`signalClassesMax`). */
const objectivesMax = 256;

const routing = z.strictObject({
  weightPolicy: z
    .enum(["quality-tail-load/1", "a58-wrr/1"], { error: 'must be "quality-tail-load/1" or "a58-wrr/1"' })
    .default("quality-tail-load/1")
    .register(settingNotes, {
      doc: "The rule that makes the published weights. Taken over while running: shares then move from where they are",
      reason: "counts capacity, latency and its tail, errors, quality and health; the other one is gRFC A58 as everybody knows it",
    }),
  blackoutPeriodMs: whole(0, 3_600_000).default(10_000).register(settingNotes, {
    doc: "An MCP that has just appeared gets the mean weight for this long, until its own figures count",
    reason: "default of gRFC A58",
    unit: "milliseconds",
  }),
  weightExpirationPeriodMs: whole(1_000, 86_400_000).default(180_000).register(settingNotes, {
    doc: "An MCP that has been silent for this long loses its own weight and gets the mean",
    reason: "default of gRFC A58",
    unit: "milliseconds",
  }),
  weightUpdatePeriodMs: whole(100, 3_600_000).default(1_000).register(settingNotes, {
    doc: "How often weights are computed",
    reason: "default of gRFC A58, which also sets the floor of 100 ms",
    unit: "milliseconds",
  }),
  errorUtilizationPenalty: ratio(0, 100).default(1).register(settingNotes, {
    doc: "How much a share of failed interactions counts as load: weight = rate / (utilization + errors / rate × this)",
    reason: "default of gRFC A58",
    unit: "factor",
  }),
  maxConcurrentDefault: whole(1, 100_000).default(10).register(settingNotes, {
    doc: "Interactions that an MCP is taken to serve at once; its utilization is measured against it",
    reason: "`max_concurrent_requests` of the specification's registration documents",
    unit: "interactions",
  }),
  objectives: tableOf("a request type", whole(1, limits.leaseMaxMs), objectivesMax)
    .default({})
    .register(settingNotes, {
      doc: `Latency objectives, a table \`[routing.objectives]\` of its own; see below. At most ${objectivesMax} request types, each with 1 to ${limits.leaseMaxMs}. From the file only. Taken over while running`,
      reason: "a type without one is judged by what is usual: its 90th percentile",
      unit: "milliseconds",
    }),
});

const registry = z.strictObject({
  heartbeatIntervalSeconds: whole(1, 3_600).default(30).register(settingNotes, {
    doc: "`heartbeat_interval` of a new registration; UpdateMcpConfig changes it for one MCP",
    reason: "the figure of the specification's registration documents",
    unit: "seconds",
  }),
  dataReportIntervalSeconds: whole(1, 3_600).default(10).register(settingNotes, {
    doc: "`data_report_interval` of a new registration; UpdateMcpConfig changes it for one MCP",
    reason: "the figure of the specification's registration documents",
    unit: "seconds",
  }),
  suspectMisses: whole(1, 100).default(2).register(settingNotes, {
    doc: "A lease is SUSPECT when so many heartbeats have been missed",
    reason: "one loss is noise",
    unit: "heartbeats",
  }),
  deadMisses: whole(2, 1_000).default(4).register(settingNotes, {
    doc: "A lease is DEAD when so many heartbeats have been missed; more than `suspect_misses` to have an effect of its own",
    reason: "two minutes at the usual interval: longer than a restart",
    unit: "heartbeats",
  }),
  priority: whole(0, 9).default(1).register(settingNotes, {
    doc: "`priority` of a new registration: tiers, 0 is served first",
    reason: "the figure of the specification's registration documents",
    unit: "tier",
  }),
  weight: whole(0, 10_000).default(100).register(settingNotes, {
    doc: "`weight` of a new registration",
    reason: "the figure of the specification's registration documents",
    unit: "parts",
  }),
  interactionLogEndpoint: z
    .string({ error: "must be a URL" })
    .max(2_048, "must be at most 2,048 characters")
    .default("")
    .register(settingNotes, {
      doc: "`interaction_log_endpoint` that registrations are told, where the web port is not reached under its own name",
      reason: "behind a proxy only the operator knows it",
      defaultText: "the web port's own URL of `/api/v2/interactions`",
    }),
  acceptedVersions: z
    .string({ error: rangeRule() })
    .max(limits.idMaxBytes, rangeRule())
    .refine((text) => parseRange(text) !== undefined, rangeRule())
    .default("")
    .register(settingNotes, {
      doc: "Range of semantic versions that MCPs may have, in RegisterMcp and in Hello: `^1.2.0`, `1.x`, `>=3.0.0 <4.0.0`, or several with two bars between them. Empty accepts all",
      reason: "nobody is turned away before somebody has decided so",
    }),
  upgradeHint: z.string({ error: "must be a text" }).max(512, "must be at most 512 characters").default("").register(settingNotes, {
    doc: "What an MCP with another version is told to do",
    reason: "absent means: run a version in the range",
  }),
  issueKeys: onOff().default(false).register(settingNotes, {
    doc: "Give each MCP that registers an API key of its own, shown once. Has an effect only where `[[auth.keys]]` are asked for at all",
    reason: "handing out credentials must be somebody's decision",
  }),
  healthCheckIntervalSeconds: whole(1, 3_600).default(15).register(settingNotes, {
    doc: "How often a registered health endpoint is asked, each time up to a quarter earlier or later",
    reason: "three failures in a row are seen within a minute",
    unit: "seconds",
  }),
  healthCheckTimeoutMs: whole(100, 60_000).default(2_000).register(settingNotes, {
    doc: "A health check that takes longer has failed",
    reason: "an MCP that needs two seconds to say that it is well is not",
    unit: "milliseconds",
  }),
  healthCheckAddresses: z
    .enum(["none", "public", "private", "any"], { error: 'must be "none", "public", "private" or "any"' })
    .default("private")
    .register(settingNotes, {
      doc: "Which addresses health checks may connect to: none at all, public ones, those and private networks, or any. Loopback and link-local are in `any` only",
      reason: "MCPs live in private networks; a coordinator must not be made to ask its own host or a cloud's metadata address",
    }),
});

const sharedTable = z.strictObject({
  enabled: onOff().default(true).register(settingNotes, {
    doc: "Take reports that producers insert into the table `interaction_logs` of `database_url`. Has no effect on the embedded store, which only this process reaches",
    reason: "an empty table costs two small statements every `interval_ms`; only roles that were granted INSERT can fill it",
  }),
  intervalMs: whole(100, 3_600_000).default(5_000).register(settingNotes, {
    doc: "How often the table is looked at. After a full batch the next is taken at once",
    reason: "the figure of the specification",
    unit: "milliseconds",
  }),
  batch: whole(1, 1_000).default(1_000).register(settingNotes, {
    doc: "Most rows taken in one transaction",
    reason: "the figure of the specification; half of what a commit holds at most",
    unit: "rows",
  }),
});

const auth = z.strictObject({
  keys: z.array(staticKey).default([]).register(settingNotes, {
    doc: "Static API keys, one `[[auth.keys]]` table each; see below. Without any, callers are not asked who they are. Taken over while running: sessions whose key is gone end",
    reason: "a coordinator on loopback needs no keys",
  }),
});

const security = z.strictObject({
  pseudonymKey: z.string({ error: secretRule() }).min(32, secretRule()).max(1_024, secretRule()).optional().register(settingNotes, {
    doc: "Secret under which user ids become pseudonyms: 64 hex digits are the key itself, any other text is stretched into one. From file or environment only",
    reason: "absent means a random key made once per database; set it to keep pseudonyms equal over several databases",
    isSecret: true,
  }),
  allowSampleSecrets: onOff().default(false).register(settingNotes, {
    doc: "Accept the keys and the secret that stand in published documents, for trying out; they never count as keys for `host`",
    reason: "everybody knows them",
    flag: "--allow-sample-secrets",
  }),
});

/** Python's level names are understood too, in either case. */
const logLevels = ["trace", "debug", "info", "warn", "error", "fatal", "silent"] as const;
const pythonLevels: Readonly<Record<string, string>> = { warning: "warn", critical: "fatal", notset: "trace" };
const levelRule = `must be one of ${logLevels.join(", ")}`;

const logging = z.strictObject({
  level: z
    .string({ error: levelRule })
    .transform((level) => pythonLevels[level.toLowerCase()] ?? level.toLowerCase())
    .pipe(z.enum(logLevels, { error: levelRule }))
    .default("info")
    .register(settingNotes, {
      doc: `Least important line that is logged: ${logLevels.join(", ")}`,
      reason: "one line per session and per publication, none per event",
      flag: "--log-level",
    }),
});

const extensions = z.strictObject({
  interactionLogging: onOff().default(true).register(settingNotes, {
    doc: "Serve InteractionService: streams, reports, verification",
    reason: "it is what the coordinator is for",
  }),
  routing: onOff()
    .default(true)
    .register(settingNotes, { doc: "Compute routing weights and publish them", reason: "costs nothing while no events come" }),
  registry: onOff().default(true).register(settingNotes, {
    doc: "Serve RegistryService and keep leases",
    reason: "costs a few small statements a minute while nobody registers",
  }),
  web: onOff().default(true).register(settingNotes, { doc: "Open the web port", reason: "probes and dashboards expect it" }),
});

/** The groups, in the order of the documentation. A key here is a TOML table, camelCase turned into snake_case. */
export const sections = {
  server,
  store,
  ingest,
  redis,
  session,
  http,
  routing,
  registry,
  sharedTable,
  auth,
  security,
  logging,
  extensions,
} as const;

/** The one schema of the configuration: types, defaults, checks and documentation all come from it. */
export const configSchema = z.strictObject(sections);

type DeepReadonly<T> = T extends readonly (infer Item)[]
  ? readonly DeepReadonly<Item>[]
  : T extends object
    ? { readonly [Key in keyof T]: DeepReadonly<T[Key]> }
    : T;

/** Complete and checked. Made by load.ts only. */
export type Config = DeepReadonly<z.output<typeof configSchema>>;

/** "[::1]", as it stands in URLs, is "::1" to the system. */
function withoutBrackets(host: string): string {
  return /^\[.*\]$/.test(host) ? host.slice(1, -1) : host;
}

function postgresUrlRule(): string {
  return "must be a URL that begins with postgres:// or postgresql://";
}

function rangeRule(): string {
  return 'must be a range of versions, for example "^1.2.0 || 3.x", or empty';
}

function secretRule(): string {
  return "must be 64 hex digits, or a text of at least 32 characters";
}
