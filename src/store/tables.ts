import {
  bigint,
  boolean,
  customType,
  doublePrecision,
  integer,
  json,
  jsonb,
  pgTable,
  primaryKey,
  smallint,
  text,
  uuid,
} from "drizzle-orm/pg-core";
import type { EventKind, InteractionState, Source } from "../interaction/event.js";
import type { DecisionRegime, DecisionState } from "./decision-row.js";
import type { Health, LeaseState, RegistrationSource } from "./registry-rows.js";
import type { RoutingAckStatus, RoutingRejectionName } from "./store.js";
import { microsOfTimestamp, timestampOfMicros } from "./timestamps.js";

// The columns as Drizzle reads them. Partitions, collations and storage parameters are in migrations/; a test compares both.

/** timestamptz as microseconds since the Unix epoch. */
const micros = customType<{ data: number; driverData: string }>({
  dataType: () => "timestamp with time zone",
  fromDriver: microsOfTimestamp,
  toDriver: timestampOfMicros,
});

const bytes = customType<{ data: Uint8Array; driverData: Buffer }>({ dataType: () => "bytea" });

/** What the small numbers in the tables mean. Numbers are never reused. */
export const kindNumbers = { start: 1, progress: 2, complete: 3, error: 4 } as const satisfies Record<EventKind, number>;
export const sourceNumbers = { grpc: 1, http: 2, redis: 3, table: 4 } as const satisfies Record<Source, number>;
export const stateNumbers = { started: 1, running: 2, completed: 3, failed: 4 } as const satisfies Record<InteractionState, number>;
export const leaseStateNumbers = { alive: 1, suspect: 2, dead: 3, deregistered: 4 } as const satisfies Record<LeaseState, number>;
export const healthNumbers = { unknown: 1, healthy: 2, unhealthy: 3 } as const satisfies Record<Health, number>;
export const registrationSourceNumbers = { register: 1, hello: 2 } as const satisfies Record<RegistrationSource, number>;
export const ackStatusNumbers = { received: 1, applied: 2, rejected: 3, expired: 4 } as const satisfies Record<RoutingAckStatus, number>;
export const regimeNumbers = { normal: 1, cold_start: 2, all_hot: 3, panic: 4, probe: 5 } as const satisfies Record<DecisionRegime, number>;
export const outcomeNumbers = { complete: 1, error: 2, censored: 3 } as const satisfies Record<DecisionState, number>;

export const rejectionNumbers = { content: 1, out_of_sync: 2, stale_epoch: 3 } as const satisfies Record<RoutingRejectionName, number>;

/** Fence and resume point, one row per producer. */
export const producerTable = pgTable("producer", {
  producerId: text("producer_id").primaryKey(),
  mcpId: text("mcp_id").notNull(),
  epoch: bigint("epoch", { mode: "number" }).notNull().default(1),
  resumeSequence: bigint("resume_sequence", { mode: "bigint" }).notNull().default(0n),
  sessionId: text("session_id").notNull().default(""),
  coordinatorId: text("coordinator_id").notNull().default(""),
  seenAt: micros("seen_at").notNull(),
});

/** The log: every committed event, partitioned by the day in its id. `digest` is 128 bits of a hash, as a uuid because that is 16 bytes flat. */
export const eventTable = pgTable(
  "interaction_event",
  {
    eventId: uuid("event_id").notNull(),
    mcpId: text("mcp_id").notNull(),
    interactionId: text("interaction_id").notNull(),
    producerId: text("producer_id").notNull().default(""),
    sequence: bigint("sequence", { mode: "bigint" }).notNull().default(0n),
    kind: smallint("kind").notNull(),
    source: smallint("source").notNull(),
    occurredAt: micros("occurred_at").notNull(),
    receivedAt: micros("received_at").notNull(),
    digest: uuid("digest").notNull(),
    body: jsonb("body").notNull(),
    raw: bytes("raw"),
  },
  (table) => [primaryKey({ columns: [table.eventId, table.mcpId] })],
);

/** Merged state, one row per interaction, kept by the append statement only. */
export const interactionTable = pgTable(
  "interaction",
  {
    mcpId: text("mcp_id").notNull(),
    interactionId: text("interaction_id").notNull(),
    state: smallint("state").notNull(),
    eventCount: integer("event_count").notNull(),
    hasConflict: boolean("has_conflict").notNull(),
    lastEventSlot: integer("last_event_slot").notNull(),
    lastEventAt: micros("last_event_at").notNull(),
    startedAt: micros("started_at"),
    endedAt: micros("ended_at"),
    createdAt: micros("created_at").notNull(),
    startEventId: uuid("start_event_id"),
    progressEventId: uuid("progress_event_id"),
    terminalEventId: uuid("terminal_event_id"),
    durationMs: doublePrecision("duration_ms"),
    qualityScore: doublePrecision("quality_score"),
    success: boolean("success"),
    requestType: text("request_type"),
    sessionId: text("session_id"),
    userPseudonym: text("user_pseudonym"),
    errorCode: text("error_code"),
    adapterUsed: text("adapter_used"),
  },
  (table) => [primaryKey({ columns: [table.mcpId, table.interactionId] })],
);

/** Events that the store refused, as they came. */
const deadLetterTable = pgTable("dead_letter", {
  id: bigint("id", { mode: "number" }).primaryKey().generatedAlwaysAsIdentity(),
  receivedAt: micros("received_at").notNull(),
  source: smallint("source").notNull(),
  mcpId: text("mcp_id").notNull(),
  eventId: text("event_id").notNull(),
  reason: text("reason").notNull(),
  frame: bytes("frame").notNull(),
});

/** Reports that producers have inserted and no coordinator has taken yet. */
const sharedTable = pgTable("interaction_logs", {
  id: bigint("id", { mode: "bigint" }).primaryKey().generatedAlwaysAsIdentity(),
  mcpId: text("mcp_id").notNull(),
  interactionId: text("interaction_id").notNull(),
  timestamp: micros("timestamp").notNull(),
  data: json("data").notNull(),
  processed: boolean("processed").notNull().default(false),
});

/** The fence of publishers: one row. */
const routingHeadTable = pgTable("routing_head", {
  singleton: boolean("singleton").primaryKey().default(true),
  term: bigint("term", { mode: "number" }).notNull(),
  version: bigint("version", { mode: "number" }).notNull(),
});

export const routingVersionTable = pgTable("routing_version", {
  version: bigint("version", { mode: "number" }).primaryKey(),
  term: bigint("term", { mode: "number" }).notNull(),
  digest: text("digest").notNull(),
  routes: jsonb("routes").notNull(),
  policyId: text("policy_id").notNull(),
  reason: text("reason").notNull(),
  publishedAt: micros("published_at").notNull(),
});

/** What an ack of a table says. */
const routingAckColumns = {
  mcpId: text("mcp_id").notNull(),
  status: smallint("status").notNull(),
  term: bigint("term", { mode: "number" }).notNull(),
  version: bigint("version", { mode: "number" }).notNull(),
  digest: text("digest").notNull(),
  detail: text("detail").notNull(),
  ackedAt: micros("acked_at").notNull(),
  answeredTerm: bigint("answered_term", { mode: "number" }).notNull().default(0),
  answeredVersion: bigint("answered_version", { mode: "number" }).notNull().default(0),
  answeredDigest: text("answered_digest").notNull().default(""),
  rejection: smallint("rejection"),
  verdicts: jsonb("verdicts").notNull().default([]),
  applyUs: bigint("apply_us", { mode: "number" }),
  ackDelayUs: bigint("ack_delay_us", { mode: "number" }),
};

/** The last ack of each producer. */
export const routingAckTable = pgTable("routing_ack", { producerId: text("producer_id").primaryKey(), ...routingAckColumns });

/** Every ack, until retention. */
const routingAckLogTable = pgTable("routing_ack_log", {
  id: bigint("id", { mode: "number" }).primaryKey().generatedAlwaysAsIdentity(),
  producerId: text("producer_id").notNull(),
  ...routingAckColumns,
});

/** What each coordinator tells the others of the MCPs whose streams it holds; worth nothing after seconds, so a crash of the server may empty it. */
export const routerDigestTable = pgTable("router_digest", {
  coordinatorId: text("coordinator_id").primaryKey(),
  runId: text("run_id").notNull(),
  seq: bigint("seq", { mode: "number" }).notNull(),
  format: smallint("format").notNull(),
  body: text("body").notNull(),
  writtenAt: micros("written_at").notNull(),
});

/** What each coordinator knew last, for whoever starts next. */
export const routerStateTable = pgTable("router_state", {
  coordinatorId: text("coordinator_id").primaryKey(),
  format: smallint("format").notNull(),
  body: text("body").notNull(),
  savedAt: micros("saved_at").notNull(),
});

/** The log of decisions, partitioned by the day in its id. */
export const decisionTable = pgTable("route_decision", {
  decisionId: uuid("decision_id").primaryKey(),
  decidedAt: micros("decided_at").notNull(),
  coordinatorId: text("coordinator_id").notNull(),
  keyId: text("key_id").notNull(),
  configVersion: bigint("config_version", { mode: "number" }).notNull(),
  weightsTerm: bigint("weights_term", { mode: "number" }).notNull(),
  weightsVersion: bigint("weights_version", { mode: "number" }).notNull(),
  policyId: text("policy_id").notNull(),
  policyHash: text("policy_hash").notNull(),
  requestClass: text("request_class").notNull(),
  features: jsonb("features").notNull(),
  chosen: text("chosen").notNull(),
  propensity: doublePrecision("propensity").notNull(),
  tierShare: doublePrecision("tier_share").notNull(),
  epsilon: doublePrecision("epsilon").notNull(),
  regime: smallint("regime").notNull(),
  isExploration: boolean("is_exploration").notNull(),
  seed: bigint("seed", { mode: "number" }).notNull(),
  isOpeEligible: boolean("is_ope_eligible").notNull(),
  leaseMs: doublePrecision("lease_ms").notNull(),
  candidates: jsonb("candidates"),
  keptShare: doublePrecision("kept_share").notNull(),
  shadow: jsonb("shadow").notNull(),
});

/** What became of decisions, by the MCP that says so. `state` is NULL while only the start is known. */
export const outcomeTable = pgTable(
  "route_outcome",
  {
    decisionId: uuid("decision_id").notNull(),
    mcpId: text("mcp_id").notNull(),
    interactionId: text("interaction_id").notNull(),
    state: smallint("state"),
    censoredBecause: text("censored_because").notNull(),
    isLate: boolean("is_late").notNull(),
    observedMs: doublePrecision("observed_ms"),
    durationMs: doublePrecision("duration_ms"),
    quality: doublePrecision("quality"),
    errorCode: text("error_code").notNull(),
    recordedAt: micros("recorded_at").notNull(),
    auditedQuality: doublePrecision("audited_quality"),
    auditor: text("auditor").notNull().default(""),
  },
  (table) => [primaryKey({ columns: [table.decisionId, table.mcpId] })],
);

/** What operators decided: one row. */
export const routingConfigTable = pgTable("routing_config", {
  singleton: boolean("singleton").primaryKey().default(true),
  version: bigint("version", { mode: "number" }).notNull(),
  document: jsonb("document").notNull(),
  changedAt: micros("changed_at"),
  changedBy: text("changed_by").notNull(),
});

/** Every change of it, for ever; a trigger refuses anything but inserts. */
export const routingConfigAuditTable = pgTable("routing_config_audit", {
  version: bigint("version", { mode: "number" }).primaryKey(),
  changedAt: micros("changed_at").notNull(),
  changedBy: text("changed_by").notNull(),
  coordinatorId: text("coordinator_id").notNull(),
  reason: text("reason").notNull(),
  changes: jsonb("changes").notNull(),
});

const instanceSettingTable = pgTable("instance_setting", {
  key: text("key").primaryKey(),
  value: text("value").notNull(),
});

/** The revision of the registry: one row. */
const registryHeadTable = pgTable("registry_head", {
  singleton: boolean("singleton").primaryKey().default(true),
  revision: bigint("revision", { mode: "number" }).notNull(),
  floor: bigint("floor", { mode: "number" }).notNull(),
});

/** The last number given out per name. */
const mcpCounterTable = pgTable("mcp_counter", {
  name: text("name").primaryKey(),
  last: bigint("last", { mode: "number" }).notNull(),
});

/** One row per registration, also of those that have ended, until retention. */
const mcpTable = pgTable("mcp", {
  mcpId: text("mcp_id").primaryKey(),
  name: text("name").notNull(),
  version: text("version").notNull(),
  instance: text("instance").notNull(),
  source: smallint("source").notNull(),
  profile: jsonb("profile").notNull(),
  config: jsonb("config").notNull(),
  configVersion: bigint("config_version", { mode: "number" }).notNull(),
  health: smallint("health").notNull(),
  keyId: text("key_id").notNull().default(""),
  keySha256: text("key_sha256").notNull().default(""),
  registeredAt: micros("registered_at").notNull(),
  changedAt: micros("changed_at").notNull(),
  revision: bigint("revision", { mode: "number" }).notNull(),
});

/** Signs of life, apart from the registration because they change all the time. */
const mcpLeaseTable = pgTable("mcp_lease", {
  mcpId: text("mcp_id").primaryKey(),
  state: smallint("state").notNull(),
  steadyBeats: integer("steady_beats").notNull(),
  neededBeats: integer("needed_beats").notNull(),
  beat: bigint("beat", { mode: "number" }).notNull().default(0),
  beatAt: micros("beat_at").notNull(),
  coordinatorId: text("coordinator_id").notNull(),
});

/** Every change of a registration, until retention. */
export const mcpHistoryTable = pgTable("mcp_history", {
  revision: bigint("revision", { mode: "number" }).primaryKey(),
  mcpId: text("mcp_id").notNull(),
  at: micros("at").notNull(),
  kind: text("kind").notNull(),
  detail: text("detail").notNull(),
});

/** What each producer last said about the configuration of its MCP. */
export const mcpConfigAckTable = pgTable(
  "mcp_config_ack",
  {
    mcpId: text("mcp_id").notNull(),
    producerId: text("producer_id").notNull(),
    version: bigint("version", { mode: "number" }).notNull(),
    status: smallint("status").notNull(),
    detail: text("detail").notNull(),
    ackedAt: micros("acked_at").notNull(),
  },
  (table) => [primaryKey({ columns: [table.mcpId, table.producerId] })],
);

/** Every table, for the test that compares them with a real database. */
export const tables = [
  producerTable,
  eventTable,
  interactionTable,
  deadLetterTable,
  sharedTable,
  routingHeadTable,
  routingVersionTable,
  routingAckTable,
  routingAckLogTable,
  routerDigestTable,
  routerStateTable,
  decisionTable,
  outcomeTable,
  routingConfigTable,
  routingConfigAuditTable,
  instanceSettingTable,
  registryHeadTable,
  mcpCounterTable,
  mcpTable,
  mcpLeaseTable,
  mcpHistoryTable,
  mcpConfigAckTable,
] as const;
