/**
 * `npx tsx bench/redis.ts`: events that a coordinator takes from a Redis stream, against events that the same coordinator takes in batches over gRPC, in
 * alternating rounds of one run on one store. Both sides are fed by one process that offers more than is taken. Counted is what is stored: acknowledged
 * entries here, acks there. ROUNDS (5), SECONDS (3) and WARMUP_MS (2000) by environment.
 */

import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Redis } from "ioredis";
import { createEventBytes, firstSequence } from "./event-bytes.js";
import { type BenchPostgres, findPostgres, freePort, startPostgres } from "./postgres.js";
import { runLoad, type ServerProcess, startCoordinatorProcess } from "./processes.js";

const rounds = numberOf("ROUNDS", 5);
const seconds = numberOf("SECONDS", 3);
const warmupMs = numberOf("WARMUP_MS", 2_000);
const target = 0.5;

const stream = "mcp:interactions";
const group = "mcp-coordinators";
/** Entries of one write of the producer, and entries that it keeps in front of the coordinator: more than the coordinator holds in work. */
const entriesPerWrite = 500;
const backlog = 20_000;

for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => process.exit(1));
const bin = findPostgres();
if (bin === undefined) throw new Error("no Postgres on this machine");
const postgres = await startPostgres(bin);
const redis = await startRedis();
try {
  await compare(postgres, redis);
} finally {
  redis.end();
  await postgres.remove();
}
process.exit(0);

async function compare(postgres: BenchPostgres, redis: BenchRedis): Promise<void> {
  process.env.MCPC_REDIS__URL = redis.url; // inherited by the coordinator
  const databaseUrl = await postgres.freshDatabase();
  const [port, webPort] = [await freePort(), await freePort()];
  const server: ServerProcess = await startCoordinatorProcess(port, webPort, ["--database-url", databaseUrl, "--log-level", "warn"]);
  const ratios: number[] = [];
  try {
    for (let round = 0; round < rounds; round += 1) {
      const measures = [() => measureGrpc(server.target), () => measureRedis(redis.url, round)];
      if (round % 2 === 1) measures.reverse();
      const [first, second] = [await measures[0]?.(), await measures[1]?.()];
      const [grpc = 0, viaRedis = 0] = round % 2 === 1 ? [second, first] : [first, second];
      ratios.push(viaRedis / grpc);
      say(
        `round ${round + 1}/${rounds}: Redis ${Math.round(viaRedis)}/s, gRPC in batches ${Math.round(grpc)}/s, ratio ${(viaRedis / grpc).toFixed(2)}`,
      );
    }
  } finally {
    await server.stop();
  }
  ratios.sort((a, b) => a - b);
  const middle = ratios.slice(Math.floor((ratios.length - 1) / 2), Math.floor(ratios.length / 2) + 1);
  const median = middle.reduce((sum, ratio) => sum + ratio, 0) / middle.length;
  const range = `${(ratios[0] ?? 0).toFixed(2)} to ${(ratios.at(-1) ?? 0).toFixed(2)}`;
  say(
    `${median >= target ? "ok  " : "MISS"} Redis intake : gRPC batched intake, median of ${rounds}: ${median.toFixed(2)} (${range}; at least ${target})`,
  );
}

async function measureGrpc(address: string): Promise<number> {
  const load = { streams: 50, window: 640, batch: 64, payloadBytes: 0, warmupMs, measureMs: seconds * 1000, events: undefined };
  return (await runLoad({ ...load, target: address, ackMode: "coalesced" })).perSecond;
}

/** Acknowledged entries per second, while more are added than are taken. */
async function measureRedis(url: string, round: number): Promise<number> {
  const client = new Redis(url);
  let isFeeding = true;
  const feeding = feed(client, round, () => isFeeding);
  await sleep(warmupMs);
  const before = await acknowledged(client);
  const startedAt = performance.now();
  await sleep(seconds * 1000);
  const events = (await acknowledged(client)) - before;
  const took = (performance.now() - startedAt) / 1000;
  isFeeding = false;
  const added = await feeding;
  // What is left must not be taken during the next measurement.
  while ((await acknowledged(client)) < added) await sleep(50);
  client.disconnect();
  return events / took;
}

/** Adds entries while there are fewer than `backlog` without an acknowledgement; gives how many the stream has ever had. */
async function feed(client: Redis, round: number, isWanted: () => boolean): Promise<number> {
  const events = createEventBytes("bench-redis", round, `redis-${round}`, 0);
  let next = firstSequence;
  let added = Number((await infoOf(client, "STREAM"))?.get("entries-added") ?? 0);
  let taken = await acknowledged(client);
  while (isWanted()) {
    if (added - taken > backlog) {
      await sleep(5);
    } else {
      const write = Array.from({ length: entriesPerWrite }, () => ["xadd", stream, "*", "event", events.next(next++)]);
      for (const [error] of (await client.pipeline(write).exec()) ?? []) if (error !== null) throw error;
      added += entriesPerWrite;
    }
    taken = await acknowledged(client);
  }
  return added;
}

/** Entries that the group was given, without those that are pending. */
async function acknowledged(client: Redis): Promise<number> {
  const facts = await infoOf(client, "GROUPS");
  return Number(facts?.get("entries-read") ?? 0) - Number(facts?.get("pending") ?? 0);
}

async function infoOf(client: Redis, what: "STREAM" | "GROUPS"): Promise<ReadonlyMap<string, unknown> | undefined> {
  const reply: unknown = await client.call("XINFO", what, stream);
  const rows: readonly unknown[] = Array.isArray(reply) ? reply : [];
  const flat =
    what === "STREAM" ? rows : rows.map((row): readonly unknown[] => (Array.isArray(row) ? row : [])).find((row) => row[1] === group);
  if (flat === undefined) return undefined;
  return new Map(flat.flatMap((name, i): [string, unknown][] => (i % 2 === 0 ? [[String(name), flat[i + 1]]] : [])));
}

type BenchRedis = { readonly url: string; readonly end: () => void };

/** A Redis of our own that syncs what it is told once a second, as its manual recommends. */
async function startRedis(): Promise<BenchRedis> {
  const dir = mkdtempSync(join(tmpdir(), "mcpc-bench-redis-"));
  const port = await freePort();
  const args = [
    "--port",
    String(port),
    "--bind",
    "127.0.0.1",
    "--dir",
    dir,
    "--save",
    "",
    "--appendonly",
    "yes",
    "--appendfsync",
    "everysec",
  ];
  const child = spawn("redis-server", args, { stdio: "ignore" });
  const end = (): void => {
    child.kill("SIGKILL");
    rmSync(dir, { recursive: true, force: true });
  };
  process.once("exit", end);
  await new Promise<void>((resolve, reject) => {
    child.once("spawn", resolve);
    child.once("error", () => reject(new Error("no redis-server on this machine")));
  });
  const url = `redis://127.0.0.1:${port}`;
  const client = new Redis(url, { retryStrategy: () => 50, maxRetriesPerRequest: 100 });
  client.on("error", () => undefined); // not listening yet: tried again
  await client.ping();
  client.disconnect();
  return { url, end };
}

function numberOf(name: string, fallback: number): number {
  const value = Number(process.env[name] ?? fallback);
  if (!Number.isFinite(value) || value <= 0) throw new Error(`${name} must be a number above 0`);
  return value;
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}
