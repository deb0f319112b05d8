/**
 * `npm run bench`: every row under every load, in alternating rounds of one run; prints one table and writes bench/results/<name>.json.
 * Settings by environment are in bench/README.md.
 */

import { mkdirSync, writeFileSync } from "node:fs";
import { cpus, release, totalmem } from "node:os";
import { fileURLToPath } from "node:url";
import { type Endurance, type Outage, outage, streamMany } from "./endurance.js";
import type { LoadResult } from "./load-client.js";
import { type BenchPostgres, findPostgres, startPostgres } from "./postgres.js";
import { type Absent, type Ask, openRows, type Row, type RowId } from "./rows.js";
import { enduranceLines, judgeTargets, loadTable, type Rounds, type Target } from "./table.js";

export type Load = { readonly id: string; readonly title: string; readonly ask: Omit<Ask, "warmupMs" | "measureMs" | "events"> };

const loads: readonly Load[] = [
  { id: "one", title: "1 stream, 1 in flight", ask: { streams: 1, window: 1, batch: 1, payloadBytes: 0 } },
  { id: "10x100", title: "10 streams × 100", ask: { streams: 10, window: 100, batch: 1, payloadBytes: 0 } },
  { id: "50x200", title: "50 streams × 200, single events", ask: { streams: 50, window: 200, batch: 1, payloadBytes: 0 } },
  { id: "50x640", title: "50 streams × 640, batches of 64", ask: { streams: 50, window: 640, batch: 64, payloadBytes: 0 } },
  { id: "1KiB", title: "50 streams × 200, 1 KiB payload", ask: { streams: 50, window: 200, batch: 1, payloadBytes: 1_024 } },
];

const env = {
  rounds: numberOf("ROUNDS", 5),
  seconds: numberOf("SECONDS", 3),
  warmupMs: numberOf("WARMUP_MS", 2_000),
  outageSeconds: numberOf("OUTAGE_SECONDS", 60),
  events: numberOf("EVENTS", 1_000_000),
  rows: listOf("ROWS"),
  loads: listOf("LOADS"),
  isLong: process.env.LONG === "1",
  name: process.env.NAME ?? "latest",
};

const startedAt = new Date();
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => process.exit(1));
const bin = findPostgres();
const postgres = bin === undefined ? undefined : await startPostgres(bin);
try {
  await bench(postgres);
} finally {
  await postgres?.remove();
}

async function bench(postgres: BenchPostgres | undefined): Promise<void> {
  say(machineLine(postgres));
  const { rounds, absent } = await runRounds(postgres);
  say(loadTable(loads, rounds));
  for (const { id, reason } of absent) say(`row ${id} left out: ${reason}`);
  const endurance: Endurance[] = [];
  let storeOutage: Outage | undefined;
  const canEndure = postgres !== undefined && wants("ours-postgres") && !absent.some(({ id }) => id === "ours-postgres");
  if (canEndure && env.events > 0) endurance.push(await streamMany(postgres, "many", env.events, 1));
  if (canEndure && env.isLong) endurance.push(await streamMany(postgres, "long", 5_000_000, 64));
  if (canEndure && env.outageSeconds > 0) storeOutage = await outage(postgres, env.outageSeconds);
  say(enduranceLines(endurance, storeOutage));
  const targets = judgeTargets(rounds, endurance, storeOutage);
  say(targetLines(targets));
  const file = save({ rounds, absent, endurance, outage: storeOutage, targets, postgres: postgres?.version });
  say(`written to ${file}`);
}

/** Runs all rows under all loads. In each round every row comes once, in an order that rotates, so that no row always has the quiet moment. */
async function runRounds(postgres: BenchPostgres | undefined): Promise<{ rounds: Rounds; absent: readonly Absent[] }> {
  const { rows, absent } = await openRows(wants, postgres);
  const results: Record<string, Record<string, LoadResult[]>> = {};
  try {
    for (const load of loads.filter(({ id }) => env.loads.length === 0 || env.loads.includes(id))) {
      for (let round = 0; round < env.rounds; round++) {
        for (let turn = 0; turn < rows.length; turn++) await runOne(rows[(turn + round) % rows.length], load, round, results);
      }
    }
  } finally {
    for (const row of rows) await row.stop();
  }
  return { rounds: { titles: Object.fromEntries(rows.map(({ id, title }) => [id, title])), results }, absent };
}

async function runOne(
  row: Row | undefined,
  load: Load,
  round: number,
  results: Record<string, Record<string, LoadResult[]>>,
): Promise<void> {
  const result = await row?.run({ ...load.ask, warmupMs: env.warmupMs, measureMs: env.seconds * 1000, events: undefined });
  if (row === undefined || result === undefined) return;
  const ofLoad = results[load.id] ?? {};
  results[load.id] = { ...ofLoad, [row.id]: [...(ofLoad[row.id] ?? []), result] };
  process.stderr.write(
    `${load.id} round ${round + 1}/${env.rounds} ${row.id}: ${Math.round(result.perSecond)}/s p50 ${result.p50Ms.toFixed(2)} ms\n`,
  );
}

function wants(id: RowId): boolean {
  return env.rows.length === 0 || env.rows.includes(id);
}

function machineLine(postgres: BenchPostgres | undefined): string {
  const [cpu] = cpus();
  const machine = `${cpus().length} × ${cpu?.model ?? "unknown CPU"}, ${Math.round(totalmem() / 2 ** 30)} GiB, Linux ${release()}`;
  const settings = `${env.rounds} rounds of ${env.seconds} s`;
  return [
    `${machine}; Node ${process.version}; Postgres ${postgres?.version ?? "none"} (fsync and synchronous_commit on); ${settings}`,
    "Client, servers and Postgres share this machine: absolute figures are noise, ratios of one run are the result.",
  ].join("\n");
}

function targetLines(targets: readonly Target[]): string {
  return targets
    .map(({ title, need, got, isMet }) => `${isMet === undefined ? "-   " : isMet ? "ok  " : "MISS"} ${title}: ${got} (${need})`)
    .join("\n");
}

function save(content: Record<string, unknown>): string {
  const dir = new URL("results/", import.meta.url);
  mkdirSync(dir, { recursive: true });
  const file = fileURLToPath(new URL(`${env.name}.json`, dir));
  const machine = { node: process.version, cpus: cpus().length, model: cpus()[0]?.model, kernel: release() };
  writeFileSync(file, `${JSON.stringify({ startedAt, machine, settings: env, ...content }, null, 2)}\n`);
  return `bench/results/${env.name}.json`;
}

function numberOf(name: string, fallback: number): number {
  const text = process.env[name];
  if (text === undefined || text === "") return fallback;
  const value = Number(text);
  if (!Number.isFinite(value) || value < 0) throw new Error(`${name} must be a number, not "${text}"`);
  return value;
}

function listOf(name: string): readonly string[] {
  return (process.env[name] ?? "").split(",").filter((entry) => entry !== "");
}

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}
