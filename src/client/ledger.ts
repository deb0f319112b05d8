import { type EventAck, EventStatus } from "../../gen/mcp/coordinator/v1/events_pb.js";
import type { EventAckBatch, SequenceRange } from "../../gen/mcp/coordinator/v1/session_pb.js";
import type { Clock } from "../platform/clock.js";
import { CoordinatorError } from "../platform/errors.js";
import { limits } from "../platform/limits.js";
import type { Rng } from "../platform/rng.js";
import { mintUuidV7 } from "../platform/uuid-v7.js";
import type { SessionCounters, Settled } from "./options.js";
import type { FrameBounds, Outbox, OutboxEntry, Window } from "./outbox.js";
import { type EncodedEvent, type EventInit, encodeEvent, withSequence } from "./wire/frames.js";
import { msOf } from "./wire/time.js";

/** What a ledger needs from its session. `onSettled` is called once for every event. */
export type LedgerDeps = {
  readonly clock: Clock;
  readonly rng: Rng;
  readonly onSettled: ((settled: Settled) => void) | undefined;
};

/** Books what was reported and what became of it: the only place where an event leaves the outbox, and where it is counted. */
export class Ledger {
  readonly outbox: Outbox;
  readonly #deps: LedgerDeps;
  /** Of the newest Welcome. */
  #epoch = 0n;
  readonly #counters = { reported: 0, sent: 0, stored: 0, duplicate: 0, notCollected: 0, rejected: 0, deferred: 0 };

  constructor(outbox: Outbox, deps: LedgerDeps) {
    this.outbox = outbox;
    this.#deps = deps;
  }

  get counters(): Omit<SessionCounters, "reconnects"> {
    return { ...this.#counters };
  }

  /** Takes an event and returns its id; undefined when the outbox is full. Errors: `invalid` when it is larger than any coordinator takes. */
  report(event: EventInit | EncodedEvent): string | undefined {
    if (!this.outbox.hasRoom) return undefined;
    const sequence = this.outbox.nextSequence;
    const eventId = event.eventId === undefined || event.eventId === "" ? mintUuidV7() : event.eventId;
    const isEncoded = "encoded" in event;
    const encoded = isEncoded ? withSequence(event.encoded, sequence) : encodeEvent({ ...event, eventId, sequence: BigInt(sequence) });
    if (encoded.length > limits.eventMaxBytes) {
      const message = `event ${eventId} has ${encoded.length} bytes, more than ${limits.eventMaxBytes}`;
      throw new CoordinatorError("invalid", message, { reason: "MESSAGE_TOO_LARGE" });
    }
    this.outbox.add(eventId, encoded);
    this.#counters.reported++;
    return eventId;
  }

  /** Encoded events for the next frame; see Outbox.take. */
  take(window: Window, frame: FrameBounds): Uint8Array[] {
    const entries = this.outbox.take(window, frame, this.#deps.clock.monotonicMs());
    this.#counters.sent += entries.length;
    return entries.map((entry) => entry.encoded);
  }

  /**
   * Begins anew on a fresh stream. The resume point covers what was refused for good as well as what is stored, and the verdict that would tell is lost with the old stream: so
   * what was sent without one is sent again, and is a DUPLICATE where it is stored. Only beyond the dedupe horizon (`isTooOld`) no repetition is recognised any more: there what
   * the point covers counts as stored, unless the `epoch` says that somebody else used the producer_id between; a coordinator that gives none says 0.
   */
  resume(resumeAfter: number, epoch: bigint, isTooOld: boolean): void {
    const isSuccessor = epoch === 0n || this.#epoch === 0n || epoch === this.#epoch + 1n;
    if (!isTooOld || !isSuccessor) this.outbox.doubt();
    this.#epoch = epoch;
    for (const entry of this.outbox.resume(resumeAfter)) {
      this.#counters.stored++;
      this.#deps.onSettled?.({ eventId: entry.eventId, verdict: "stored", learnt: "resume", latencyMs: 0, ack: undefined });
    }
  }

  /** Books the verdicts of a coalesced ack. */
  judgeBatch(batch: EventAckBatch): void {
    for (const range of batch.ranges) this.#judgeRange(range);
    for (const ack of batch.exceptions) this.judge(ack);
  }

  /** Books one verdict. Verdicts on what is not on the wire are ignored. */
  judge(ack: EventAck): void {
    const entry = this.outbox.flying(Number(ack.sequence));
    if (entry === undefined) return;
    const success = successOf(ack.status);
    if (ack.status === EventStatus.FENCED) this.#keep(entry);
    else if (success === undefined && ack.retryable) this.#defer(entry, ack);
    else this.#settle(entry, success ?? (ack.status === EventStatus.NOT_COLLECTED ? "not_collected" : "rejected"), ack);
  }

  #judgeRange(range: SequenceRange): void {
    const verdict = successOf(range.status);
    // The contract allows only successes here; anything else is not a verdict we may act on, and the events stay.
    if (verdict === undefined) return;
    for (const entry of this.outbox.flyingBetween(Number(range.first), Number(range.last))) this.#settle(entry, verdict, undefined);
  }

  /** A verdict about the session, not about the event: it goes out again with the next one. */
  #keep(entry: OutboxEntry): void {
    this.#counters.deferred++;
    this.outbox.rest(entry, this.#deps.clock.monotonicMs());
  }

  #defer(entry: OutboxEntry, ack: EventAck): void {
    this.#counters.deferred++;
    const askedMs = msOf(ack.retryDelay, 0);
    // Without a delay from the coordinator: our own pace, spread like a reconnect.
    const delayMs = askedMs > 0 ? askedMs : limits.reconnectBackoff.firstMs * (1 + this.#deps.rng());
    this.outbox.rest(entry, this.#deps.clock.monotonicMs() + delayMs);
  }

  #settle(entry: OutboxEntry, verdict: Settled["verdict"], ack: EventAck | undefined): void {
    this.outbox.forget(entry);
    this.#counters[verdict === "not_collected" ? "notCollected" : verdict]++;
    const latencyMs = this.#deps.clock.monotonicMs() - entry.sentAtMs;
    this.#deps.onSettled?.({ eventId: entry.eventId, verdict, learnt: "ack", latencyMs, ack });
  }
}

function successOf(status: EventStatus): "stored" | "duplicate" | undefined {
  if (status === EventStatus.STORED) return "stored";
  return status === EventStatus.DUPLICATE ? "duplicate" : undefined;
}
