import type { Client } from "@grpc/grpc-js";
import type postgres from "postgres";
import { EventStatus } from "../../gen/mcp/coordinator/v1/events_pb.js";
import { AckMode, Capability, type EventAckBatch, type Welcome } from "../../gen/mcp/coordinator/v1/session_pb.js";
import { backoffMs } from "../../src/platform/backoff.js";
import { type Rng, seededRng } from "../../src/platform/rng.js";
import { openGrpcClient } from "../support/grpc-client.js";
import { RawStream } from "../support/raw-stream.js";
import { type Audit, addAudits, audit, emptyAudit, type Violation } from "./audit.js";
import { EventLedger } from "./ledger.js";
import { orderly, type PlannedEvent, planInteraction } from "./plan.js";
import { readPage } from "./read-store.js";
import { sleep } from "./site.js";

/** Some events are refused, so that ranges have gaps. */
const shares = { ...orderly, invalid: 0.02 };
const beatMs = 50;
const flyingMax = 200;
/** Without an answer for so long it gives up a stream, as the heartbeats of a real client would. */
const silenceMaxMs = 8_000;

type Sent = { readonly planned: PlannedEvent; readonly sequence: bigint };

/**
 * One stream held by hand, to see what the real client keeps to itself: how `resolved_through_sequence` and `resume_after_sequence` move (I5). It keeps what
 * is not resolved and sends it again after each reconnect, as any client should.
 */
export class Witness implements AsyncDisposable {
  readonly mcpId: string;
  readonly #client: Client;
  readonly #rng: Rng;
  readonly #ledger = new EventLedger();
  readonly #held = new Map<bigint, Sent>();
  readonly #violations: Violation[] = [];
  #checked = 0;
  #nextSequence = 1n;
  #round = 0;
  #interactions = 0;
  #queue: PlannedEvent[] = [];
  #isReporting = false;
  #isClosed = false;
  readonly #running: Promise<void>;

  constructor(target: string, name: string, seed: number) {
    this.mcpId = `${name}-witness`;
    this.#rng = seededRng(seed ^ 0x717);
    this.#client = openGrpcClient(target);
    this.#running = this.#run();
  }

  start(): void {
    this.#round += 1;
    this.#isReporting = true;
  }

  async settle(maxMs: number): Promise<boolean> {
    this.#isReporting = false;
    this.#queue = [];
    for (const untilMs = performance.now() + maxMs; this.#held.size > 0 && performance.now() < untilMs; ) await sleep(20);
    return this.#held.size === 0;
  }

  /** Audits the round's events, and what was seen of the numbers. Call when settled. */
  async auditRound(sql: postgres.Sql, hasCommitTimes: boolean): Promise<Audit> {
    const page = this.#ledger.turnPage();
    const { rows, interactions } = await readPage(sql, [this.mcpId], this.#prefix(), hasCommitTimes);
    const found = audit(page, rows, interactions);
    const checked = { I5: this.#checked };
    this.#checked = 0;
    return addAudits(found, { ...emptyAudit, checked, violations: this.#violations.splice(0) });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true;
    await this.#running;
    this.#client.close();
  }

  #prefix(): string {
    return `r${String(this.#round).padStart(6, "0")}-`;
  }

  async #run(): Promise<void> {
    for (let attempt = 0; !this.#isClosed; attempt += 1) {
      const stream = new RawStream(this.#client);
      try {
        const hasAcked = await this.#hold(stream);
        if (hasAcked) attempt = 0;
      } catch {
        // The loop's edge: the stream ended, which is what the faults are for. The next one resumes.
      }
      stream.cancel();
      await sleep(backoffMs({ firstMs: 100, maxMs: 2_000 }, attempt, this.#rng));
    }
  }

  /** Lives through one stream. True when anything was acknowledged on it. */
  async #hold(stream: RawStream): Promise<boolean> {
    const firstHeld = this.#held.keys().next().value ?? this.#nextSequence;
    stream.send({
      case: "hello",
      value: {
        mcpId: this.mcpId,
        producerId: this.mcpId,
        ackMode: AckMode.COALESCED,
        capabilities: [Capability.FLOW_CONTROL],
        firstUnackedSequence: firstHeld,
      },
    });
    const welcome = await Promise.race([stream.first("welcome"), sleep(silenceMaxMs).then(() => undefined)]);
    if (welcome === undefined) return false;
    this.#resume(welcome.value);
    let isEnded = false;
    void stream.ended.then(() => {
      isEnded = true;
    });
    for (const { planned, sequence } of this.#held.values()) stream.send({ case: "event", value: { ...planned.init, sequence } });
    let seen = 0;
    let through = 0n;
    let heardMs = performance.now();
    while (!isEnded && !this.#isClosed && performance.now() - heardMs < silenceMaxMs) {
      for (; seen < stream.frames.length; seen += 1) {
        const frame = stream.frames[seen];
        heardMs = performance.now();
        if (frame?.case === "eventAckBatch") through = this.#book(frame.value, through);
      }
      if (this.#held.size === 0) heardMs = performance.now();
      if (this.#isReporting && this.#held.size < flyingMax) this.#reportSome(stream);
      await sleep(beatMs);
    }
    return through > 0n;
  }

  /** What the resume point covers must be durable: it is booked as acknowledged, and the audit looks for it. */
  #resume(welcome: Welcome): void {
    this.#checked += 1;
    const after = welcome.resumeAfterSequence;
    if (after >= this.#nextSequence)
      this.#violations.push({ invariant: "I5", what: `resume_after_sequence is ${after}, and only ${this.#nextSequence - 1n} were sent` });
    for (const [sequence, { planned }] of this.#held) {
      if (sequence > after) continue;
      this.#held.delete(sequence);
      this.#ledger.settle({ eventId: planned.eventId, verdict: "stored", learnt: "resume", latencyMs: 0, ack: undefined }, Date.now());
    }
  }

  #reportSome(stream: RawStream): void {
    for (let count = 0; count < 10; count += 1) {
      if (this.#queue.length === 0) {
        const interactionId = `${this.#prefix()}${this.#interactions++}`;
        this.#queue = planInteraction(this.#rng, interactionId, Date.now(), shares).map(({ planned }) => planned);
      }
      const planned = this.#queue.shift();
      if (planned === undefined) return;
      const sequence = this.#nextSequence;
      this.#nextSequence += 1n;
      this.#held.set(sequence, { planned, sequence });
      this.#ledger.note(planned, this.mcpId, this.mcpId);
      stream.send({ case: "event", value: { ...planned.init, sequence } });
    }
  }

  /** Books one frame; returns the highest resolved_through so far. */
  #book(batch: EventAckBatch, before: bigint): bigint {
    const nowMs = Date.now();
    this.#checked += 1;
    for (const range of batch.ranges) {
      for (let sequence = range.first; sequence <= range.last; sequence += 1n) {
        const verdict = range.status === EventStatus.STORED ? "stored" : "duplicate";
        this.#resolve(sequence, (eventId) => this.#ledger.settle({ eventId, verdict, learnt: "ack", latencyMs: 0, ack: undefined }, nowMs));
      }
    }
    for (const ack of batch.exceptions) this.#resolve(ack.sequence, () => this.#ledger.settleAck(ack, nowMs));
    const through = batch.resolvedThroughSequence;
    if (through < before) this.#violations.push({ invariant: "I5", what: `resolved_through went from ${before} back to ${through}` });
    const gap = [...this.#held.keys()].find((sequence) => sequence <= through);
    if (gap !== undefined) this.#violations.push({ invariant: "I5", what: `resolved_through is ${through}, and ${gap} has no verdict` });
    return through > before ? through : before;
  }

  #resolve(sequence: bigint, book: (eventId: string) => void): void {
    const sent = this.#held.get(sequence);
    if (sent === undefined) return;
    this.#held.delete(sequence);
    book(sent.planned.eventId);
  }
}
