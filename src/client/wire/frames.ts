import { create, fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { type InteractionEvent, InteractionEventSchema } from "../../../gen/mcp/coordinator/v1/events_pb.js";
import {
  type StreamInteractionsRequest,
  StreamInteractionsRequestSchema,
  type StreamInteractionsResponse,
  StreamInteractionsResponseSchema,
} from "../../../gen/mcp/coordinator/v1/interaction_service_pb.js";
import { limits } from "../../platform/limits.js";

/** An event as a caller gives it; `event_id` and `sequence` may be left out, the session fills them. */
export type EventInit = MessageInitShape<typeof InteractionEventSchema>;

/** An event that is encoded already, with this id and without a sequence. */
export type EncodedEvent = { readonly eventId: string; readonly encoded: Uint8Array };

/** One encoded StreamInteractionsRequest, ready for the transport. */
export type EncodedFrame = Uint8Array;

const lengthDelimited = 2;
/** Tags of StreamInteractionsRequest.event, StreamInteractionsRequest.event_batch and EventBatch.events. */
const eventTag = (2 << 3) | lengthDelimited;
const eventBatchTag = (3 << 3) | lengthDelimited;
const batchedEventTag = (1 << 3) | lengthDelimited;

/** Encodes an event once; the same bytes are sent on every attempt. */
export function encodeEvent(event: EventInit): Uint8Array {
  return toBinary(InteractionEventSchema, create(InteractionEventSchema, event));
}

/** Tag of InteractionEvent.sequence, a varint. */
const sequenceTag = 2 << 3;

/** What `withSequence` adds at most: a tag, and the varint of 2^53. */
export const sequenceMaxBytes = 9;

/**
 * The same event with a sequence, without decoding it: of a field that comes twice the last one counts.
 * Shape: `encoded` carries no sequence; `sequence` is a positive safe integer.     Source: the protobuf encoding guide, "Last One Wins".
 */
export function withSequence(encoded: Uint8Array, sequence: number): Uint8Array {
  let bytes = 2;
  for (let rest = sequence; rest >= 0x80; rest = Math.floor(rest / 0x80)) bytes += 1;
  const sequenced = Buffer.allocUnsafe(encoded.length + bytes);
  sequenced.set(encoded);
  let at = encoded.length;
  sequenced[at++] = sequenceTag;
  let rest = sequence;
  for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) sequenced[at++] = (rest % 0x80) | 0x80;
  sequenced[at] = rest;
  return sequenced;
}

/** Reads back what `encodeEvent` wrote, also content of `jsonMaxDepth` levels: the library's own bound is below that. */
export function decodeEvent(encoded: Uint8Array): InteractionEvent {
  return fromBinary(InteractionEventSchema, encoded, { recursionLimit: limits.decodeMaxDepth });
}

/**
 * Wraps encoded events into one frame without decoding them: a single event as `event`, several as `event_batch`.
 * Shape: at least one event.
 */
export function encodeEventFrame(events: readonly Uint8Array[]): EncodedFrame {
  const [only] = events;
  if (events.length === 1 && only !== undefined) {
    const frame = Buffer.allocUnsafe(1 + varintBytes(only.length) + only.length);
    writeField(frame, 0, eventTag, only);
    return frame;
  }
  let bodyBytes = 0;
  for (const event of events) bodyBytes += 1 + varintBytes(event.length) + event.length;
  const frame = Buffer.allocUnsafe(1 + varintBytes(bodyBytes) + bodyBytes);
  let offset = writeHead(frame, 0, eventBatchTag, bodyBytes);
  for (const event of events) offset = writeField(frame, offset, batchedEventTag, event);
  return frame;
}

/** Encodes any frame that carries no event. */
export function encodeControlFrame(
  frame: Exclude<StreamInteractionsRequest["frame"], { case: "event" | "eventBatch" | undefined }>,
): EncodedFrame {
  return toBinary(StreamInteractionsRequestSchema, create(StreamInteractionsRequestSchema, { frame }));
}

/** Decodes a frame of the coordinator. Throws on bytes that are no message, which ends the stream. */
export function decodeFrame(encoded: Uint8Array): StreamInteractionsResponse {
  return fromBinary(StreamInteractionsResponseSchema, encoded);
}

function varintBytes(value: number): number {
  if (value < 0x80) return 1;
  if (value < 0x4000) return 2;
  return value < 0x200000 ? 3 : 4;
}

function writeHead(target: Buffer, offset: number, tag: number, length: number): number {
  let at = offset;
  target[at++] = tag;
  let rest = length;
  while (rest >= 0x80) {
    target[at++] = (rest & 0x7f) | 0x80;
    rest >>>= 7;
  }
  target[at++] = rest;
  return at;
}

function writeField(target: Buffer, offset: number, tag: number, body: Uint8Array): number {
  const at = writeHead(target, offset, tag, body.length);
  target.set(body, at);
  return at + body.length;
}
