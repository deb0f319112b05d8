import { randomBytes } from "node:crypto";
import { connect as connectHttp2, constants } from "node:http2";
import { gzipSync } from "node:zlib";
import { AckMode, Capability } from "../../gen/mcp/coordinator/v1/session_pb.js";
import { openGrpcClient } from "../support/grpc-client.js";
import { makeEvent } from "../support/make-event.js";
import { RawStream } from "../support/raw-stream.js";
import { addAudits, claim } from "./audit.js";
import { describeBeside, measureBeside } from "./bystanders.js";
import type { Drill, DrillContext, DrillResult } from "./fault.js";
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
import { type Seat, sleep } from "./site.js";

const streamPath = "/mcp.coordinator.v1.InteractionService/StreamInteractions";
const abuseMs = 5_000;

/** Peers that behave badly: how much of it is felt by those who do not. */
export const peerDrills: readonly Drill[] = [
  {
    kind: "drill",
    id: "F14",
    title: "slow consumers: they send and never read",
    run: async (context) => {
      const seat = seatOf(context);
      const client = openGrpcClient(`127.0.0.1:${seat.port}`);
      const streams: RawStream[] = [];
      const beside = await measureBeside(context, "slow", async () => {
        const labels = Object.fromEntries(Array.from({ length: 16 }, (_, index) => [`${"k".repeat(50)}${index}`, "\0"]));
        for (let index = 0; index < 8; index += 1) {
          const stream = new RawStream(client);
          stream.pause();
          streams.push(stream);
        }
        const untilMs = performance.now() + abuseMs;
        while (performance.now() < untilMs) {
          // Refused events: each is answered at once and at length, and nobody reads it.
          for (const stream of streams)
            stream.send({ case: "eventBatch", value: { events: Array.from({ length: 50 }, () => ({ interactionId: "i", labels })) } });
          await sleep(25);
        }
      });
      for (const stream of streams) stream.cancel();
      client.close();
      return { what: `8 peers that never read: ${describeBeside(beside)}`, injected: 8, ...beside };
    },
  },
  {
    kind: "drill",
    id: "F15",
    title: "a window violator: as many events as the wire takes",
    run: async (context) => {
      const seat = seatOf(context);
      const client = openGrpcClient(`127.0.0.1:${seat.port}`);
      const stream = new RawStream(client);
      let sent = 0;
      const beside = await measureBeside(context, "violator", async () => {
        const capabilities = [Capability.FLOW_CONTROL];
        stream.send({
          case: "hello",
          value: { mcpId: "violator", producerId: `violator-${context.seed}`, ackMode: AckMode.COALESCED, capabilities },
        });
        await stream.first("welcome");
        const untilMs = performance.now() + abuseMs;
        while (performance.now() < untilMs) {
          const events = Array.from({ length: 500 }, () =>
            makeEvent({
              mcpId: "violator",
              interactionId: `v-${sent}`,
              sequence: BigInt(++sent),
              eventId: plannedId(context.rng, Date.now()),
            }),
          );
          // 1 000 is the window; what the call does not take waits in the client, never in the coordinator.
          if (!stream.send({ case: "eventBatch", value: { events } })) await sleep(5);
        }
      });
      const end = await Promise.race([
        stream.ended.then(({ code, message }) => `ended with ${code} ${message}`),
        sleep(10).then(() => "kept"),
      ]);
      stream.cancel();
      client.close();
      return {
        what: `${sent} events against a window of 1 000, stream ${end}: ${describeBeside(beside)}`,
        injected: 1,
        ...beside,
        figures: { ...beside.figures, sent },
      };
    },
  },
  {
    kind: "drill",
    id: "F25",
    title: "gzip bombs, nested bombs, and messages that only claim to be compressed",
    run: async (context) => {
      const seat = seatOf(context);
      const bomb = gzipSync(Buffer.alloc(256 * 1024 * 1024), { level: 9 });
      const bodies: Readonly<Record<string, Buffer>> = {
        bomb,
        nested: gzipSync(bomb),
        claimed: randomBytes(4_096),
        truncated: bomb.subarray(0, bomb.length / 2),
      };
      const statuses = new Map<string, string>();
      let injected = 0;
      const beside = await measureBeside(context, "bomb", async () => {
        const untilMs = performance.now() + abuseMs;
        while (performance.now() < untilMs) {
          for (const [name, body] of Object.entries(bodies)) {
            statuses.set(name, await callCompressed(seat, body));
            injected += 1;
          }
        }
      });
      const expected = statuses.get("bomb") === "8" ? undefined : `a bomb of 256 MiB ended with grpc-status ${statuses.get("bomb")}, not 8`;
      // All of them are in one process, which is also serving the others.
      const grown = Number(beside.figures.heapAfterMib) > 16 ? `the heap kept ${beside.figures.heapAfterMib} MiB` : undefined;
      const audit = addAudits(addAudits(beside.audit, claim("I10", expected)), claim("I7", grown));
      const answers = [...statuses].map(([name, status]) => `${name} ${status}`).join(", ");
      return { what: `${injected} messages, grpc-status: ${answers}; ${describeBeside(beside)}`, injected, ...beside, audit };
    },
  },
  abuseDrill("F26a", "HTTP/2 rapid reset", rapidReset),
  abuseDrill("F26b", "HTTP/2 CONTINUATION flood", continuationFlood),
  abuseDrill("F26c", "HTTP/2 SETTINGS and PING floods from peers that do not read", controlFlood),
  abuseDrill("F26d", "HTTP/2 zero window: answers that can never leave", zeroWindow),
  abuseDrill("F26e", "HTTP/2 slow-loris: headers a byte at a time", slowLoris),
  abuseDrill("F26f", "HTTP/2 WINDOW_UPDATE overflow and streams reset by provoked errors", windowOverflow),
];

function seatOf({ site }: DrillContext): Seat {
  const [seat] = site.seats;
  if (seat === undefined) throw new Error("a site has a coordinator at least");
  return seat;
}

/** An abuse that goes on until its signal; says what it did. */
type Abuse = (seat: Seat, untilMs: number) => Promise<{ readonly what: string; readonly injected: number }>;

function abuseDrill(id: string, title: string, abuse: Abuse): Drill {
  return {
    kind: "drill",
    id,
    title,
    run: async (context): Promise<DrillResult> => {
      let done = { what: "", injected: 0 };
      const beside = await measureBeside(context, id, async () => {
        done = await abuse(seatOf(context), performance.now() + abuseMs);
      });
      return {
        what: `${done.what}; ${describeBeside(beside)}`,
        injected: 1,
        ...beside,
        figures: { ...beside.figures, sent: done.injected },
      };
    },
  };
}

/** Sends one message whose flag says that it is compressed. Resolves with grpc-status. */
function callCompressed(seat: Seat, body: Buffer): Promise<string> {
  return new Promise((resolve) => {
    const session = connectHttp2(`http://127.0.0.1:${seat.port}`);
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

async function rapidReset(seat: Seat, untilMs: number): Promise<{ what: string; injected: number }> {
  let sessions = 0;
  let resets = 0;
  while (performance.now() < untilMs) {
    const session = connectHttp2(`http://127.0.0.1:${seat.port}`);
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
  return { what: `${resets} streams opened and reset over ${sessions} connections`, injected: resets };
}

async function continuationFlood(seat: Seat, untilMs: number): Promise<{ what: string; injected: number }> {
  const filler = frameOf(
    frameTypes.continuation,
    0,
    1,
    headerBlock(Array.from({ length: 60 }, (_, index) => [`x-${index}`, "v".repeat(100)] as const)),
  );
  return flood(seat, untilMs, frameOf(frameTypes.headers, 0, 1, headerBlock(grpcHeaders(streamPath))), filler, "CONTINUATION frames", true);
}

async function controlFlood(seat: Seat, untilMs: number): Promise<{ what: string; injected: number }> {
  const pings = Buffer.concat(Array.from({ length: 50 }, () => frameOf(frameTypes.ping, 0, 0, Buffer.alloc(8))));
  const settings = Buffer.concat(Array.from({ length: 50 }, () => settingsOf([[initialWindowSetting, 65_535]])));
  const [one, other] = await Promise.all([
    flood(seat, untilMs, Buffer.alloc(0), pings, "×50 PING frames", false),
    flood(seat, untilMs, Buffer.alloc(0), settings, "×50 SETTINGS frames", false),
  ]);
  return { what: `${one.what}, ${other.what}`, injected: one.injected + other.injected };
}

/** Writes `filler` without end, on a new connection whenever the server ends one. */
async function flood(
  seat: Seat,
  untilMs: number,
  opening: Buffer,
  filler: Buffer,
  name: string,
  isReading: boolean,
): Promise<{ what: string; injected: number }> {
  let frames = 0;
  let connections = 0;
  while (performance.now() < untilMs) {
    const peer = await openRawPeer(seat.port);
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
  return { what: `${frames} ${name} over ${connections} connections`, injected: frames };
}

async function zeroWindow(seat: Seat, untilMs: number): Promise<{ what: string; injected: number }> {
  const peers: RawPeer[] = [];
  let streams = 0;
  const empty = frameOf(frameTypes.data, 1, 1, Buffer.alloc(5));
  for (let index = 0; index < 20; index += 1) {
    const peer = await openRawPeer(seat.port, settingsOf([[initialWindowSetting, 0]]));
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
  return { what: `${streams} calls whose answers have no window`, injected: streams };
}

async function slowLoris(seat: Seat, untilMs: number): Promise<{ what: string; injected: number }> {
  const head = frameOf(frameTypes.headers, endHeadersFlag, 1, headerBlock(grpcHeaders(streamPath)));
  const peers = await Promise.all(Array.from({ length: 200 }, () => openRawPeer(seat.port)));
  for (let at = 0; performance.now() < untilMs; at += 1) {
    for (const peer of peers) peer.write(head.subarray(at % head.length, (at % head.length) + 1));
    await sleep(100);
  }
  const alive = peers.filter((peer) => peer.isOpen()).length;
  for (const peer of peers) peer.close();
  return { what: `200 connections, ${alive} still open at the end`, injected: peers.length };
}

async function windowOverflow(seat: Seat, untilMs: number): Promise<{ what: string; injected: number }> {
  const increment = Buffer.alloc(4);
  increment.writeUInt32BE(0x7fffffff, 0);
  const zero = Buffer.alloc(4);
  let errors = 0;
  let ended = 0;
  while (performance.now() < untilMs) {
    const peer = await openRawPeer(seat.port);
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
  return { what: `${errors} streams that provoke a reset, ${ended} connections ended for an overflow`, injected: errors };
}
