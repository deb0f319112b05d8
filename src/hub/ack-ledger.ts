import { judge, type Verdict } from "../ingest/verdict.js";
import type { NewEvent, Outcome } from "../interaction/event.js";
import { assert } from "../platform/assert.js";
import { limits } from "../platform/limits.js";

/** A run of sequences with one status. Inclusive; only sequences that were sent are meant. */
export type AckRange = { readonly first: bigint; last: bigint; readonly status: "stored" | "duplicate" };

/** What one ack frame says. */
export type AckFrame = {
  readonly resolvedThrough: bigint;
  readonly ranges: readonly AckRange[];
  readonly exceptions: readonly Verdict[];
};

/** Marks an event whose sequence is 0 or did not increase: it is acked by id. */
const unordered = -1n;

/** Sequences are below it.     Source: InteractionEvent.sequence. */
const sequenceEnd = 2n ** 63n;

/**
 * What a session has yet to acknowledge, kept as little as it can be said with: runs of sequences and full verdicts, never as messages.
 * Bound: `unwrittenCount` is the session's to keep, by not reading while it is high: a verdict costs no window, so a peer that does not read
 * its verdicts could otherwise pile them up.
 *
 * Relies on one order: the events of a session are settled in the order they were accepted, because they are one flow.
 */
export class AckLedger {
  readonly #mode: "each" | "coalesced";
  /** For each accepted, unsettled event: the ordered sequence received just before it, or `unordered`. */
  #awaited: bigint[] = [];
  #awaitedHead = 0;
  #receivedThrough = 0n;
  #resolvedThrough = 0n;
  /** As of the last frame. With a verdict each, nobody asks at every one of them: it is found when it is asked for. */
  #announcedThrough = 0n;
  #ranges: AckRange[] = [];
  #exceptions: Verdict[] = [];

  constructor(mode: "each" | "coalesced") {
    this.#mode = mode;
  }

  /** Highest sequence such that the verdicts of everything received up to it were taken: what a client may be told, since it forgets what it is told of. */
  get announcedThrough(): bigint {
    if (this.#mode === "each") this.#announcedThrough = this.#announceable();
    return this.#announcedThrough;
  }

  /** Accepted events that are not settled. */
  get unsettledCount(): number {
    return this.#awaited.length - this.#awaitedHead;
  }

  /** Runs and verdicts that no frame has taken yet. */
  get unwrittenCount(): number {
    return this.#ranges.length + this.#exceptions.length;
  }

  get isEmpty(): boolean {
    return this.#ranges.length === 0 && this.#exceptions.length === 0 && this.#announcedThrough === this.#resolvedThrough;
  }

  /** An event was accepted and is on its way to the store. */
  accepted(sequence: bigint): void {
    this.#awaited.push(this.#advance(sequence));
  }

  /** An event was refused before it reached the store. */
  refused(verdict: Verdict): void {
    this.#advance(verdict.sequence);
    this.#exceptions.push(verdict);
    if (this.unsettledCount === 0) this.#resolvedThrough = this.#receivedThrough;
  }

  /** The oldest accepted event was settled. */
  settled(event: NewEvent, outcome: Outcome): void {
    const before = this.#awaited[this.#awaitedHead];
    assert(before !== undefined, "an event is settled after it was accepted");
    this.#awaitedHead += 1;
    if (this.#awaitedHead > 1024 && this.#awaitedHead * 2 > this.#awaited.length) {
      this.#awaited = this.#awaited.slice(this.#awaitedHead);
      this.#awaitedHead = 0;
    }
    const isOrdered = before !== unordered;
    if (this.#mode === "coalesced" && isOrdered && (outcome.kind === "stored" || outcome.kind === "duplicate")) {
      this.#extend(event.sequence, before, outcome.kind);
    } else {
      this.#exceptions.push(judge(event, outcome));
    }
    if (this.unsettledCount === 0) this.#resolvedThrough = this.#receivedThrough;
    else if (isOrdered) this.#resolvedThrough = event.sequence;
  }

  /** The next frame for ACK_MODE_COALESCED, or undefined when nothing is new. */
  takeFrame(): AckFrame | undefined {
    if (this.isEmpty) return undefined;
    const ranges = this.#ranges;
    this.#ranges = [];
    const exceptions = this.#exceptions.slice(0, limits.exceptionsPerFrameMax);
    this.#exceptions = this.#exceptions.slice(limits.exceptionsPerFrameMax);
    this.#announcedThrough = this.#announceable();
    return { resolvedThrough: this.#announcedThrough, ranges, exceptions };
  }

  /** The next verdicts for ACK_MODE_EACH, oldest first, at most `count`. */
  takeEach(count: number): readonly Verdict[] {
    if (count >= this.#exceptions.length) {
      const all = this.#exceptions;
      this.#exceptions = [];
      return all;
    }
    return this.#exceptions.splice(0, count);
  }

  /** A client forgets what is resolved, so nothing is announced whose verdict waits for another frame. Never less than before. */
  #announceable(): bigint {
    let through = this.#resolvedThrough;
    for (const { sequence } of this.#exceptions) if (sequence !== 0n && sequence <= through) through = sequence - 1n;
    if (through < this.#announcedThrough) return this.#announcedThrough;
    return through;
  }

  /**
   * Notes that a sequence was received. Returns the one before it, or `unordered`. A number that is no sequence, which its verdict says, counts for none:
   * everything that comes after it would be below, and resolved before it is stored.
   */
  #advance(sequence: bigint): bigint {
    if (sequence <= this.#receivedThrough || sequence >= sequenceEnd) return unordered;
    const before = this.#receivedThrough;
    this.#receivedThrough = sequence;
    return before;
  }

  /** A run goes on only when nothing else was received in between. */
  #extend(sequence: bigint, before: bigint, status: "stored" | "duplicate"): void {
    const run = this.#ranges.at(-1);
    if (run !== undefined && run.status === status && run.last === before) run.last = sequence;
    else this.#ranges.push({ first: sequence, last: sequence, status });
  }
}
