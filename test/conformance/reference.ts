/**
 * The TypeScript client under the contract of docs/conformance.md: StreamSession, with a ledger, and HTTP in place of gRPC while that cannot be reached.
 * An event that goes both ways has one id and is stored once.
 */
import { createInterface } from "node:readline";
import { parseArgs } from "node:util";
import { create, fromJsonString, toJsonString } from "@bufbuild/protobuf";
import { type EventAck, EventStatus, InteractionEventSchema } from "../../gen/mcp/coordinator/v1/events_pb.js";
import {
  InteractionService,
  ReportInteractionsRequestSchema,
  ReportInteractionsResponseSchema,
} from "../../gen/mcp/coordinator/v1/interaction_service_pb.js";
import { openLedgerFile } from "../../src/client/ledger-file.js";
import { createStreamSession } from "../../src/client/stream-session.js";
import { decodeEvent, encodeEvent } from "../../src/client/wire/frames.js";

const flags = {
  target: text(),
  web: text(),
  "mcp-id": text(),
  "producer-id": text(),
  ledger: text(),
  "no-http": { type: "boolean", default: false },
} as const;
const {
  target,
  web,
  "mcp-id": mcpId,
  "producer-id": producerId,
  ledger: path,
  "no-http": isGrpcOnly,
} = parseArgs({ options: flags }).values;
const key = process.env.MCPC_KEY;
/** So long without a session, and events go over HTTP. */
const patienceMs = 2_000;
const lookEveryMs = 500;
const postMaxEvents = 100;

using ledger = openLedgerFile(path);
/** Encoded events without a verdict, by id. */
const held = new Map<string, Uint8Array>();
/** Answered over HTTP. The session sends them again, and gets DUPLICATE. */
let isPosting = false;
/** When a session was last known to be up. */
let upAtMs = performance.now();

await using session = createStreamSession({
  ...{ endpoint: { target, key }, mcpId, producerId, batchEvents: 64 },
  onSettled: (settled) => {
    held.delete(settled.eventId);
    ledger.settled(settled);
  },
  onState: ({ kind }) => {
    if (kind === "active" || kind === "draining") upAtMs = performance.now();
  },
});

const look = setInterval(() => {
  if (session.state.kind === "active") upAtMs = performance.now();
  if (!isGrpcOnly && performance.now() - upAtMs >= patienceMs) void post();
}, lookEveryMs);

for await (const line of createInterface({ input: process.stdin })) {
  const event = fromJsonString(InteractionEventSchema, line);
  const encoded = encodeEvent(event);
  ledger.sent(event.eventId, mcpId, event.interactionId, encoded);
  held.set(event.eventId, encoded);
  while (session.report(event) === undefined) await session.whenWritable();
}
const why = await session.close();
clearInterval(look);
ledger.flush();
process.exitCode = why.kind === "done" ? 0 : 1;

/** Reports what is held over HTTP; whatever happens, it stays with the session too. */
async function post(): Promise<void> {
  const events = [...held.values()].slice(0, postMaxEvents).map(decodeEvent);
  if (isPosting || events.length === 0) return;
  isPosting = true;
  try {
    const response = await fetch(`${web}/${InteractionService.typeName}/ReportInteractions`, {
      method: "POST",
      headers: { "content-type": "application/json", ...(key === undefined ? {} : { authorization: `Bearer ${key}` }) },
      body: toJsonString(ReportInteractionsRequestSchema, create(ReportInteractionsRequestSchema, { mcpId, producerId, events })),
      signal: AbortSignal.timeout(5_000),
    });
    if (response.ok) fromJsonString(ReportInteractionsResponseSchema, await response.text()).acks.forEach(settle);
  } catch {
    // The loop's edge: the next failed attempt of the session posts again.
  } finally {
    isPosting = false;
  }
}

function settle(ack: EventAck): void {
  if (ack.retryable) return;
  held.delete(ack.eventId);
  const verdict = ack.status === EventStatus.STORED ? "stored" : ack.status === EventStatus.DUPLICATE ? "duplicate" : "rejected";
  ledger.settled({ eventId: ack.eventId, verdict, learnt: "ack", latencyMs: 0, ack });
}

function text() {
  return { type: "string", default: "" } as const;
}
