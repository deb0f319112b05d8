import { mkdtempSync, rmSync } from "node:fs";
import { loadavg, tmpdir } from "node:os";
import { join } from "node:path";
import { createLatencies, type Latencies } from "../../src/client/latencies.js";
import { openLedgerFile } from "../../src/client/ledger-file.js";
import { createStreamSession, type StreamSession } from "../../src/client/stream-session.js";
import { encodeEvent } from "../../src/client/wire/frames.js";
import { durationOf, timestampOf } from "../../src/client/wire/time.js";
import { mintUuidV7 } from "../../src/platform/uuid-v7.js";
import { type RunningCoordinator, runCli, startCoordinatorProcess } from "../support/coordinator.js";
import { startPostgres } from "../support/postgres.js";
import { conclude, readProcess, say, setting, sleep, until } from "./results.js";

/** Two coordinators, many clients that know both, steady load; each coordinator is ended with SIGTERM and started again. */
export async function runRolling(): Promise<void> {
  const streams = setting("STREAMS", 1_000);
  const perSecond = setting("PER_SECOND", 500);
  const undisturbedMs = setting("UNDISTURBED_MS", 15_000);
  const dir = mkdtempSync(join(tmpdir(), "mcpc-drill-"));
  const postgres = await startPostgres();
  const coordinators = [
    await startCoordinatorProcess({ databaseUrl: postgres.url }),
    await startCoordinatorProcess({ databaseUrl: postgres.url }),
  ];
  try {
    const clients = new RollingClients(
      join(dir, "ledger.jsonl"),
      streams,
      coordinators.map(({ target }) => target),
    );
    await until("all streams are up", 120_000, () => clients.activeCount === streams);
    clients.phase = "undisturbed";
    const load = clients.report(perSecond);
    say(`${streams} streams are up, ${perSecond} events/s; undisturbed for ${undisturbedMs} ms`);
    await sleep(undisturbedMs);
    const drainMs: number[] = [];
    const exits: (number | string)[] = [];
    const cpu = { clients: 0, survivor: 0 };
    for (const index of [0, 1]) {
      clients.phase = "disturbed";
      const [survivor] = coordinators.filter((_, at) => at !== index);
      const before = { clients: process.cpuUsage(), survivor: readProcess(survivor?.pid ?? 0).cpuSeconds };
      const ended = await restart(coordinators, index, postgres.url);
      drainMs.push(ended.drainMs);
      exits.push(ended.exit);
      await until("all streams are up again", 60_000, () => clients.activeCount === streams);
      const { user, system } = process.cpuUsage(before.clients);
      cpu.clients += (user + system) / 1e6;
      cpu.survivor += readProcess(survivor?.pid ?? 0).cpuSeconds - before.survivor;
      say(`coordinator ${index + 1}: drained in ${Math.round(ended.drainMs)} ms, exit ${ended.exit}; all streams up`);
      clients.phase = "undisturbed";
      await sleep(undisturbedMs / 3);
    }
    clients.stop();
    await load;
    await clients.close();
    const { stdout } = await runCli(["verify", clients.path, "--target", coordinators[0]?.target ?? "", "--json"]);
    const verified = JSON.parse(stdout) as Readonly<Record<"ok" | "lost" | "unexpected" | "duplicated" | "differing", number>>; // printed by verify
    say(`verify: ${stdout.trim()}`);
    const [calm, moved] = [clients.latencies.undisturbed, clients.latencies.disturbed];
    const addedMs = moved.quantile(0.99) - calm.quantile(0.99);
    const wrong = verified.lost + verified.duplicated + verified.unexpected + verified.differing;
    const isDrained = Math.max(...drainMs) < 30_000 && exits.every((exit) => exit === 0);
    const settings = { streams, perSecond, undisturbedMs, exits, loadAverage: loadavg()[0], failures: clients.failures };
    conclude("rolling", settings, [
      { name: "stream endings other than OK", value: clients.failureCount, unit: "", target: "0", isMet: clients.failureCount === 0 },
      { name: "longest drain, SIGTERM to exit 0", value: Math.max(...drainMs) / 1000, unit: "s", target: "< 30 s", isMet: isDrained },
      { name: "ack p99 undisturbed", value: calm.quantile(0.99), unit: "ms" },
      { name: "ack p50 of events reported during a restart", value: moved.quantile(0.5), unit: "ms" },
      { name: "ack p99 of events reported during a restart", value: moved.quantile(0.99), unit: "ms" },
      { name: "longest ack during a restart", value: moved.max(), unit: "ms" },
      { name: "added ack latency, p99", value: addedMs, unit: "ms", target: "< 2 000 ms", isMet: addedMs < 2_000 },
      { name: "processor time of the clients during both restarts", value: cpu.clients, unit: "s" },
      { name: "processor time of the other coordinator, both restarts", value: cpu.survivor, unit: "s" },
      { name: "reconnects", value: clients.reconnects, unit: "" },
      { name: "events acknowledged and stored as sent", value: verified.ok, unit: "" },
      { name: "lost, duplicated, unexpected or differing", value: wrong, unit: "", target: "0", isMet: wrong === 0 },
    ]);
  } finally {
    for (const coordinator of coordinators) await coordinator.stop();
    await postgres[Symbol.asyncDispose]();
    rmSync(dir, { recursive: true, force: true });
  }
}

async function restart(coordinators: RunningCoordinator[], index: number, databaseUrl: string) {
  const coordinator = coordinators[index];
  if (coordinator === undefined) throw new Error(`there is no coordinator ${index}`);
  const startedAtMs = performance.now();
  coordinator.signal("SIGTERM");
  const exit = await coordinator.exited;
  const drainMs = performance.now() - startedAtMs;
  await coordinator.stop();
  coordinators[index] = await startCoordinatorProcess({ databaseUrl, flags: ["--grpc-port", coordinator.target.split(":")[1] ?? ""] });
  return { drainMs, exit };
}

/** The clients: sessions as any user has them, a ledger of all, and how long each event waited from its report to its verdict. */
class RollingClients {
  readonly path: string;
  /** By the phase in which an event was reported. */
  readonly latencies = { undisturbed: createLatencies(), disturbed: createLatencies() } satisfies Record<string, Latencies>;
  /** How often a stream ended with which status. */
  readonly failures: Record<string, number> = {};
  phase: "undisturbed" | "disturbed" = "undisturbed";
  readonly #ledger;
  readonly #sessions: readonly StreamSession[];
  readonly #waiting = new Map<string, { readonly atMs: number; readonly latencies: Latencies }>();
  #isStopped = false;

  constructor(path: string, streams: number, targets: readonly string[]) {
    this.path = path;
    this.#ledger = openLedgerFile(path);
    this.#sessions = Array.from({ length: streams }, (_, index) => this.#open(index, targets));
  }

  get activeCount(): number {
    return this.#sessions.filter(({ state }) => state.kind === "active").length;
  }
  get failureCount(): number {
    return Object.values(this.failures).reduce((sum, count) => sum + count, 0);
  }
  get reconnects(): number {
    return this.#sessions.reduce((sum, { counters }) => sum + counters.reconnects, 0);
  }

  /** Reports events over all sessions in turn, at a steady pace, until `stop`. */
  async report(perSecond: number): Promise<void> {
    const startedAtMs = performance.now();
    for (let index = 0; !this.#isStopped; index++) {
      const aheadMs = (index * 1000) / perSecond - (performance.now() - startedAtMs);
      if (aheadMs > 2) await sleep(aheadMs);
      this.#reportOne(index);
    }
  }

  stop(): void {
    this.#isStopped = true;
  }

  /** Waits for the last verdicts. */
  async close(): Promise<void> {
    const closed = await Promise.all(this.#sessions.map((session) => session.close()));
    for (const { kind } of closed) if (kind !== "done") this.#count(`closed ${kind}`);
    this.#ledger[Symbol.dispose]();
  }

  #open(index: number, targets: readonly string[]): StreamSession {
    const order = index % 2 === 0 ? targets : [...targets].reverse();
    let failure: StreamSession["lastFailure"];
    const session = createStreamSession({
      endpoint: { target: order.join(","), key: undefined },
      mcpId: mcpOf(index),
      onSettled: (settled) => {
        this.#ledger.settled(settled);
        const waiting = this.#waiting.get(settled.eventId);
        waiting?.latencies.record(performance.now() - waiting.atMs);
        this.#waiting.delete(settled.eventId);
      },
      onState: () => {
        if (session.lastFailure === failure) return;
        failure = session.lastFailure;
        this.#count(`${failure?.code}: ${failure?.details}`);
      },
    });
    return session;
  }

  #reportOne(index: number): void {
    const session = this.#sessions[index % this.#sessions.length];
    if (session === undefined) return;
    const eventId = mintUuidV7();
    const round = Math.floor(index / this.#sessions.length);
    const interactionId = `r-${Math.floor(round / 2)}`;
    const detail =
      round % 2 === 0
        ? { case: "start" as const, value: { requestType: "drill" } }
        : { case: "complete" as const, value: { processingTime: durationOf(5) } };
    const event = { eventId, interactionId, occurredAt: timestampOf(Date.now()), detail };
    this.#ledger.sent(eventId, mcpOf(index % this.#sessions.length), interactionId, encodeEvent(event));
    this.#waiting.set(eventId, { atMs: performance.now(), latencies: this.latencies[this.phase] });
    if (session.report(event) === undefined) throw new Error("an outbox is full: the load is more than the machine can take");
  }

  #count(name: string): void {
    this.failures[name] = (this.failures[name] ?? 0) + 1;
  }
}

function mcpOf(index: number): string {
  return `drill-${index % 200}`;
}
