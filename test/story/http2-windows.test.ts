import { once } from "node:events";
import { type ClientHttp2Session, type ClientHttp2Stream, connect, type Settings } from "node:http2";
import { create, toBinary } from "@bufbuild/protobuf";
import { Server, ServerCredentials } from "@grpc/grpc-js";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { InteractionService, ReportInteractionsRequestSchema } from "../../gen/mcp/coordinator/v1/interaction_service_pb.js";
import { grpcDefinition } from "../../src/rpc/grpc-definition.js";
import { raiseReceiveWindows } from "../../src/rpc/http2-windows.js";
import { type RpcPorts, startRpcPorts } from "../support/rpc-ports.js";

const mebibyte = 1024 * 1024;
const streamPath = "/mcp.coordinator.v1.InteractionService/StreamInteractions";
const reportPath = "/mcp.coordinator.v1.InteractionService/ReportInteractions";

let ports: RpcPorts;
let session: ClientHttp2Session;
/** What the port said of itself. Asked for at once: it comes when it comes. */
let announced: Promise<Settings>;
beforeEach(async () => {
  // A stream whose handler never reads: what a session does whose store is away.
  ports = await startRpcPorts({ stream: () => {} });
  session = connect(`http://${ports.grpcAddress}`);
  announced = once(session, "remoteSettings").then(([settings]) => settings);
});
afterEach(async () => {
  session?.destroy();
  await ports?.[Symbol.asyncDispose]();
});

function openStream(path: string): ClientHttp2Stream {
  const stream = session.request({ ":method": "POST", ":path": path, "content-type": "application/grpc", te: "trailers" });
  stream.on("error", () => {}); // streams are cut at the end of each test
  return stream;
}

/** Resolves once the transport has taken `bytes` more. */
const takes = (stream: ClientHttp2Stream, bytes: number): Promise<void> =>
  new Promise((resolve) => stream.write(Buffer.alloc(bytes), () => resolve()));

/** Whether `bytes` more were taken by the transport within the time that a sibling's whole call takes. */
async function isTaken(stream: ClientHttp2Stream, bytes: number): Promise<boolean> {
  let taken = false;
  stream.write(Buffer.alloc(bytes), () => {
    taken = true;
  });
  for (let round = 0; round < 5 && !taken; round += 1) await reportOnce();
  return taken;
}

/** One unary call on the same connection; gives its grpc-status. */
async function reportOnce(padding = 0): Promise<string> {
  const message = toBinary(ReportInteractionsRequestSchema, create(ReportInteractionsRequestSchema, { mcpId: "x".repeat(padding) }));
  const frame = Buffer.alloc(5 + message.byteLength);
  frame.writeUInt32BE(message.byteLength, 1);
  frame.set(message, 5);
  const stream = openStream(reportPath);
  stream.end(frame);
  stream.resume();
  const [trailers] = await once(stream, "trailers");
  return trailers["grpc-status"];
}

/** The head of a message of 3 MiB, so that the server waits for more and never for a decision of ours. */
function startLongMessage(stream: ClientHttp2Stream): void {
  const head = Buffer.alloc(5);
  head.writeUInt32BE(3 * mebibyte, 1);
  stream.write(head);
}

describe("the gRPC port", () => {
  it("announces a stream window of 1 MiB and opens the connection's to 8 MiB", async () => {
    const settings = await announced;
    expect(settings.initialWindowSize).toBe(mebibyte);
    expect(settings.maxConcurrentStreams).toBe(128);
    expect(await reportOnce()).toBe("0");
    expect(session.state.remoteWindowSize).toBeGreaterThan(7 * mebibyte);
  });

  it("takes a whole stream window from a peer while nobody reads it, and no more", async () => {
    const stream = openStream(streamPath);
    startLongMessage(stream);
    await takes(stream, mebibyte - 64);
    expect(await isTaken(stream, mebibyte / 2)).toBe(false); // Node itself reads up to 64 KiB ahead
  });

  it("serves other streams of a connection on which one stalls", async () => {
    const stalled = openStream(streamPath);
    startLongMessage(stalled);
    await takes(stalled, mebibyte - 64);
    stalled.write(Buffer.alloc(mebibyte));
    for (let round = 0; round < 20; round += 1) expect(await reportOnce(900_000)).toBe("0");
  });

  it("serves other streams even when stalled ones could fill the connection's window", async () => {
    for (let count = 0; count < 12; count += 1) {
      const stalled = openStream(streamPath);
      startLongMessage(stalled);
      await takes(stalled, mebibyte - 64);
    }
    expect(await reportOnce(900_000)).toBe("0");
  });
});

it("without the raise, grpc-js keeps 64 KiB: the reason for it still stands", async () => {
  const server = new Server();
  server.addService(grpcDefinition(InteractionService), {});
  const port = await new Promise<number>((resolve, reject) =>
    server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, bound) =>
      error === null ? resolve(bound) : reject(error),
    ),
  );
  const plain = connect(`http://127.0.0.1:${port}`);
  const [settings] = await once(plain, "remoteSettings");
  plain.destroy();
  server.forceShutdown();
  expect(settings.initialWindowSize).toBe(65_535);
});

it("a grpc-js that makes its servers another way is refused at start", () => {
  const renamed = Object.create(new Server(), { createHttp2Server: { value: undefined } });
  expect(() => raiseReceiveWindows(renamed)).toThrow("createHttp2Server");
});
