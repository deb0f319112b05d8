import { once } from "node:events";
import { connect, constants } from "node:http2";
import { createConnection } from "node:net";
import { create, type DescMethodUnary } from "@bufbuild/protobuf";
import type { Client } from "@grpc/grpc-js";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { InteractionService, ReportInteractionsRequestSchema } from "../../gen/mcp/coordinator/v1/interaction_service_pb.js";
import { ListInteractionsRequestSchema, QueryService } from "../../gen/mcp/coordinator/v1/query_service_pb.js";
import { RoutingService } from "../../gen/mcp/coordinator/v1/routing_service_pb.js";
import { systemClock } from "../../src/platform/clock.js";
import { limits } from "../../src/platform/limits.js";
import { endHeadersFlag, frameOf, frameTypes, grpcHeaders, headerBlock, openRawPeer, settingsOf } from "../faults/http2-frames.js";
import { callUnary, openGrpcClient, pathOf } from "../support/grpc-client.js";
import { RawStream } from "../support/raw-stream.js";
import { interactionOf, type RpcPorts, startRpcPorts } from "../support/rpc-ports.js";

const streamPath = pathOf(InteractionService.method.streamInteractions);

let ports: RpcPorts;
let client: Client;
/** Calls of StreamInteractions that reached their handler. */
let callCount = 0;
beforeEach(async () => {
  callCount = 0;
  // For allowances time stands still, so that the pace of the machine gives nothing back.
  const stream = () => {
    callCount += 1;
  };
  ports = await startRpcPorts({ interactions: [interactionOf("demo", "one", 1)], clock: { ...systemClock, monotonicMs: () => 0 }, stream });
  client = openGrpcClient(ports.grpcAddress);
});
afterEach(async () => {
  client?.close();
  await ports?.[Symbol.asyncDispose]();
});

const reportOnce = () =>
  callUnary(client, InteractionService.method.reportInteractions, create(ReportInteractionsRequestSchema)).then(({ end }) => end.code);

/** Resolves once the server has answered everything that was sent before. */
async function untilAnswered(peer: Awaited<ReturnType<typeof openRawPeer>>): Promise<void> {
  const before = peer.receivedBytes();
  peer.write(frameOf(frameTypes.ping, 0, 0, Buffer.alloc(8)));
  while (peer.isOpen() && peer.receivedBytes() === before) await new Promise((resolve) => setTimeout(resolve, 5));
}

describe("a connection", () => {
  it("above the bound is closed at once and counted, those that are open are served, and one that goes makes room", async () => {
    await using few = await startRpcPorts({ maxConnections: 2 });
    const peers = [await openRawPeer(few.grpcPort), await openRawPeer(few.grpcPort)] as const;
    for (const peer of peers) await untilAnswered(peer);
    const refused = createConnection(few.grpcPort, "127.0.0.1");
    refused.on("error", () => {}); // a reset is as good as an end
    refused.resume();
    await once(refused, "close");
    expect(few.logged).toMatchObject([{ open: 2, refused: 1, max: 2, msg: expect.stringContaining("server.max_connections") }]);
    for (const peer of peers) await untilAnswered(peer);
    expect(peers.map((peer) => peer.isOpen())).toEqual([true, true]);
    peers[0].close();
    await expect.poll(() => few.connections()).toEqual({ open: 1, refused: 1 });
    const next = await openRawPeer(few.grpcPort);
    await untilAnswered(next);
    expect(next.isOpen()).toBe(true);
    for (const peer of [peers[1], next]) peer.close();
  });

  it("that opens and resets streams in one packet makes no calls of them", async () => {
    const peer = await openRawPeer(ports.grpcPort);
    await untilAnswered(peer);
    const cancel = Buffer.alloc(4);
    cancel.writeUInt32BE(constants.NGHTTP2_CANCEL);
    const frames: Buffer[] = [];
    for (let id = 1; id < 200; id += 2) {
      frames.push(frameOf(frameTypes.headers, endHeadersFlag, id, headerBlock(grpcHeaders(streamPath))));
      frames.push(frameOf(frameTypes.resetStream, 0, id, cancel));
    }
    frames.push(frameOf(frameTypes.headers, endHeadersFlag, 201, headerBlock(grpcHeaders(streamPath))));
    peer.write(Buffer.concat(frames));
    // The one that was kept came last: by then the others would have been called.
    await expect.poll(() => callCount).toBeGreaterThan(0);
    expect(await reportOnce()).toBe(0);
    expect(callCount, "only the stream that was kept").toBe(1);
    peer.close();
  });

  it("that resets more streams than any client needs is ended to calm down; the others are served", async () => {
    const other = new RawStream(client);
    const session = connect(`http://${ports.grpcAddress}`);
    session.on("error", () => {}); // ended by the server
    const codes: number[] = [];
    session.on("goaway", (code: number) => codes.push(code));
    await once(session, "remoteSettings");
    const closed = new Promise((resolve) => session.once("close", resolve));
    let resets = 0;
    for (; !session.destroyed && resets <= limits.streamResets.burst * 2; resets += 100) {
      for (let turn = 0; turn < 100 && !session.destroyed; turn += 1) {
        const stream = session.request({ ":method": "POST", ":path": streamPath, "content-type": "application/grpc", te: "trailers" });
        stream.on("error", () => {}); // cut with its connection
        stream.close(constants.NGHTTP2_CANCEL);
      }
      expect(await reportOnce()).toBe(0);
    }
    await closed;
    expect(codes[0]).toBe(constants.NGHTTP2_ENHANCE_YOUR_CALM);
    expect(resets).toBeGreaterThan(limits.streamResets.burst);
    await expect.poll(() => ports.logged).toContainEqual(expect.objectContaining({ misconduct: "stream resets", endedCount: 1 }));
    other.send({ case: "hello", value: { mcpId: "demo" } });
    expect(await reportOnce()).toBe(0);
    other.cancel();
    expect((await other.ended).code).toBe(1);
  });

  it("whose client cancels all its calls at once, again and again, is kept", async () => {
    const session = connect(`http://${ports.grpcAddress}`);
    await once(session, "remoteSettings");
    for (let round = 0; round < 3; round += 1) {
      const streams = Array.from({ length: limits.streamsPerConnectionMax }, () =>
        session.request({ ":method": "POST", ":path": streamPath, "content-type": "application/grpc", te: "trailers" }),
      );
      for (const stream of streams) {
        stream.on("error", () => {}); // cancelled below
        stream.close(constants.NGHTTP2_CANCEL);
      }
      await Promise.all(streams.map((stream) => once(stream, "close")));
    }
    const [duration] = await new Promise<[number]>((resolve) => session.ping((_error, ms) => resolve([ms])));
    expect(duration).toBeGreaterThan(0);
    session.destroy();
  });

  it("that takes no answer may leave a few queries open; one more is refused with the quota, and taking the answers makes room", async () => {
    const session = connect(`http://${ports.grpcAddress}`, { settings: { initialWindowSize: 0 } });
    const ask = () => {
      const headers = {
        ":method": "POST",
        ":path": pathOf(QueryService.method.listInteractions),
        "content-type": "application/grpc",
        te: "trailers",
      };
      const stream = session.request(headers);
      stream.resume().end(Buffer.alloc(5));
      return stream;
    };
    const open = Array.from({ length: limits.queriesPerConnectionMax }, ask);
    await Promise.all(open.map((stream) => once(stream, "response")));
    const [refusal] = await once(ask(), "response");
    expect(refusal).toMatchObject({ "grpc-status": "8", "grpc-message": expect.stringContaining("queries%20without%20an%20answer") });
    expect((await callUnary(client, QueryService.method.listInteractions, create(ListInteractionsRequestSchema))).end.code).toBe(0);
    const answered = Promise.all(open.map((stream) => once(stream, "close")));
    session.settings({ initialWindowSize: 65_535 });
    await answered;
    const [trailers] = await once(ask(), "trailers");
    expect(trailers).toMatchObject({ "grpc-status": "0" });
    session.destroy();
  });

  it("has one such bound for the queries of all services, which keeps no request from an MCP", async () => {
    const session = connect(`http://${ports.grpcAddress}`, { settings: { initialWindowSize: 0 } });
    const ask = (method: DescMethodUnary) => {
      const headers = { ":method": "POST", ":path": pathOf(method), "content-type": "application/grpc", te: "trailers" };
      const stream = session.request(headers);
      stream.resume().end(Buffer.alloc(5));
      return stream;
    };
    const half = limits.queriesPerConnectionMax / 2;
    const methods = [QueryService.method.listInteractions, RoutingService.method.getRoutes];
    const open = methods.flatMap((method) => Array.from({ length: half }, () => ask(method)));
    await Promise.all(open.map((stream) => once(stream, "response")));
    for (const method of methods) {
      const [refusal] = await once(ask(method), "response");
      expect(refusal).toMatchObject({ "grpc-status": "8", "grpc-message": expect.stringContaining("queries%20without%20an%20answer") });
    }
    const [decided] = await once(ask(RoutingService.method.selectMcp), "response");
    expect(decided).toMatchObject({ "grpc-status": "14" });
    session.destroy();
  });

  it("that sends PING or SETTINGS is answered up to the bound, and ended above it", async () => {
    for (const frame of [frameOf(frameTypes.ping, 0, 0, Buffer.alloc(8)), settingsOf([])]) {
      const peer = await openRawPeer(ports.grpcPort);
      for (let sent = 0; sent < limits.controlFrames.burst - 100; sent += 100) {
        peer.write(Buffer.concat(Array.from({ length: 100 }, () => frame)));
        await untilAnswered(peer);
      }
      expect(peer.isOpen()).toBe(true);
      peer.write(Buffer.concat(Array.from({ length: 200 }, () => frame)));
      while (peer.isOpen()) await new Promise((resolve) => setTimeout(resolve, 5));
      expect(await reportOnce()).toBe(0);
    }
  });
});
