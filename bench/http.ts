/**
 * `npx tsx bench/http.ts`: single reports posted over 64 connections, to the coordinator as a user starts it and to the same HTTP API over a store that
 * keeps nothing. Rounds alternate; the ratio of the medians is the result, and is held against the target. SECONDS, ROUNDS, CONNECTIONS and STORE=embedded
 * change it. Needs a build.
 */

import { mkdtempSync, rmSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { findPostgres, freePort, startPostgres } from "./postgres.js";
import { type ServerProcess, startBenchServer, startCoordinatorProcess } from "./processes.js";

const seconds = Number(process.env.SECONDS ?? 5);
const rounds = Number(process.env.ROUNDS ?? 5);
const connectionCount = Number(process.env.CONNECTIONS ?? 64);
/** Posts of one connection before measuring begins. */
const warmupPosts = 50;
const target = 0.5;
/** Runs of `postMany` so far: no two of them name the same interaction. */
let runCount = 0;

type Measured = { readonly perSecond: number; readonly p50Ms: number; readonly p99Ms: number };

const scratch = mkdtempSync(join(tmpdir(), "mcpc-bench-http-"));
const bin = process.env.STORE === "embedded" ? undefined : findPostgres();
const postgres = bin === undefined ? undefined : await startPostgres(bin);
const servers: ServerProcess[] = [];
try {
  const [grpcPort, storedPort, storelessPort] = [await freePort(), await freePort(), await freePort()];
  const store = postgres === undefined ? ["--data-dir", join(scratch, "data")] : ["--database-url", await postgres.freshDatabase()];
  servers.push(
    await startCoordinatorProcess(grpcPort, storedPort, store),
    await startBenchServer("http-storeless", [String(storelessPort)], storelessPort),
  );
  const stored: Measured[] = [];
  const storeless: Measured[] = [];
  for (let round = 0; round < rounds; round += 1) {
    stored.push(await measure(storedPort));
    storeless.push(await measure(storelessPort));
  }
  const where = postgres === undefined ? "the embedded store" : `Postgres ${postgres.version}`;
  say(`single posts over ${connectionCount} connections, ${rounds} rounds of ${seconds} s, medians:`);
  say(`  stored in ${where}: ${describe(stored)}`);
  say(`  answered without storing: ${describe(storeless)}`);
  const ratio = median(stored, "perSecond") / median(storeless, "perSecond");
  say(`ratio ${ratio.toFixed(2)}, target ${target}: ${ratio >= target ? "met" : "missed"}`);
  if (ratio < target) process.exitCode = 1;
} finally {
  for (const server of servers) await server.stop();
  await postgres?.remove();
  rmSync(scratch, { recursive: true, force: true });
}

/** One round: every connection posts, waits for the answer, and posts again. */
async function measure(port: number): Promise<Measured> {
  const sockets = await Promise.all(Array.from({ length: connectionCount }, () => open(port)));
  await Promise.all(sockets.map((socket, i) => postMany(socket, i, warmupPosts, Number.POSITIVE_INFINITY)));
  const startedAt = performance.now();
  const until = startedAt + seconds * 1_000;
  const times = (await Promise.all(sockets.map((socket, i) => postMany(socket, i, Number.POSITIVE_INFINITY, until)))).flat();
  const tookSeconds = (performance.now() - startedAt) / 1_000;
  for (const socket of sockets) socket.destroy();
  times.sort((one, other) => one - other);
  const at = (share: number) => times[Math.min(times.length - 1, Math.floor(times.length * share))] ?? Number.NaN;
  return { perSecond: times.length / tookSeconds, p50Ms: at(0.5), p99Ms: at(0.99) };
}

function open(port: number): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, "127.0.0.1", () => resolve(socket.setNoDelay(true)));
    socket.once("error", reject);
  });
}

/** The time that each post took.     Units: ms. */
async function postMany(socket: Socket, connection: number, maxCount: number, untilMs: number): Promise<number[]> {
  const times: number[] = [];
  runCount += 1;
  const name = `${process.pid}_${runCount}`;
  for (let i = 0; i < maxCount && performance.now() < untilMs; i += 1) {
    const startedAt = performance.now();
    await post(socket, bodyOf(name, connection, i));
    times.push(performance.now() - startedAt);
  }
  return times;
}

/** A start, then the end of the same interaction: the bodies of the reporter guide. */
function bodyOf(name: string, connection: number, i: number): string {
  const about = `"interaction_id":"int_${name}_${i >> 1}","mcp_id":"mcp_${connection % 8}","timestamp":${Date.now() / 1_000}`;
  return i % 2 === 0
    ? `{"action":"interaction_start",${about},"request_data":{"user_id":"user_12345","request_type":"ocr","input_size":1024,"parameters":{"quality_level":"high"}}}`
    : `{"action":"interaction_complete",${about},"result_data":{"success":true,"output_size":2048,"processing_time":5.333,"quality_score":0.95,"adapter_used":"local"}}`;
}

/** Writes one request and reads its answer. Anything but 200 ends the run: what is refused is no figure. */
function post(socket: Socket, body: string): Promise<void> {
  return new Promise((resolve, reject) => {
    let text = "";
    const onData = (chunk: Buffer) => {
      text += chunk.toString("latin1");
      const end = text.indexOf("\r\n\r\n");
      if (end < 0 || text.length < end + 4 + Number(/content-length: (\d+)/i.exec(text)?.[1])) return;
      socket.off("data", onData);
      if (text.startsWith("HTTP/1.1 200")) resolve();
      else reject(new Error(text));
    };
    socket.on("data", onData);
    socket.write(
      `POST /api/v2/interactions HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
    );
  });
}

function describe(measured: readonly Measured[]): string {
  return `${Math.round(median(measured, "perSecond"))}/s, p50 ${median(measured, "p50Ms").toFixed(1)} ms, p99 ${median(measured, "p99Ms").toFixed(1)} ms`;
}

function median(measured: readonly Measured[], key: keyof Measured): number {
  const sorted = measured.map((one) => one[key]).sort((one, other) => one - other);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}
