import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { LoadResult, LoadTask } from "./load-client.js";
import { findNats, publishLoad, startNats } from "./nats.js";
import { type BenchPostgres, freePort } from "./postgres.js";
import { runLoad, startCoordinatorProcess, startHandWritten } from "./processes.js";
import type { StatementResult, StatementTask } from "./statement.js";

export type RowId = "echo" | "single-insert" | "micro-batch" | "statement" | "ours-embedded" | "ours-postgres" | "jetstream";

/** What a load asks of a row; the row knows where and how acks come. */
export type Ask = Omit<LoadTask, "target" | "ackMode">;

/** A server that is up, ready for one load after another. */
export type Row = {
  readonly id: RowId;
  readonly title: string;
  /** Process of the server, for its memory; undefined where there is none. */
  readonly pid: number | undefined;
  /** Loads that mean nothing for this row are refused with undefined. */
  readonly run: (ask: Ask) => Promise<LoadResult | undefined>;
  readonly stop: () => Promise<void>;
};

/** A row that cannot be run here, and why. */
export type Absent = { readonly id: RowId; readonly reason: string };

const coordinatorMain = fileURLToPath(new URL("../dist/src/main.js", import.meta.url));

/** Starts every wanted row that this machine allows. */
export async function openRows(
  wanted: (id: RowId) => boolean,
  postgres: BenchPostgres | undefined,
): Promise<{ rows: Row[]; absent: Absent[] }> {
  const rows: Row[] = [];
  const absent: Absent[] = [];
  const open = async (id: RowId, make: () => Promise<Row> | string) => {
    if (!wanted(id)) return;
    const made = make();
    if (typeof made === "string") absent.push({ id, reason: made });
    else rows.push(await made);
  };
  await open("echo", () => handWritten("echo", "raw grpc-js echo, stores nothing", undefined));
  const noPostgres = "no Postgres on this machine";
  await open("single-insert", () =>
    postgres === undefined ? noPostgres : handWritten("single-insert", "hand-written, one INSERT per event", postgres),
  );
  await open("micro-batch", () =>
    postgres === undefined ? noPostgres : handWritten("micro-batch", "hand-written, micro-batched inserts", postgres),
  );
  await open("statement", () => (postgres === undefined ? noPostgres : statement(postgres)));
  const notBuilt = "dist/ is not built: npm run build";
  await open("ours-embedded", () => (existsSync(coordinatorMain) ? ours("ours-embedded", undefined) : notBuilt));
  await open("ours-postgres", () => {
    if (!existsSync(coordinatorMain)) return notBuilt;
    return postgres === undefined ? noPostgres : ours("ours-postgres", postgres);
  });
  const nats = findNats();
  await open("jetstream", () => (nats === undefined ? "no nats-server on PATH" : jetstream(nats)));
  return { rows, absent };
}

async function handWritten(id: "echo" | "single-insert" | "micro-batch", title: string, postgres: BenchPostgres | undefined): Promise<Row> {
  const server = await startHandWritten(id, await freePort(), await postgres?.freshDatabase());
  return { id, title, pid: server.pid, run: (ask) => runLoad({ ...ask, target: server.target, ackMode: "each" }), stop: server.stop };
}

/** The coordinator as its users start it, on a fresh database or in a fresh directory. */
export async function ours(id: "ours-embedded" | "ours-postgres", postgres: BenchPostgres | undefined): Promise<Row> {
  const dir = mkdtempSync(join(tmpdir(), "mcpc-bench-data-"));
  const sweep = () => rmSync(dir, { recursive: true, force: true });
  process.once("exit", sweep);
  const store =
    postgres === undefined ? ["--data-dir", join(dir, "data")] : ["--database-url", await postgres.freshDatabase(), "--data-dir", dir];
  const server = await startCoordinatorProcess(await freePort(), await freePort(), store);
  return {
    id,
    title: postgres === undefined ? "ours, embedded store" : "ours, Postgres",
    pid: server.pid,
    run: (ask) => runLoad({ ...ask, target: server.target, ackMode: "coalesced" }),
    stop: async () => {
      await server.stop();
      process.off("exit", sweep);
      sweep();
    },
  };
}

async function statement(postgres: BenchPostgres): Promise<Row> {
  const databaseUrl = await postgres.freshDatabase();
  return {
    id: "statement",
    title: "the ingest statement alone",
    pid: undefined,
    run: async (ask) =>
      ask.batch > 1 && ask.measureMs !== undefined
        ? runStatement({ databaseUrl, warmupMs: ask.warmupMs, measureMs: ask.measureMs })
        : undefined,
    stop: async () => undefined,
  };
}

async function runStatement(task: StatementTask): Promise<LoadResult> {
  const file = fileURLToPath(new URL("statement.ts", import.meta.url));
  const child = spawn(process.execPath, ["--import", "tsx", file, JSON.stringify(task)], { stdio: ["ignore", "pipe", "inherit"] });
  let text = "";
  child.stdout.on("data", (chunk: Buffer) => {
    text += chunk.toString();
  });
  const code = await new Promise<number | null>((resolve) => child.once("close", resolve));
  if (code !== 0) throw new Error(`the statement row ended with ${code}`);
  // Printed by statement.ts of the same build.
  const { events, perSecond } = JSON.parse(text) as StatementResult;
  return { events, perSecond, seconds: events / perSecond, p50Ms: 0, p99Ms: 0, maxMs: 0, cpuShare: 0, tenths: [], series: [] };
}

async function jetstream(binary: string): Promise<Row> {
  const nats = await startNats(binary);
  return {
    id: "jetstream",
    title: "NATS JetStream, file, publish-ack",
    pid: nats.pid,
    run: async (ask) => (ask.batch === 1 ? publishLoad(nats.port, { ...ask, target: "", ackMode: "each" }) : undefined),
    stop: nats.remove,
  };
}
