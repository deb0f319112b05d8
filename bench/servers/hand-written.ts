/**
 * What somebody would write in an afternoon instead of this project: a grpc-js server that decodes events with protobuf-es and answers one EventAck
 * each. Three ways to store: not at all (echo), one INSERT per event, or one multi-row INSERT per micro-batch. No dedupe semantics beyond the primary
 * key, no merge, no fencing, no bounds, no back-pressure: the least that can be called a server.
 */
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { Server, ServerCredentials, type ServerDuplexStream } from "@grpc/grpc-js";
import postgres from "postgres";
import { EventAckSchema, EventStatus, type InteractionEvent } from "../../gen/mcp/coordinator/v1/events_pb.js";
import {
  type StreamInteractionsRequest,
  StreamInteractionsRequestSchema,
  type StreamInteractionsResponse,
  StreamInteractionsResponseSchema,
} from "../../gen/mcp/coordinator/v1/interaction_service_pb.js";

type Stream = ServerDuplexStream<StreamInteractionsRequest, StreamInteractionsResponse>;
type Stored = { readonly event: InteractionEvent; readonly stream: Stream };
type Take = (stored: Stored) => void;

const [mode, port, databaseUrl] = process.argv.slice(2);
/** Rows of one multi-row insert; the same as ours. */
const batchMaxEvents = 500;

const server = new Server({ "grpc.enable_channelz": 0, "grpc.max_receive_message_length": 4 << 20 });
const take = await openStore();
server.addService(
  {
    streamInteractions: {
      path: "/mcp.coordinator.v1.InteractionService/StreamInteractions",
      requestStream: true,
      responseStream: true,
      requestSerialize: (value: StreamInteractionsRequest) => Buffer.from(toBinary(StreamInteractionsRequestSchema, value)),
      requestDeserialize: (bytes: Buffer) => fromBinary(StreamInteractionsRequestSchema, bytes),
      responseSerialize: encodeResponse,
      responseDeserialize: (bytes: Buffer) => fromBinary(StreamInteractionsResponseSchema, bytes),
    },
  },
  { streamInteractions: serve },
);
// An orderly end, so that --cpu-prof writes its file.
process.once("SIGTERM", () => process.exit(0));
server.bindAsync(`127.0.0.1:${port}`, ServerCredentials.createInsecure(), (error) => {
  if (error !== null) throw error;
  process.send?.("ready");
});

function encodeResponse(value: StreamInteractionsResponse): Buffer {
  const bytes = toBinary(StreamInteractionsResponseSchema, value);
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function serve(stream: Stream): void {
  stream.on("error", () => undefined);
  stream.on("end", () => stream.end());
  stream.on("data", ({ frame }: StreamInteractionsRequest) => {
    if (frame.case === "event") take({ event: frame.value, stream });
    else if (frame.case === "eventBatch") for (const event of frame.value.events) take({ event, stream });
    else if (frame.case === "hello") stream.write(create(StreamInteractionsResponseSchema, { frame: { case: "welcome", value: {} } }));
  });
}

function acknowledge({ event, stream }: Stored): void {
  const value = create(EventAckSchema, {
    eventId: event.eventId,
    sequence: event.sequence,
    interactionId: event.interactionId,
    status: EventStatus.STORED,
  });
  stream.write(create(StreamInteractionsResponseSchema, { frame: { case: "eventAck", value } }));
}

async function openStore(): Promise<Take> {
  if (mode === "echo") return acknowledge;
  if (databaseUrl === undefined) throw new Error(`${mode} needs a database`);
  const sql = postgres(databaseUrl, { max: mode === "single-insert" ? 20 : 2, onnotice: () => undefined });
  await sql`
    CREATE TABLE event (
      event_id uuid PRIMARY KEY, mcp_id text NOT NULL, interaction_id text NOT NULL, sequence bigint NOT NULL,
      kind text NOT NULL, occurred_at timestamptz NOT NULL, body jsonb NOT NULL, raw bytea
    )`;
  return mode === "single-insert" ? insertEach(sql) : insertBatches(sql);
}

function rowOf(event: InteractionEvent) {
  const { seconds, nanos } = event.occurredAt ?? { seconds: 0n, nanos: 0 };
  const payload = event.detail.case === "start" ? event.detail.value.request : undefined;
  return {
    id: event.eventId,
    sequence: String(event.sequence),
    kind: event.detail.case ?? "none",
    occurredAt: new Date(Number(seconds) * 1000 + nanos / 1e6).toISOString(),
    body: bodyOf(event),
    // As hex text: postgres.js has no array of bytea.
    raw: payload?.body.case === "raw" ? Buffer.from(payload.body.value).toString("hex") : null,
  };
}

function bodyOf(event: InteractionEvent): string {
  const { detail } = event;
  if (detail.case === "start")
    return JSON.stringify({ requestType: detail.value.requestType, userId: detail.value.userId, sessionId: event.sessionId });
  if (detail.case === "complete")
    return JSON.stringify({ seconds: Number(detail.value.processingTime?.seconds), nanos: detail.value.processingTime?.nanos });
  return "{}";
}

function insertEach(sql: postgres.Sql): Take {
  const insert = async (stored: Stored) => {
    const { event } = stored;
    const row = rowOf(event);
    await sql`
      INSERT INTO event VALUES (${row.id}, ${event.mcpId}, ${event.interactionId}, ${row.sequence}, ${row.kind}, ${row.occurredAt}, ${row.body}::text::jsonb, decode(${row.raw}, 'hex'))
      ON CONFLICT DO NOTHING`;
    acknowledge(stored);
  };
  return (stored) => void insert(stored).catch(stop);
}

/** Two lanes; in each, the next batch forms while one commits. */
function insertBatches(sql: postgres.Sql): Take {
  const queue: Stored[] = [];
  let free = 2;
  const next = () => {
    while (free > 0 && queue.length > 0) {
      free--;
      void commit(queue.splice(0, batchMaxEvents)).catch(stop);
    }
  };
  const commit = async (batch: readonly Stored[]) => {
    const rows = batch.map(({ event }) => rowOf(event));
    await sql`
      INSERT INTO event SELECT event_id, mcp_id, interaction_id, sequence, kind, occurred_at, body, decode(raw, 'hex') FROM unnest(
        ${rows.map((row) => row.id)}::uuid[], ${batch.map(({ event }) => event.mcpId)}::text[], ${batch.map(({ event }) => event.interactionId)}::text[],
        ${rows.map((row) => row.sequence)}::bigint[], ${rows.map((row) => row.kind)}::text[], ${rows.map((row) => row.occurredAt)}::timestamptz[],
        ${rows.map((row) => row.body)}::text[]::jsonb[], ${rows.map((row) => row.raw)}::text[])
        AS row (event_id, mcp_id, interaction_id, sequence, kind, occurred_at, body, raw)
      ON CONFLICT DO NOTHING`;
    for (const stored of batch) acknowledge(stored);
    free++;
    next();
  };
  let isScheduled = false;
  return (stored) => {
    queue.push(stored);
    if (isScheduled) return;
    isScheduled = true;
    setImmediate(() => {
      isScheduled = false;
      next();
    });
  };
}

function stop(cause: unknown): never {
  throw new Error("the hand-written server cannot store", { cause });
}
