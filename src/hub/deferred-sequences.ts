import { limits } from "../platform/limits.js";

/**
 * Sequences of a producer that were refused for now and are to come again. Its resume point must stay before the first of them: the verdict may never arrive, and a client
 * that is told a later number would take the event for stored.     Bound: `limits.deferredSequencesMax`; above it the first one known stays for the rest of the session.
 */
export class DeferredSequences {
  readonly #waiting = new Set<bigint>();
  #isFull = false;
  #first: bigint | undefined;

  /** The highest number that may be said to be resolved; undefined when nothing stands in the way. */
  get resumeMax(): bigint | undefined {
    return this.#first === undefined ? undefined : this.#first - 1n;
  }

  /** An event was refused for now. */
  defer(sequence: bigint): void {
    if (sequence === 0n) return;
    if (this.#waiting.size < limits.deferredSequencesMax) this.#waiting.add(sequence);
    else if (!this.#waiting.has(sequence)) this.#isFull = true;
    if (this.#first === undefined || sequence < this.#first) this.#first = sequence;
  }

  /** An event was accepted, or refused for good. */
  decide(sequence: bigint): void {
    if (this.#first === undefined || this.#isFull || !this.#waiting.delete(sequence) || sequence !== this.#first) return;
    this.#first = undefined;
    for (const waiting of this.#waiting) if (this.#first === undefined || waiting < this.#first) this.#first = waiting;
  }
}
