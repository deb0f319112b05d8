import { once } from "node:events";
import { type ClientHttp2Session, connect, type OutgoingHttpHeaders } from "node:http2";
import { connect as connectTcp } from "node:net";
import { gzipSync } from "node:zlib";
import { create, toBinary } from "@bufbuild/protobuf";
import type { Client } from "@grpc/grpc-js";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { EventStatus } from "../../gen/mcp/coordinator/v1/events_pb.js";
import {
  InteractionService,
  ReportInteractionsRequestSchema,
  StreamInteractionsRequestSchema,
} from "../../gen/mcp/coordinator/v1/interaction_service_pb.js";
import { Capability } from "../../gen/mcp/coordinator/v1/session_pb.js";
import { limits } from "../../src/platform/limits.js";
import { isTooLong } from "../../src/rpc/long-deadlines.js";
import { noonMs } from "../support/draft.js";
import { callUnary, openGrpcClient, pathOf } from "../support/grpc-client.js";
import { type HubPorts, startHubPorts } from "../support/hub-ports.js";
import { makeEvent } from "../support/make-event.js";
import { type FrameInit, RawStream } from "../support/raw-stream.js";

const mebibyte = 1024 * 1024;
const streamPath = pathOf(InteractionService.method.streamInteractions);
const reportPath = pathOf(InteractionService.method.reportInteractions);
const occurredAt = { seconds: BigInt(noonMs / 1000), nanos: 0 };

let hub: HubPorts;
let client: Client;
beforeEach(async () => {
  hub = await startHubPorts();
  client = openGrpcClient(hub.ports.grpcAddress);
});
afterEach(async () => {
  client?.close();
  await hub?.[Symbol.asyncDispose]();
});

/** Resolves when `isTrue`; what it waits for is on its way over a socket, and the test's own time limit ends a wait in vain. */
async function until(isTrue: () => boolean): Promise<void> {
  while (!isTrue()) await new Promise((resolve) => setTimeout(resolve, 5));
}

const reportOnce = () =>
  callUnary(client, InteractionService.method.reportInteractions, create(ReportInteractionsRequestSchema)).then(({ end }) => end.code);

/** A frame of `count` events with `bytes` of payload each. */
function batchOf(count: number, bytes: number, from = 0): FrameInit {
  const request = { body: { case: "raw" as const, value: new Uint8Array(bytes) } };
  const events = Array.from({ length: count }, (_, i) =>
    makeEvent({ interactionId: `i-${from + i}`, occurredAt, detail: { case: "start", value: { request } } }),
  );
  return { case: "eventBatch", value: { events } };
}

/** A gRPC message with its prefix. */
function framed(message: Uint8Array, isCompressed = false): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt8(isCompressed ? 1 : 0, 0);
  head.writeUInt32BE(message.byteLength, 1);
  return Buffer.concat([head, message]);
}

function request(session: ClientHttp2Session, path: string, headers: OutgoingHttpHeaders = {}) {
  const stream = session.request({ ":method": "POST", ":path": path, "content-type": "application/grpc", te: "trailers", ...headers });
  stream.on("error", () => {}); // cut by one side or the other
  stream.resume();
  return stream;
}

/** The status of a call whose only message is `body`. */
async function statusOf(session: ClientHttp2Session, body: Buffer, headers: OutgoingHttpHeaders): Promise<string> {
  const stream = request(session, reportPath, headers);
  let status: unknown;
  stream.on("response", (answer) => (status ??= answer["grpc-status"])); // trailers only
  stream.on("trailers", (trailers) => (status ??= trailers["grpc-status"]));
  stream.end(body);
  await once(stream, "close");
  return String(status);
}

describe("a stream that is not read any more, because the store is away", () => {
  it("leaves its siblings on the same connection their heartbeats and their calls", async () => {
    const stalled = new RawStream(client);
    for (let frame = 0; frame < 20; frame += 1) stalled.send(batchOf(200, 2_000, frame * 200));
    await until(() => hub.ingest.queue.pendingEvents > limits.windowMaxEvents * limits.windowPauseFactor);
    const sibling = new RawStream(client);
    sibling.send({ case: "hello", value: { mcpId: "demo", capabilities: [Capability.HEARTBEAT] } });
    await sibling.first("welcome");
    for (let id = 1n; id <= 20n; id += 1n) {
      sibling.send({ case: "heartbeat", value: { id } });
      await sibling.until((frames) => frames.find((frame) => frame.case === "heartbeatAck" && frame.value.id === id));
      expect(await reportOnce()).toBe(0);
    }
    expect(hub.ingest.queue.pendingEvents).toBeLessThanOrEqual(limits.windowMaxEvents * limits.windowPauseFactor + 200);
    stalled.cancel();
    sibling.cancel();
  });

  it("holds two windows and a frame of what its peer sends, and pushes the rest back to the peer", async () => {
    const session = connect(`http://${hub.ports.grpcAddress}`, { maxSessionMemory: 1_000 }); // our own side holds 100 MB
    const sender = request(session, streamPath);
    const message = create(StreamInteractionsRequestSchema, { frame: batchOf(10, 20_000) });
    const frame = framed(toBinary(StreamInteractionsRequestSchema, message));
    let takenBytes = 0;
    for (let sent = 0; sent < 500; sent += 1) sender.write(frame, () => (takenBytes += frame.byteLength)); // 100 MB
    await until(() => hub.ingest.queue.pendingEvents * 20_000 > limits.windowMaxBytes * limits.windowPauseFactor);
    for (let round = 0; round < 20; round += 1) expect(await reportOnce()).toBe(0);
    const heldBytes = limits.windowMaxBytes * limits.windowPauseFactor + limits.http2StreamWindowBytes;
    expect(takenBytes).toBeLessThan(heldBytes + 2 * mebibyte); // and what the sockets hold
    session.destroy();
    await until(() => hub.fleet.size === 0);
  });
});

describe("a stream that is cancelled", () => {
  it("leaves no session, no timer and no socket, also when it was waiting to write or not being read", async () => {
    const before = { timers: hub.clock.timerCount, sockets: socketCount() };
    const own = openGrpcClient(hub.ports.grpcAddress);
    const streams = Array.from({ length: 60 }, () => new RawStream(own));
    for (const [i, stream] of streams.entries()) {
      if (i % 3 === 0) stream.pause(); // its answers are never read
      if (i % 2 === 0) stream.send({ case: "hello", value: { mcpId: "demo", producerId: `p-${i}` } });
      for (let frame = 0; frame < 3; frame += 1) stream.send(batchOf(i % 5 === 0 ? 500 : 1, 10)); // some beyond their window
      stream.send({ case: "eventBatch", value: { events: Array.from({ length: 200 }, () => ({ interactionId: "\0" })) } });
    }
    await until(() => hub.fleet.size === 60 && hub.ingest.queue.pendingEvents > 0);
    for (const stream of streams) stream.cancel();
    for (const stream of streams) expect((await stream.ended).code).toBe(1);
    await until(() => hub.fleet.size === 0);
    own.close();
    while (hub.ingest.queue.pendingEvents > 0) await hub.store.last.resolve();
    expect([hub.ingest.queue.pendingEvents, hub.ingest.queue.pendingBytes]).toEqual([0, 0]);
    expect(hub.clock.timerCount).toBe(before.timers);
    await until(() => socketCount() <= before.sockets);
  });

  it("does so ten thousand times on one connection, and the others are served meanwhile", async () => {
    const session = connect(`http://${hub.ports.grpcAddress}`);
    session.on("error", () => {}); // the server may have had enough of it
    for (let burst = 0; burst < 100; burst += 1) {
      for (let i = 0; i < 100 && !session.closed && !session.destroyed; i += 1) request(session, streamPath).close(8); // CANCEL
      expect(await reportOnce()).toBe(0);
    }
    session.destroy();
    await until(() => hub.fleet.size === 0);
  });
});

/** Sockets of this process, which holds both ends of every connection here. */
const socketCount = () => process.getActiveResourcesInfo().filter((name) => name.startsWith("TCPSocket")).length;

describe("a frame at the limit of the transport", () => {
  const eventOf = (bytes: number) =>
    toBinary(
      StreamInteractionsRequestSchema,
      create(StreamInteractionsRequestSchema, {
        frame: {
          case: "event",
          value: makeEvent({
            occurredAt,
            detail: { case: "start", value: { request: { body: { case: "raw", value: new Uint8Array(bytes) } } } },
          }),
        },
      }),
    );
  /** An event frame of exactly `size` bytes. */
  const frameOf = (size: number) => eventOf(size - (eventOf(size - 100).byteLength - (size - 100)));

  it("of exactly 4 MiB is read, and its event told to be too large; one byte more ends its stream with both sizes", async () => {
    for (const size of [limits.frameMaxBytes - 1, limits.frameMaxBytes]) {
      const stream = new RawStream(client);
      expect(frameOf(size)).toHaveLength(size);
      stream.sendBytes(frameOf(size));
      expect((await stream.untilAcks(1))[0]?.status).toBe(EventStatus.TOO_LARGE);
      stream.halfClose();
      expect((await stream.ended).code).toBe(0);
    }
    const stream = new RawStream(client);
    stream.sendBytes(frameOf(limits.frameMaxBytes + 1));
    expect(await stream.ended).toMatchObject({ code: 8, message: expect.stringContaining("4194305 vs 4194304") });
  });
});

describe("a message that inflates", () => {
  it("beyond the limit is RESOURCE_EXHAUSTED before it is inflated, a wrong flag is refused, and others are served", async () => {
    const session = connect(`http://${hub.ports.grpcAddress}`);
    const bomb = gzipSync(Buffer.alloc(64 * mebibyte));
    const nested = gzipSync(bomb);
    const before = process.memoryUsage();
    for (let round = 0; round < 5; round += 1) {
      expect(await statusOf(session, framed(bomb, true), { "grpc-encoding": "gzip" })).toBe("8");
      expect(await reportOnce()).toBe(0);
    }
    const after = process.memoryUsage();
    const grown = after.arrayBuffers + after.external - before.arrayBuffers - before.external;
    expect(grown).toBeLessThan(5 * 16 * mebibyte); // five bombs of 64 MiB, none of them inflated to its end
    expect(await statusOf(session, framed(nested, true), { "grpc-encoding": "gzip" })).toBe("3"); // one layer is taken off: no message
    expect(await statusOf(session, framed(bomb, true), {})).toBe("3"); // said to be compressed, with no encoding: taken as it is, and no message
    expect(await statusOf(session, framed(gzipSync(Buffer.alloc(0)), true), { "grpc-encoding": "gzip" })).toBe("0");
    expect(await reportOnce()).toBe(0);
    session.destroy();
  });
});

describe("a stream with a deadline", () => {
  it("is warned that it will end at it; one without is not", async () => {
    const limited = new RawStream(client, {}, { deadline: Date.now() + 3_600_000 });
    limited.send({ case: "heartbeat", value: { id: 1n } });
    await limited.first("heartbeatAck");
    expect(limited.frames.flatMap((frame) => (frame.case === "serverNotice" ? [frame.value.code] : []))).toEqual(["DEADLINE_ON_STREAM"]);
    const endless = new RawStream(client);
    endless.send({ case: "heartbeat", value: { id: 1n } });
    await endless.first("heartbeatAck");
    expect(endless.frames.map((frame) => frame.case)).toEqual(["heartbeatAck"]);
    limited.cancel();
    endless.cancel();
  });

  it("of thirty days lives on, where grpc-js alone would end it at once", async () => {
    const session = connect(`http://${hub.ports.grpcAddress}`);
    const stream = request(session, streamPath, { "grpc-timeout": "720H" });
    await once(stream, "response");
    for (let round = 0; round < 20; round += 1) expect(await reportOnce()).toBe(0);
    expect(hub.fleet.size).toBe(1);
    session.destroy();
    expect(["597H", "35800M", "2147484S", "99999999S"].map(isTooLong)).toEqual([true, true, true, true]);
    expect(["596H", "2147483S", "99999999m", "1n", "x", "", undefined].map(isTooLong)).not.toContain(true);
  });
});

describe("a drain", () => {
  it("ends within its grace though peers do not read, do not leave, or have never said a word", async () => {
    const deaf = new RawStream(client);
    deaf.pause();
    deaf.send(batchOf(1, 10));
    const idle = connect(`http://${hub.ports.grpcAddress}`);
    await once(idle, "remoteSettings");
    const silent = connectTcp(hub.ports.grpcPort, "127.0.0.1");
    await once(silent, "connect");
    const goneBy = [once(idle, "close"), once(silent, "close")];
    idle.on("error", () => {});
    silent.on("error", () => {}).resume();
    await until(() => hub.fleet.size === 1);
    await hub.ports.grpc.drain(50);
    await Promise.all(goneBy);
    await until(() => hub.fleet.size === 0);
  });
});
