import { randomBytes } from "node:crypto";
import { connect as connectHttp2, constants } from "node:http2";
import { gzipSync } from "node:zlib";
import { AckMode, Capability } from "../../gen/mcp/coordinator/v1/session_pb.js";
import { systemRng } from "../../src/platform/rng.js";
import { openGrpcClient } from "../support/grpc-client.js";
import { makeEvent } from "../support/make-event.js";
import { RawStream } from "../support/raw-stream.js";
import {
  endHeadersFlag,
  frameOf,
  frameTypes,
  grpcHeaders,
  headerBlock,
  initialWindowSetting,
  openRawPeer,
  type RawPeer,
  settingsOf,
} from "./http2-frames.js";
import { plannedId } from "./plan.js";
import { sleep } from "./site.js";

const streamPath = "/mcp.coordinator.v1.InteractionService/StreamInteractions";

/** What was done, for the report, how much of it, and how the coordinator answered, by kind of message or stream. */
export type Abused = { readonly what: string; readonly sent: number; readonly answers?: Readonly<Record<string, string>> };

/** Does something bad to the gRPC port of this machine until `untilMs` of the monotonic clock. */
type Abuse = (port: number, untilMs: number) => Promise<Abused>;

/** Bad peers by name. Each runs in a process of its own, so that what it costs is not taken for what the coordinator's healthy clients feel. */
export const abuses = {
  slowConsumers,
  windowViolator,
  gzipBombs,
  rapidReset,
  continuationFlood,
  controlFlood,
  zeroWindow,
  slowLoris,
  windowOverflow,
} as const satisfies Readonly<Record<string, Abuse>>;

/** Eight peers that send and never read. Refused events: each is answered at once and at length. */
async function slowConsumers(port: number, untilMs: number): Promise<Abused> {
  const client = openGrpcClient(`127.0.0.1:${port}`);
  const labels = Object.fromEntries(Array.from({ length: 16 }, (_, index) => [`${"k".repeat(50)}${index}`, "\0"]));
  const ends: string[] = [];
  const streams = Array.from({ length: 8 }, () => new RawStream(client));
  for (const stream of streams) {
    stream.pause();
    void stream.ended.then(({ code }) => ends.push(String(code)));
  }
  let sent = 0;
  while (performance.now() < untilMs) {
    for (const stream of streams) {
      if (stream.send({ case: "eventBatch", value: { events: Array.from({ length: 50 }, () => ({ interactionId: "i", labels })) } }))
        sent += 50;
    }
    await sleep(25);
  }
  const answers = { streams: `${ends.length} of 8 ended${ends.length === 0 ? "" : ` with ${[...new Set(ends)].join(", ")}`}` };
  for (const stream of streams) stream.cancel();
  client.close();
  return { what: "8 peers that send and never read", sent, answers };
}

async function windowViolator(port: number, untilMs: number): Promise<Abused> {
  const client = openGrpcClient(`127.0.0.1:${port}`);
  const stream = new RawStream(client);
  const producerId = `violator-${process.pid}`;
  stream.send({
    case: "hello",
    value: { mcpId: "violator", producerId, ackMode: AckMode.COALESCED, capabilities: [Capability.FLOW_CONTROL] },
  });
  await stream.first("welcome");
  let end = "kept";
  void stream.ended.then(({ code, message }) => {
    end = `ended with ${code} ${message}`;
  });
  let sent = 0;
  while (performance.now() < untilMs && end === "kept") {
    const events = Array.from({ length: 500 }, () =>
      makeEvent({ mcpId: "violator", interactionId: `v-${sent}`, sequence: BigInt(++sent), eventId: plannedId(systemRng, Date.now()) }),
    );
    // What the call does not take waits in the client.
    if (!stream.send({ case: "eventBatch", value: { events } })) await sleep(5);
  }
  stream.cancel();
  client.close();
  return { what: `${sent} events against a window of 1 000`, sent, answers: { stream: end } };
}

async function gzipBombs(port: number, untilMs: number): Promise<Abused> {
  const bomb = gzipSync(Buffer.alloc(256 * 1024 * 1024), { level: 9 });
  const bodies: Readonly<Record<string, Buffer>> = {
    ...{ bomb, nested: gzipSync(bomb), claimed: randomBytes(4_096), truncated: bomb.subarray(0, bomb.length / 2) },
  };
  const answers: Record<string, string> = {};
  let sent = 0;
  // Each once at least: making them takes longer than the time allows where the processors are busy.
  do {
    for (const [name, body] of Object.entries(bodies)) {
      answers[name] = await callCompressed(port, body);
      sent += 1;
    }
  } while (performance.now() < untilMs);
  return { what: `${sent} compressed messages, bombs of 256 MiB among them`, sent, answers };
}

/** Sends one message whose flag says that it is compressed. Resolves with grpc-status. */
function callCompressed(port: number, body: Buffer): Promise<string> {
  return new Promise((resolve) => {
    const session = connectHttp2(`http://127.0.0.1:${port}`);
    session.on("error", () => resolve("connection lost"));
    const stream = session.request({
      ":method": "POST",
      ":path": streamPath,
      "content-type": "application/grpc",
      "grpc-encoding": "gzip",
      te: "trailers",
    });
    const settle = (status: unknown): void => {
      resolve(String(status));
      session.destroy();
    };
    stream.on("response", (headers) => {
      if (headers["grpc-status"] !== undefined) settle(headers["grpc-status"]);
    });
    stream.on("trailers", (trailers) => settle(trailers["grpc-status"]));
    stream.on("error", () => settle("reset"));
    stream.on("close", () => settle("closed"));
    stream.resume();
    const head = Buffer.alloc(5);
    head[0] = 1;
    head.writeUInt32BE(body.length, 1);
    stream.end(Buffer.concat([head, body]));
  });
}

async function rapidReset(port: number, untilMs: number): Promise<Abused> {
  let sessions = 0;
  let resets = 0;
  while (performance.now() < untilMs) {
    const session = connectHttp2(`http://127.0.0.1:${port}`);
    sessions += 1;
    let isOpen = true;
    session.on("error", () => {});
    session.on("close", () => {
      isOpen = false;
    });
    while (isOpen && performance.now() < untilMs) {
      for (let burst = 0; burst < 100 && isOpen && !session.destroyed && !session.closed; burst += 1) {
        const stream = session.request({ ":method": "POST", ":path": streamPath, "content-type": "application/grpc", te: "trailers" });
        stream.on("error", () => {});
        stream.close(constants.NGHTTP2_CANCEL);
        resets += 1;
      }
      await sleep(10);
    }
    session.destroy();
    await sleep(20);
  }
  return { what: `${resets} streams opened and reset over ${sessions} connections`, sent: resets };
}

async function continuationFlood(port: number, untilMs: number): Promise<Abused> {
  const filler = frameOf(
    frameTypes.continuation,
    0,
    1,
    headerBlock(Array.from({ length: 60 }, (_, index) => [`x-${index}`, "v".repeat(100)] as const)),
  );
  return flood(port, untilMs, frameOf(frameTypes.headers, 0, 1, headerBlock(grpcHeaders(streamPath))), filler, "CONTINUATION frames", true);
}

async function controlFlood(port: number, untilMs: number): Promise<Abused> {
  const pings = Buffer.concat(Array.from({ length: 50 }, () => frameOf(frameTypes.ping, 0, 0, Buffer.alloc(8))));
  const settings = Buffer.concat(Array.from({ length: 50 }, () => settingsOf([[initialWindowSetting, 65_535]])));
  const [one, other] = await Promise.all([
    flood(port, untilMs, Buffer.alloc(0), pings, "×50 PING frames", false),
    flood(port, untilMs, Buffer.alloc(0), settings, "×50 SETTINGS frames", false),
  ]);
  return { what: `${one.what}, ${other.what}`, sent: one.sent + other.sent };
}

/** Writes `filler` without end, on a new connection whenever the server ends one. */
async function flood(port: number, untilMs: number, opening: Buffer, filler: Buffer, name: string, isReading: boolean): Promise<Abused> {
  let frames = 0;
  let connections = 0;
  while (performance.now() < untilMs) {
    const peer = await openRawPeer(port);
    connections += 1;
    if (!isReading) peer.stopReading();
    if (opening.length > 0) peer.write(opening);
    while (peer.isOpen() && performance.now() < untilMs) {
      for (let burst = 0; burst < 20 && peer.write(filler); burst += 1) frames += 1;
      await sleep(2);
    }
    peer.close();
    await sleep(20);
  }
  return { what: `${frames} ${name} over ${connections} connections`, sent: frames };
}

async function zeroWindow(port: number, untilMs: number): Promise<Abused> {
  const peers: RawPeer[] = [];
  let streams = 0;
  const empty = frameOf(frameTypes.data, 1, 1, Buffer.alloc(5));
  for (let index = 0; index < 20; index += 1) {
    const peer = await openRawPeer(port, settingsOf([[initialWindowSetting, 0]]));
    peers.push(peer);
    for (let id = 1; id < 200; id += 2, streams += 1) {
      peer.write(
        frameOf(frameTypes.headers, endHeadersFlag, id, headerBlock(grpcHeaders("/mcp.coordinator.v1.QueryService/ListInteractions"))),
      );
      const body = Buffer.from(empty);
      body.writeUInt32BE(id, 5);
      peer.write(body);
    }
  }
  await sleep(Math.max(0, untilMs - performance.now()));
  for (const peer of peers) peer.close();
  return { what: `${streams} calls whose answers have no window`, sent: streams };
}

async function slowLoris(port: number, untilMs: number): Promise<Abused> {
  const head = frameOf(frameTypes.headers, endHeadersFlag, 1, headerBlock(grpcHeaders(streamPath)));
  const peers = await Promise.all(Array.from({ length: 200 }, () => openRawPeer(port)));
  for (let at = 0; performance.now() < untilMs; at += 1) {
    for (const peer of peers) peer.write(head.subarray(at % head.length, (at % head.length) + 1));
    await sleep(100);
  }
  const alive = peers.filter((peer) => peer.isOpen()).length;
  for (const peer of peers) peer.close();
  return { what: `200 connections, ${alive} still open at the end`, sent: peers.length };
}

async function windowOverflow(port: number, untilMs: number): Promise<Abused> {
  const increment = Buffer.alloc(4);
  increment.writeUInt32BE(0x7fffffff, 0);
  const zero = Buffer.alloc(4);
  let errors = 0;
  let ended = 0;
  while (performance.now() < untilMs) {
    const peer = await openRawPeer(port);
    // Each stream makes the server reset it: a window update of zero is a stream error.
    for (let id = 1; id < 400; id += 2, errors += 1) {
      peer.write(frameOf(frameTypes.headers, endHeadersFlag, id, headerBlock(grpcHeaders(streamPath))));
      peer.write(frameOf(frameTypes.windowUpdate, 0, id, zero));
    }
    peer.write(frameOf(frameTypes.windowUpdate, 0, 0, increment));
    peer.write(frameOf(frameTypes.windowUpdate, 0, 0, increment));
    await sleep(50);
    if (!peer.isOpen()) ended += 1;
    peer.close();
  }
  return { what: `${errors} streams that provoke a reset, ${ended} connections ended for an overflow`, sent: errors };
}
