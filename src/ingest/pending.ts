import type { NewEvent, Outcome } from "../interaction/event.js";

/** Where the time of one commit went. Units: milliseconds. */
export type CommitTiming = {
  /** From receipt of the oldest event of the batch to the start of the commit. */
  readonly queueWaitMs: number;
  readonly commitMs: number;
  readonly batchEvents: number;
};

/**
 * Whoever brought events and waits for their outcomes: a stream session, a unary call.
 * The two functions must not throw and must not call back into the queue synchronously.
 */
export type Origin = {
  /** One event is settled. Called once per event, in the order in which those of one flow were offered. */
  readonly settled: (event: NewEvent, outcome: Outcome) => void;
  /** Every event of this origin in one commit has been settled: the time to write acks. */
  readonly flushed: (timing: CommitTiming) => void;
};

/** An event on its way to the store. */
export type Pending = {
  readonly event: NewEvent;
  readonly origin: Origin;
  /** Monotonic time of receipt. */
  readonly receivedAtMs: number;
};

/** First in, first out, without moving elements: a head index that catches up now and then. What was taken is held no longer. */
export class PendingQueue {
  #items: (Pending | undefined)[] = [];
  #head = 0;

  get size(): number {
    return this.#items.length - this.#head;
  }

  push(item: Pending): void {
    this.#items.push(item);
  }

  peek(): Pending | undefined {
    return this.#items[this.#head];
  }

  shift(): Pending | undefined {
    const item = this.#items[this.#head];
    if (item === undefined) return undefined;
    this.#items[this.#head] = undefined;
    this.#head += 1;
    if (this.#head > 64 && this.#head * 2 > this.#items.length) {
      this.#items = this.#items.slice(this.#head);
      this.#head = 0;
    }
    return item;
  }
}
