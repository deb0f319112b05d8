import { create, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import type { InteractionEventSchema } from "../../gen/mcp/coordinator/v1/events_pb.js";
import { StreamInteractionsRequestSchema } from "../../gen/mcp/coordinator/v1/interaction_service_pb.js";
import type { ApplyStatus } from "../../gen/mcp/coordinator/v1/routes_pb.js";
import type { AckMode, Capability } from "../../gen/mcp/coordinator/v1/session_pb.js";
import { limits } from "../../src/platform/limits.js";
import { uuidV7FromHash } from "../../src/platform/uuid-v7.js";
import type { Draw } from "../simulation/draw.js";
import { noonMs } from "../support/draft.js";

type EventInit = Exclude<MessageInitShape<typeof InteractionEventSchema>, { readonly $typeName: string }>;
type FrameInit = NonNullable<MessageInitShape<typeof StreamInteractionsRequestSchema>["frame"]>;

const kib = 1024;

/** Texts that have broken parsers, databases and logs before. Halves of surrogate pairs become U+FFFD here; as bytes they come from `mutate`. */
const texts = [
  "",
  "demo",
  "\0",
  "a\0b",
  "\ud800",
  "\udfff\ud800",
  "\uffff",
  "\u202e",
  "é",
  "💥",
  "__proto__",
  "constructor",
  "' OR 1=1 --",
  "%s%n",
  "{}",
  "\r\n",
];
const doubles = [
  0,
  -0,
  1,
  0.5,
  -1,
  1.5,
  Number.NaN,
  Number.POSITIVE_INFINITY,
  Number.NEGATIVE_INFINITY,
  Number.MIN_VALUE,
  Number.MAX_VALUE,
];
const bigs = [0n, 1n, 2n, 127n, 128n, 2n ** 32n, 2n ** 53n, 2n ** 63n - 1n, 2n ** 63n, 2n ** 64n - 1n];
const seconds = [0n, 1n, BigInt(noonMs / 1000), 253_402_300_799n, 253_402_300_800n, -1n, -62_135_596_800n, 2n ** 63n - 1n, -(2n ** 63n)];
const nanos = [0, 1, 999_999_999, 1_000_000_000, -1, 2_147_483_647, -2_147_483_648];

/** Numbers of enums; those that this contract does not name are what a newer peer may send, hence the casts below. */
const enumNumbers: readonly number[] = [0, 1, 1, 2, 2, 3, 4, 99, -1];

/** A frame whose structure is right and whose values may be anything. */
export function generateFrame(draw: Draw): Uint8Array {
  return encode(frameOf(draw));
}

/** What only a frame built by hand can be: deep, wide, or as large as the transport lets through. Slow to make, so they come seldom. */
export function generateMonster(draw: Draw): Uint8Array {
  switch (draw.weighted({ deep: 4, wide: 4, batch: 4, event: 3, frame: 1 })) {
    case "deep":
      return deepFrame(draw.pick([60, 64, 65, 66, 67, 100, 1_000, 10_000]));
    case "wide":
      return encode({ case: "event", value: { ...eventOf(draw), labels: labelsOf(draw.pick([32, 33, 10_000])) } });
    case "batch":
      return encode({
        case: "eventBatch",
        value: { events: Array.from({ length: draw.pick([499, 500, 501, 2_000]) }, () => eventOf(draw)) },
      });
    case "event":
      return encode(rawEvent(draw.pick([255, 256, 257, 1_000]) * kib + draw.between(-300, 300)));
    case "frame":
      return encode(rawEvent(limits.frameMaxBytes - 100 + draw.between(-1, 1)));
  }
}

/** A Struct inside a Struct, `levels` deep, inside a start event. Written from the inside out, because no encoder recurses that far. */
export function deepFrame(levels: number): Uint8Array {
  const before: Uint8Array[] = [];
  let length = 0;
  const wrap = (field: number, key: readonly number[] = []) => {
    const head = Uint8Array.from([...key, (field << 3) | 2, ...varint(length)]);
    before.push(head);
    length += head.length;
  };
  for (let i = 0; i < levels; i += 1) {
    wrap(5); // Value.struct_value
    wrap(2, [0x0a, 1, 97]); // FieldsEntry.value, after the key "a"
    wrap(1); // Struct.fields
  }
  wrap(6); // StartDetail.parameters
  wrap(10); // InteractionEvent.start
  wrap(2); // StreamInteractionsRequest.event
  return Buffer.concat(before.reverse());
}

/** A length as protobuf writes it. */
function varint(n: number): readonly number[] {
  return n < 128 ? [n] : [(n & 127) | 128, ...varint(n >>> 7)];
}

function encode(frame: FrameInit): Uint8Array {
  return toBinary(StreamInteractionsRequestSchema, create(StreamInteractionsRequestSchema, { frame }));
}

function frameOf(draw: Draw): FrameInit {
  switch (draw.weighted({ event: 50, batch: 20, hello: 12, heartbeat: 6, ack: 6, empty: 2 })) {
    case "event":
      return { case: "event", value: eventOf(draw) };
    case "batch":
      return { case: "eventBatch", value: { events: Array.from({ length: draw.below(6) }, () => eventOf(draw)) } };
    case "hello":
      return {
        case: "hello",
        value: {
          minProtocolVersion: draw.pick([0, 1, 1, 1, 2, 4_294_967_295]),
          maxProtocolVersion: draw.pick([0, 1, 1, 2, 4_294_967_295]),
          mcpId: textOf(draw),
          producerId: draw.chance(0.5) ? "" : textOf(draw),
          instanceVersion: textOf(draw),
          capabilities: Array.from({ length: draw.below(5) }, () => draw.pick(enumNumbers) as Capability),
          ackMode: draw.pick(enumNumbers) as AckMode,
          firstUnackedSequence: draw.pick(bigs),
          labels: labelsOf(draw.below(4)),
        },
      };
    case "heartbeat":
      return { case: "heartbeat", value: { id: draw.pick(bigs) } };
    case "ack":
      return { case: "routingAck", value: { nonce: textOf(draw), status: draw.pick(enumNumbers) as ApplyStatus } };
    case "empty":
      return { case: undefined };
  }
}

function eventOf(draw: Draw): EventInit {
  const isPlain = draw.chance(0.5);
  const time = isPlain
    ? { seconds: BigInt(noonMs / 1000), nanos: draw.below(1_000) }
    : { seconds: draw.pick(seconds), nanos: draw.pick(nanos) };
  return {
    eventId: isPlain
      ? draw.pick(["", uuidV7FromHash(noonMs, draw.hex(20))])
      : draw.pick(["550e8400-e29b-41d4-a716-446655440000", textOf(draw)]),
    sequence: isPlain ? BigInt(draw.below(1_000)) : draw.pick(bigs),
    mcpId: isPlain ? "demo" : textOf(draw),
    interactionId: isPlain ? "i-1" : textOf(draw),
    ...(draw.chance(0.05) ? {} : { occurredAt: time }),
    traceParent: isPlain ? "" : textOf(draw),
    labels: isPlain ? {} : labelsOf(draw.below(3)),
    sessionId: isPlain ? "" : textOf(draw),
    detail: isPlain && draw.chance(0.6) ? { case: "progress", value: { fraction: draw.rng() } } : detailOf(draw),
  };
}

function detailOf(draw: Draw): NonNullable<EventInit["detail"]> {
  const span = { seconds: draw.pick([0n, 1n, -1n, 315_576_000_000n, 315_576_000_001n]), nanos: draw.pick(nanos) };
  const usage = { cpuPercent: draw.pick(doubles), memoryBytes: draw.pick(doubles) };
  switch (draw.weighted({ start: 4, progress: 2, complete: 3, error: 2, none: 0.5 })) {
    case "start": {
      const parameters = draw.chance(0.3) ? { a: draw.pick(doubles), [textOf(draw)]: [textOf(draw), null, true] } : {};
      const body = draw.chance(0.3) ? ({ case: "raw", value: new Uint8Array(draw.below(200)) } as const) : undefined;
      return { case: "start", value: { requestType: textOf(draw), userId: textOf(draw), parameters, ...(body && { request: { body } }) } };
    }
    case "progress":
      return { case: "progress", value: { fraction: draw.pick(doubles), message: textOf(draw), resourceUsage: usage } };
    case "complete":
      return { case: "complete", value: { qualityScore: draw.pick(doubles), processingTime: span, stepsExecuted: [textOf(draw)] } };
    case "error":
      return {
        case: "error",
        value: { errorCode: textOf(draw), errorMessage: textOf(draw).repeat(draw.pick([1, 1, 40])), processingTime: span },
      };
    case "none":
      return { case: undefined };
  }
}

function rawEvent(bytes: number): FrameInit {
  const occurredAt = { seconds: BigInt(noonMs / 1000), nanos: 0 };
  const request = { body: { case: "raw" as const, value: new Uint8Array(bytes) } };
  return { case: "event", value: { mcpId: "demo", interactionId: "i", occurredAt, detail: { case: "start", value: { request } } } };
}

function labelsOf(count: number): Record<string, string> {
  return Object.fromEntries(Array.from({ length: count }, (_, i) => [`${texts[i % texts.length]}${i}`, "v"]));
}

function textOf(draw: Draw): string {
  return draw.chance(0.02) ? "x".repeat(draw.pick([255, 256, 257, 5_000])) : draw.pick(texts);
}
