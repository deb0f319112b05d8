/**
 * JetStream file publish-ack over NATS' text protocol, spoken by hand: as much of it as a publisher needs.
 * Source: docs.nats.io, "Client Protocol" and "JetStream wire API".
 */
import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createLatencies } from "../src/client/latencies.js";
import { createEventBytes, firstSequence } from "./event-bytes.js";
import type { LoadResult, LoadTask } from "./load-client.js";
import { freePort } from "./postgres.js";

export type NatsProcess = { readonly port: number; readonly pid: number; readonly remove: () => Promise<void> };

/** Path of nats-server, or undefined. */
export function findNats(): string | undefined {
  return (process.env.PATH ?? "")
    .split(":")
    .map((place) => join(place, "nats-server"))
    .find((file) => existsSync(file));
}

/** Starts nats-server with JetStream on files in a temporary directory, and makes the stream that the load is published to. */
export async function startNats(binary: string): Promise<NatsProcess> {
  const dir = mkdtempSync(join(tmpdir(), "mcpc-bench-nats-"));
  const port = await freePort();
  const child = spawn(binary, ["-a", "127.0.0.1", "-p", String(port), "-js", "-sd", dir], { stdio: "ignore" });
  const peer = await openWhenUp(port);
  const created = new Promise<void>((resolve) => {
    peer.onMessage = () => resolve();
  });
  peer.publish("$JS.API.STREAM.CREATE.bench", Buffer.from(JSON.stringify({ name: "bench", subjects: ["bench.*"], storage: "file" })));
  await created;
  peer.close();
  const remove = () =>
    new Promise<void>((resolve) => {
      child.once("exit", () => {
        rmSync(dir, { recursive: true, force: true });
        resolve();
      });
      child.kill("SIGTERM");
    });
  return { port, pid: child.pid ?? 0, remove };
}

/** The same load as load-client.ts: one connection per stream, `window` publishes waiting for their ack. Acks of JetStream come in order. */
export async function publishLoad(port: number, task: LoadTask): Promise<LoadResult> {
  const latencies = createLatencies();
  let acked = 0;
  let isMeasuring = false;
  let isStopped = false;
  const peers = await Promise.all(Array.from({ length: task.streams }, () => openPeer(port)));
  peers.forEach((peer, index) => {
    const events = createEventBytes(`bench-${index}`, index, `s${String(index).padStart(3, "0")}p${process.pid}`, task.payloadBytes);
    const sentAt: number[] = [];
    let next = firstSequence;
    const publish = () => {
      sentAt.push(performance.now());
      peer.publish(`bench.${index}`, events.next(next++));
    };
    peer.onMessage = () => {
      const at = sentAt.shift();
      acked++;
      if (isMeasuring && at !== undefined) latencies.record(performance.now() - at);
      if (!isStopped) publish();
    };
    for (let count = 0; count < task.window; count++) publish();
  });
  await sleep(task.warmupMs);
  isMeasuring = true;
  const before = acked;
  const startedAt = performance.now();
  await sleep(task.measureMs ?? 1_000);
  const seconds = (performance.now() - startedAt) / 1000;
  const events = acked - before;
  isStopped = true;
  for (const peer of peers) peer.close();
  const figures = { p50Ms: latencies.quantile(0.5), p99Ms: latencies.quantile(0.99), maxMs: latencies.max() };
  return { events, seconds, perSecond: events / seconds, ...figures, cpuShare: 0, tenths: [], series: [] };
}

type Peer = { onMessage: () => void; readonly publish: (subject: string, payload: Buffer) => void; readonly close: () => void };

async function openWhenUp(port: number): Promise<Peer> {
  for (let attempt = 0; ; attempt++) {
    try {
      return await openPeer(port);
    } catch (thrown) {
      // Edge of the polling loop: a server that still starts refuses connections.
      if (attempt >= 100) throw thrown;
      await sleep(100);
    }
  }
}

function openPeer(port: number): Promise<Peer> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, "127.0.0.1");
    socket.setNoDelay(true);
    const inbox = `_INBOX.${process.pid}.${Math.random().toString(36).slice(2)}`;
    const peer: Peer = {
      onMessage: () => undefined,
      publish: (subject, payload) => {
        socket.cork();
        socket.write(`PUB ${subject} ${inbox} ${payload.length}\r\n`);
        socket.write(payload);
        socket.write("\r\n");
        socket.uncork();
      },
      close: () => socket.destroy(),
    };
    socket.once("error", reject);
    socket.once("connect", () => {
      socket.write(`CONNECT {"verbose":false,"pedantic":false}\r\nSUB ${inbox} 1\r\n`);
      readMessages(socket, () => peer.onMessage());
      resolve(peer);
    });
  });
}

/** Calls `seen` for each MSG, answers each PING. INFO, +OK and PONG are passed over; -ERR ends the run. */
function readMessages(socket: Socket, seen: () => void): void {
  let rest: Buffer = Buffer.alloc(0);
  socket.on("data", (chunk: Buffer) => {
    rest = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    for (let end = rest.indexOf("\r\n"); end >= 0; end = rest.indexOf("\r\n")) {
      const line = rest.toString("latin1", 0, end);
      if (line.startsWith("MSG ")) {
        const whole = end + 2 + Number(line.slice(line.lastIndexOf(" ") + 1)) + 2;
        if (rest.length < whole) return;
        rest = rest.subarray(whole);
        seen();
        continue;
      }
      rest = rest.subarray(end + 2);
      if (line === "PING") socket.write("PONG\r\n");
      if (line.startsWith("-ERR")) throw new Error(`nats-server: ${line}`);
    }
  });
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
