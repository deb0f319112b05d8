import { create, toBinary } from "@bufbuild/protobuf";
import { type InteractionEvent, InteractionEventSchema } from "../gen/mcp/coordinator/v1/events_pb.js";

/**
 * Encoded events by the hundred thousand a second, so that the load client is not what is measured: each is encoded once as a template of fixed
 * length, and the event_id, the sequence, the interaction_id and the time are written over it. Half the events start an interaction, half complete it.
 */
export type EventBytes = {
  /** A fresh buffer with the event of this sequence, ready to be framed. */
  readonly next: (sequence: number) => Buffer;
};

/** Ids have a fixed width so that templates keep their length: eleven digits of sequence. */
const interactionDigits = 11;
/** Sequences from here on take four bytes as a varint, below 2^28: 268 million events per stream. */
export const firstSequence = 1 << 21;

/** `index` (below 65 536) and `stream` keep ids of different streams apart; `payloadBytes` 0 means no payload. */
export function createEventBytes(mcpId: string, index: number, stream: string, payloadBytes: number): EventBytes {
  const start = templateOf(mcpId, stream, {
    case: "start",
    value: {
      requestType: "chat",
      userId: "user-000042",
      inputBytes: 2_048n,
      ...(payloadBytes > 0
        ? { request: { body: { case: "raw", value: Buffer.alloc(payloadBytes, 7) }, contentType: "application/octet-stream" } }
        : {}),
    },
  });
  const complete = templateOf(mcpId, stream, {
    case: "complete",
    value: {
      processingTime: { seconds: 1n, nanos: 250_000_000 },
      outputBytes: 4_096n,
      qualityScore: 0.9,
      ...(payloadBytes > 0
        ? { result: { body: { case: "raw", value: Buffer.alloc(payloadBytes, 7) }, contentType: "application/octet-stream" } }
        : {}),
    },
  });
  const idTail = index.toString(16).padStart(4, "0");
  return {
    next: (sequence) => {
      const template = sequence % 2 === 0 ? start : complete;
      const bytes = Buffer.allocUnsafe(template.bytes.length);
      template.bytes.copy(bytes);
      bytes.write(uuidText(Date.now(), idTail, sequence), template.idAt, 36, "latin1");
      writeSequence(bytes, template.sequenceAt, sequence);
      bytes.write(String(sequence >> 1).padStart(interactionDigits, "0"), template.interactionAt, interactionDigits, "latin1");
      return bytes;
    },
  };
}

type Detail = Extract<Parameters<typeof create<typeof InteractionEventSchema>>[1], { detail?: unknown }>["detail"];
type Template = { readonly bytes: Buffer; readonly idAt: number; readonly sequenceAt: number; readonly interactionAt: number };

function templateOf(mcpId: string, stream: string, detail: NonNullable<Detail>): Template {
  const id = "#".repeat(36);
  const marker = "@".repeat(interactionDigits);
  const event: InteractionEvent = create(InteractionEventSchema, {
    eventId: id,
    sequence: BigInt(firstSequence),
    mcpId,
    interactionId: `${stream}-${marker}`,
    occurredAt: { seconds: BigInt(Math.floor(Date.now() / 1000)), nanos: 0 },
    labels: { environment: "bench" },
    detail,
  });
  const bytes = Buffer.from(toBinary(InteractionEventSchema, event));
  const idAt = bytes.indexOf(id);
  // event_id is followed by the tag of sequence (field 2, varint) and its four bytes.
  return { bytes, idAt, sequenceAt: idAt + 37, interactionAt: bytes.indexOf(marker) };
}

/** UUID version 7: time, then stream and sequence instead of randomness, so that ids are unique in one run. */
function uuidText(timeMs: number, tail: string, sequence: number): string {
  const time = timeMs.toString(16).padStart(12, "0");
  const count = sequence.toString(16).padStart(8, "0");
  return `${time.slice(0, 8)}-${time.slice(8)}-7000-8${runTag}-${tail}${count}`;
}
const runTag = (process.pid & 0xfff).toString(16).padStart(3, "0");

function writeSequence(bytes: Buffer, at: number, sequence: number): void {
  bytes[at] = (sequence & 0x7f) | 0x80;
  bytes[at + 1] = ((sequence >> 7) & 0x7f) | 0x80;
  bytes[at + 2] = ((sequence >> 14) & 0x7f) | 0x80;
  bytes[at + 3] = (sequence >> 21) & 0x7f;
}
