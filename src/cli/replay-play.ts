import type { Endpoint } from "../client/connect.js";
import { createLatencies, type Latencies } from "../client/latencies.js";
import type { LedgerFile } from "../client/ledger-file.js";
import type { SessionCounters, Settled } from "../client/options.js";
import { describeClose } from "../client/session.js";
import { createStreamSession, type StreamSession } from "../client/stream-session.js";
import { encodeEvent } from "../client/wire/frames.js";
import type { Clock } from "../platform/clock.js";
import type { Rng } from "../platform/rng.js";
import { mintUuidV7 } from "../platform/uuid-v7.js";
import { DueHeap } from "./due-heap.js";
import { secondsOf } from "./duration.js";
import { CliFailure } from "./exit-code.js";
import { eventOf, type InteractionPlan, type PlannedEvent, planInteraction } from "./interaction-plan.js";
import { readTrace, type TraceRow } from "./trace.js";

/** What to play. `mcpId` undefined gives each stream an MCP of its own. */
export type PlayTask = {
  readonly tracePath: string;
  readonly limit: number;
  readonly speed: number;
  readonly mcpCount: number;
  readonly mcpId: string | undefined;
  readonly endpoint: Endpoint;
  /** Keep every event for a later comparison: some 250 bytes each. */
  readonly keepsEvents: boolean;
  /** How long events may wait for a verdict while none comes. */
  readonly ackMaxMs: number;
};

/** What playing needs of the world. `sleep` ends early when the signal aborts, without an error. */
export type PlayDeps = {
  readonly clock: Clock;
  readonly rng: Rng;
  readonly sleep: (ms: number, signal: AbortSignal) => Promise<void>;
  /** Told of every event and every verdict. */
  readonly ledger: LedgerFile | undefined;
};

export type PlayedInteraction = { readonly mcpId: string; readonly id: string; readonly endsWell: boolean };
/** `encoded` is the event without its sequence. */
export type PlayedEvent = { readonly eventId: string; readonly interaction: PlayedInteraction; readonly encoded: Uint8Array };

/** What was played and what became of it. */
export type Played = {
  readonly counters: SessionCounters;
  readonly latencies: Latencies;
  readonly unresolved: number;
  readonly seconds: number;
  readonly isInterrupted: boolean;
  readonly events: readonly PlayedEvent[];
  readonly rejectedIds: ReadonlySet<string>;
  /** The first few refusals, for people. */
  readonly refusals: readonly string[];
};

/** How far a replay is. */
export type PlayProgress = { readonly started: number; readonly counters: SessionCounters; readonly latencies: Latencies };

type Due = {
  readonly plan: InteractionPlan;
  readonly planned: PlannedEvent;
  readonly stream: Stream;
  readonly interaction: PlayedInteraction;
};
type Stream = { readonly mcpId: string; readonly session: StreamSession };

/** A coordinator that takes no stream within this time is taken for unreachable. */
const connectMaxMs = 10_000;
/** A pause between two looks counts as this at most: a process that stood still has not waited for an answer. The looks are a quarter of a second apart. */
const lookMaxMs = 1_000;
const refusalsNamedMax = 10;

/**
 * Plays a trace over real streams: the requests arrive as in the trace, `speed` times as fast, dated from now on.
 * Errors: CliFailure `unavailable` when no coordinator answers, or events wait and nothing is acknowledged for `ackMaxMs`; `refused` when it does not let us in.
 */
export async function playTrace(
  deps: PlayDeps,
  task: PlayTask,
  signal: AbortSignal,
  seen: (progress: PlayProgress) => void,
): Promise<Played> {
  const run = new Replay(deps, task, seen);
  try {
    await run.connect(signal);
    await run.play(signal);
    return await run.finish(signal);
  } finally {
    await run.close();
  }
}

/** One replay from its first connection to its last ack. */
class Replay {
  readonly #deps: PlayDeps;
  readonly #task: PlayTask;
  readonly #seen: (progress: PlayProgress) => void;
  readonly #latencies = createLatencies();
  readonly #streams: readonly Stream[];
  readonly #events: PlayedEvent[] = [];
  readonly #rejectedIds = new Set<string>();
  readonly #refusals: string[] = [];
  readonly #due = new DueHeap<Due>();
  readonly #runId = mintUuidV7().slice(0, 13);
  #started = 0;
  #startWallMs = 0;
  #startMonotonicMs = 0;
  #lookedAtMs = 0;
  #quietMs = 0;

  constructor(deps: PlayDeps, task: PlayTask, seen: (progress: PlayProgress) => void) {
    this.#deps = deps;
    this.#task = task;
    this.#seen = seen;
    this.#streams = Array.from({ length: task.mcpCount }, (_, index) => this.#openStream(index));
  }

  /** Waits until every stream is up. */
  async connect(signal: AbortSignal): Promise<void> {
    const deadlineMs = this.#deps.clock.monotonicMs() + connectMaxMs;
    while (!signal.aborted && this.#streams.some(({ session }) => session.state.kind !== "active")) {
      this.#failIfRefused();
      if (this.#deps.clock.monotonicMs() > deadlineMs) {
        const failure = this.#streams.map(({ session }) => session.lastFailure).find((one) => one !== undefined);
        throw new CliFailure("unavailable", `${this.#task.endpoint.target} takes no stream: ${failure?.details ?? "no answer"}`);
      }
      await this.#deps.sleep(10, signal);
    }
    this.#startWallMs = this.#deps.clock.nowMs();
    this.#startMonotonicMs = this.#deps.clock.monotonicMs();
    this.#lookedAtMs = this.#startMonotonicMs;
  }

  /** Reports every event of the trace when it is due. */
  async play(signal: AbortSignal): Promise<void> {
    for await (const row of readTrace(this.#task.tracePath, this.#task.limit)) {
      const arrivalMs = row.arrivalMs / this.#task.speed;
      await this.#playDueUntil(arrivalMs, signal);
      if (signal.aborted) return;
      this.#begin(row, arrivalMs);
    }
    await this.#playDueUntil(Number.POSITIVE_INFINITY, signal);
  }

  /** Waits for the last verdicts. */
  async finish(signal: AbortSignal): Promise<Played> {
    const flushed = Promise.all(this.#streams.map(({ session }) => session.flush()));
    let isFlushed = false;
    const watch = flushed.then(() => {
      isFlushed = true;
    });
    // The sleep keeps the process alive while sessions wait for their reconnect.
    while (!isFlushed && !signal.aborted) {
      await Promise.race([watch, this.#deps.sleep(100, signal)]);
      this.#look();
    }
    this.#failIfRefused();
    return {
      counters: this.#counters(),
      latencies: this.#latencies,
      unresolved: this.#unresolvedCount(),
      seconds: secondsOf(this.#deps.clock.monotonicMs() - this.#startMonotonicMs),
      isInterrupted: signal.aborted,
      events: this.#events,
      rejectedIds: this.#rejectedIds,
      refusals: this.#refusals,
    };
  }

  async close(): Promise<void> {
    await Promise.all(this.#streams.map(({ session }) => session.close()));
  }

  #openStream(index: number): Stream {
    const mcpId = this.#task.mcpId ?? `replay-mcp-${String(index + 1).padStart(3, "0")}`;
    const onSettled = (settled: Settled) => this.#settled(settled);
    // No labels in Hello: the coordinator would add them to what it stores, and the comparison afterwards would see other events.
    return { mcpId, session: createStreamSession({ endpoint: this.#task.endpoint, mcpId, closeMaxMs: 2_000, onSettled }) };
  }

  #settled(settled: Settled): void {
    this.#quietMs = 0;
    this.#deps.ledger?.settled(settled);
    if (settled.learnt === "ack") this.#latencies.record(settled.latencyMs);
    if (settled.verdict !== "rejected") return;
    this.#rejectedIds.add(settled.eventId);
    if (this.#refusals.length >= refusalsNamedMax) return;
    const why = settled.ack?.violations.map((violation) => `${violation.field} ${violation.description}`).join("; ") ?? "";
    this.#refusals.push(`event ${settled.eventId}: status ${settled.ack?.status ?? "?"}${why === "" ? "" : `, ${why}`}`);
  }

  #failIfRefused(): void {
    for (const { session } of this.#streams) {
      if (session.state.kind !== "closed") continue;
      const { why } = session.state;
      throw new CliFailure("refused", `${this.#task.endpoint.target}: ${describeClose(why)}`);
    }
  }

  #failIfQuiet(): void {
    const nowMs = this.#deps.clock.monotonicMs();
    const unresolved = this.#unresolvedCount();
    this.#quietMs = unresolved === 0 ? 0 : this.#quietMs + Math.min(nowMs - this.#lookedAtMs, lookMaxMs);
    this.#lookedAtMs = nowMs;
    if (this.#quietMs <= this.#task.ackMaxMs) return;
    const failure = this.#streams.map(({ session }) => session.lastFailure).find((one) => one !== undefined);
    const why = failure === undefined ? "" : `: ${failure.details}`;
    const seconds = secondsOf(this.#task.ackMaxMs);
    throw new CliFailure(
      "unavailable",
      `${this.#task.endpoint.target} has acknowledged nothing for ${seconds} s and ${unresolved} events wait${why}; --ack-timeout waits longer`,
    );
  }

  #begin(row: TraceRow, arrivalMs: number): void {
    const stream = this.#streams[this.#started % this.#streams.length];
    if (stream === undefined) return;
    this.#started++;
    const plan = planInteraction(row, `${this.#runId}-${row.line}`, this.#deps.rng);
    const interaction = { mcpId: stream.mcpId, id: plan.id, endsWell: plan.endsWell };
    for (const planned of plan.events)
      this.#due.push(arrivalMs + planned.afterMs / this.#task.speed, { plan, planned, stream, interaction });
  }

  async #playDueUntil(untilMs: number, signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const nextMs = Math.min(untilMs, this.#due.nextDueMs ?? Number.POSITIVE_INFINITY);
      if (nextMs === Number.POSITIVE_INFINITY) return;
      const waitMs = nextMs - (this.#deps.clock.monotonicMs() - this.#startMonotonicMs);
      // Below a millisecond a timer would only be late.
      if (waitMs >= 1) {
        this.#look();
        await this.#deps.sleep(Math.min(waitMs, 250), signal);
        continue;
      }
      if (nextMs === untilMs) return;
      const due = this.#due.pop();
      if (due !== undefined) await this.#send(due.value, due.dueMs, signal);
    }
  }

  async #send(due: Due, dueMs: number, signal: AbortSignal): Promise<void> {
    const eventId = mintUuidV7();
    const event = eventOf(due.plan, due.planned, due.stream.mcpId, eventId, this.#startWallMs + dueMs);
    this.#failIfRefused();
    const encoded = this.#task.keepsEvents || this.#deps.ledger !== undefined ? encodeEvent(event) : undefined;
    // Before it can be on its way.
    if (encoded !== undefined) this.#deps.ledger?.sent(eventId, due.stream.mcpId, due.interaction.id, encoded);
    while (due.stream.session.report(event) === undefined && !signal.aborted) {
      await Promise.race([due.stream.session.whenWritable(), this.#deps.sleep(250, signal)]);
      this.#look();
    }
    if (this.#task.keepsEvents && encoded !== undefined) this.#events.push({ eventId, interaction: due.interaction, encoded });
  }

  #unresolvedCount(): number {
    return this.#streams.reduce((sum, { session }) => sum + session.unresolvedCount, 0);
  }

  #look(): void {
    this.#failIfRefused();
    this.#failIfQuiet();
    this.#seen({ started: this.#started, counters: this.#counters(), latencies: this.#latencies });
  }

  #counters(): SessionCounters {
    const sum = { reported: 0, sent: 0, stored: 0, duplicate: 0, notCollected: 0, rejected: 0, deferred: 0, reconnects: 0 };
    for (const { session } of this.#streams) {
      const counters = session.counters;
      sum.reported += counters.reported;
      sum.sent += counters.sent;
      sum.stored += counters.stored;
      sum.duplicate += counters.duplicate;
      sum.notCollected += counters.notCollected;
      sum.rejected += counters.rejected;
      sum.deferred += counters.deferred;
      sum.reconnects += counters.reconnects;
    }
    return sum;
  }
}
