import {
  bigint,
  boolean,
  customType,
  doublePrecision,
  integer,
  jsonb,
  pgTable,
  primaryKey,
  smallint,
  text,
  uuid,
} from "drizzle-orm/pg-core";
import type { EventKind, InteractionState, Source } from "../interaction/event.js";
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
export const ackStatusNumbers = { received: 1, applied: 2, rejected: 3, expired: 4 } as const satisfies Record<RoutingAckStatus, number>;
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

/** The last ack of each producer. */
export const routingAckTable = pgTable("routing_ack", {
  producerId: text("producer_id").primaryKey(),
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
});

/** Every ack, until retention. */
const routingAckLogTable = pgTable("routing_ack_log", {
  id: bigint("id", { mode: "number" }).primaryKey().generatedAlwaysAsIdentity(),
  producerId: text("producer_id").notNull(),
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
});

const instanceSettingTable = pgTable("instance_setting", {
  key: text("key").primaryKey(),
  value: text("value").notNull(),
});

/** Every table, for the test that compares them with a real database. */
export const tables = [
  producerTable,
  eventTable,
  interactionTable,
  deadLetterTable,
  routingHeadTable,
  routingVersionTable,
  routingAckTable,
  routingAckLogTable,
  instanceSettingTable,
] as const;
