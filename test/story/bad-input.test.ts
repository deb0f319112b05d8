import { create, toBinary } from "@bufbuild/protobuf";
import { anyUnpack } from "@bufbuild/protobuf/wkt";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { BadRequestSchema, ErrorInfoSchema } from "../../gen/google/rpc/error_details_pb.js";
import { EventStatus } from "../../gen/mcp/coordinator/v1/events_pb.js";
import {
  InteractionService,
  ReportInteractionsRequestSchema,
  StreamInteractionsRequestSchema,
} from "../../gen/mcp/coordinator/v1/interaction_service_pb.js";
import { mintUuidV7 } from "../../src/platform/uuid-v7.js";
import { type RunningCoordinator, startCoordinatorProcess } from "../support/coordinator.js";
import { type CallEnd, callUnary, openGrpcClient } from "../support/grpc-client.js";
import { type EventInit, makeEvent } from "../support/make-event.js";
import { RawStream } from "../support/raw-stream.js";

let coordinator: RunningCoordinator;
let client: ReturnType<typeof openGrpcClient>;

beforeAll(async () => {
  coordinator = await startCoordinatorProcess();
  client = openGrpcClient(coordinator.target);
});
afterAll(async () => {
  client?.close();
  await coordinator?.stop();
});

const reasonOf = (end: CallEnd) =>
  end.status?.details.map((any) => anyUnpack(any, ErrorInfoSchema)).find((info) => info !== undefined)?.reason;
const inTwoHours = () => ({ seconds: BigInt(Math.floor(Date.now() / 1000) + 7200), nanos: 0 });

const { INVALID, CLOCK_SKEW, TOO_LARGE, TOO_OLD } = EventStatus;

describe("a bad event on a stream", () => {
  const cases: readonly [string, EventInit, Partial<{ status: EventStatus; field: string; retryable: boolean }>][] = [
    ["without detail", { detail: { case: undefined } }, { status: INVALID, field: "detail" }],
    ["without mcp_id", { mcpId: "" }, { status: INVALID, field: "mcp_id" }],
    ["without interaction_id", { interactionId: "" }, { status: INVALID, field: "interaction_id" }],
    ["with an id of 257 bytes", { interactionId: "x".repeat(257) }, { status: INVALID, field: "interaction_id" }],
    ["with NUL in an id", { interactionId: "a\0b" }, { status: INVALID, field: "interaction_id" }],
    ["with timestamp zero", { occurredAt: { seconds: 0n, nanos: 0 } }, { status: INVALID, field: "occurred_at" }],
    ["in the year 9999", { occurredAt: { seconds: 253_402_300_799n, nanos: 0 } }, { status: CLOCK_SKEW, retryable: false }],
    ["two hours ahead", { occurredAt: inTwoHours() }, { status: CLOCK_SKEW, retryable: true }],
    ["a month old", { occurredAt: { seconds: BigInt(Math.floor(Date.now() / 1000) - 30 * 86_400), nanos: 0 } }, { status: TOO_OLD }],
    [
      "with quality_score 1.5",
      { detail: { case: "complete", value: { qualityScore: 1.5 } } },
      { status: INVALID, field: "complete.quality_score" },
    ],
    [
      "with quality_score NaN",
      { detail: { case: "complete", value: { qualityScore: Number.NaN } } },
      { status: INVALID, field: "complete.quality_score" },
    ],
    ["with fraction -1", { detail: { case: "progress", value: { fraction: -1 } } }, { status: INVALID, field: "progress.fraction" }],
    ["with an event_id that is no UUIDv7", { eventId: "550e8400-e29b-41d4-a716-446655440000" }, { status: INVALID, field: "event_id" }],
    [
      "with a payload of 300 KiB",
      { detail: { case: "start", value: { request: { body: { case: "raw", value: new Uint8Array(300 * 1024) } } } } },
      { status: TOO_LARGE },
    ],
  ];

  it.each(cases)("%s is answered by its own verdict and harms nobody", async (_, more, expected) => {
    const stream = new RawStream(client);
    stream.send({ case: "event", value: makeEvent(more) });
    stream.send({ case: "event", value: makeEvent({ interactionId: `neighbour-${mintUuidV7()}` }) });
    const acks = await stream.untilAcks(2);
    const bad = acks.find((ack) => ack.status !== EventStatus.STORED);
    expect(bad).toMatchObject({ status: expected.status, retryable: expected.retryable ?? false });
    if (expected.field !== undefined) expect(bad?.violations.map((violation) => violation.field)).toContain(expected.field);
    expect(acks.filter((ack) => ack.status === EventStatus.STORED)).toHaveLength(1);
    stream.halfClose();
    expect((await stream.ended).code).toBe(0);
  });

  it("without a timestamp is invalid, and the violation says what to send", async () => {
    const { occurredAt: _, ...event } = makeEvent();
    const stream = new RawStream(client);
    stream.send({ case: "event", value: event });
    const [ack] = await stream.untilAcks(1);
    expect(ack).toMatchObject({ status: INVALID, violations: [{ field: "occurred_at", reason: "REQUIRED" }] });
    expect(ack?.violations[0]?.description).toMatch(/for example/);
    stream.halfClose();
    await stream.ended;
  });

  it("among sixty-three good ones is the only one that is refused", async () => {
    const events = Array.from({ length: 64 }, (_, i) => makeEvent({ interactionId: i === 13 ? "" : `b-${i}`, eventId: mintUuidV7() }));
    const stream = new RawStream(client);
    stream.send({ case: "eventBatch", value: { events } });
    const acks = await stream.untilAcks(64);
    expect(acks.filter((ack) => ack.status === EventStatus.STORED)).toHaveLength(63);
    stream.halfClose();
    await stream.ended;
  });

  it("gets the same refusal when it is sent again", async () => {
    const event = makeEvent({ interactionId: "", eventId: mintUuidV7() });
    const answers = [];
    for (let i = 0; i < 2; i += 1) {
      const request = create(ReportInteractionsRequestSchema, { events: [event] });
      answers.push((await callUnary(client, InteractionService.method.reportInteractions, request)).response?.acks[0]);
    }
    expect(answers[1]).toEqual(answers[0]);
  });
});

/** A length as protobuf writes it. */
function varint(n: number): readonly number[] {
  return n < 128 ? [n] : [(n & 127) | 128, ...varint(n >>> 7)];
}

describe("a bad frame", () => {
  it("with an empty oneof is ignored with a notice, and so is one with a member that is not known yet", async () => {
    const stream = new RawStream(client);
    stream.sendBytes(new Uint8Array());
    stream.sendBytes(new Uint8Array([0xa2, 0x06, 0x01, 0x00])); // field 100, one byte
    const notices = await stream.until((frames) => {
      const found = frames.filter((frame) => frame.case === "serverNotice");
      return found.length === 2 ? found : undefined;
    });
    expect(notices.map((notice) => notice.case === "serverNotice" && notice.value.code)).toEqual(["UNKNOWN_FRAME", "UNKNOWN_FRAME"]);
    stream.send({ case: "event", value: makeEvent({ interactionId: "after" }) });
    expect((await stream.untilAcks(1))[0]?.status).toBe(EventStatus.STORED);
    stream.halfClose();
    expect((await stream.ended).code).toBe(0);
  });

  it("with a truncated varint ends the stream with the reason, after the acks of what came before", async () => {
    const stream = new RawStream(client);
    stream.send({ case: "event", value: makeEvent({ interactionId: `before-${mintUuidV7()}` }) });
    await stream.untilAcks(1);
    stream.sendBytes(new Uint8Array([0x12, 0xff]));
    const end = await stream.ended;
    expect([end.code, reasonOf(end)]).toEqual([3, "UNDECODABLE_FRAME"]);
  });

  it("that nests ten thousand deep ends its stream, and the coordinator lives on", async () => {
    // Struct.fields{key "a", value{struct_value{…}}}, from the inside out: what stands before each level depends only on its length.
    const before: Uint8Array[] = [];
    let length = 0;
    const wrap = (field: number, key: readonly number[] = []) => {
      const head = [...key, (field << 3) | 2, ...varint(length)];
      before.push(Uint8Array.from(head));
      length += head.length;
    };
    for (let i = 0; i < 10_000; i += 1) {
      wrap(5);
      wrap(2, [0x0a, 1, 97]);
      wrap(1);
    }
    wrap(6);
    wrap(10);
    wrap(2);
    const stream = new RawStream(client);
    stream.sendBytes(Buffer.concat(before.reverse()));
    const end = await stream.ended;
    expect([end.code, reasonOf(end)]).toEqual([3, "NESTED_TOO_DEEP"]);
    const after = new RawStream(client);
    after.send({ case: "event", value: makeEvent({ interactionId: "alive" }) });
    await after.untilAcks(1);
    after.halfClose();
    await after.ended;
  });

  it("of five MiB ends its stream naming the sizes", async () => {
    const bytes = toBinary(
      StreamInteractionsRequestSchema,
      create(StreamInteractionsRequestSchema, {
        frame: {
          case: "event",
          value: makeEvent({ detail: { case: "start", value: { request: { body: { case: "raw", value: new Uint8Array(5 << 20) } } } } }),
        },
      }),
    );
    const stream = new RawStream(client);
    stream.sendBytes(bytes);
    const end = await stream.ended;
    expect(end.code).toBe(8);
    expect(end.message).toMatch(/4194304/);
  });

  it("with more than five hundred events ends its stream", async () => {
    const stream = new RawStream(client);
    stream.send({ case: "eventBatch", value: { events: Array.from({ length: 501 }, () => makeEvent()) } });
    const end = await stream.ended;
    expect([end.code, reasonOf(end)]).toEqual([8, "TOO_MANY_EVENTS"]);
  });
});

describe("a bad unary call", () => {
  it("without events names the field", async () => {
    const { end } = await callUnary(client, InteractionService.method.reportInteractions, create(ReportInteractionsRequestSchema));
    const bad = end.status?.details.map((any) => anyUnpack(any, BadRequestSchema)).find((detail) => detail !== undefined);
    expect(end.code).toBe(3);
    expect(bad?.fieldViolations.map((violation) => violation.field)).toEqual(["events"]);
  });

  it("over Connect JSON with a lone surrogate names the field", async () => {
    const response = await fetch(`${coordinator.webUrl}/mcp.coordinator.v1.InteractionService/ReportInteractions`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: `{"events":[{"mcpId":"demo","interactionId":"a\\ud800","occurredAt":"${new Date().toISOString()}","start":{}}]}`,
    });
    const text = await response.text();
    expect(text).toMatch(/interaction_id|invalid/);
    expect(text).not.toMatch(/STORED/);
  });
});
