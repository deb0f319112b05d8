import type { CommitTiming } from "../ingest/pending.js";
import type { Verdict } from "../ingest/verdict.js";
import type { NewEvent, Outcome } from "../interaction/event.js";
import { ackBatchFrame, eventAckFrame } from "../wire/frame.js";
import type { ServerFrame } from "../wire/server-frame.js";
import { AckLedger } from "./ack-ledger.js";

/** Turns what a ledger has to say into frames, in the mode that the client asked for. Says a frame's worth at a time, so that nothing is queued as messages. */
export class AckOutlet {
  readonly #mode: "each" | "coalesced";
  readonly #ledger: AckLedger;
  #settledCount = 0;
  #settledBytes = 0;
  #timing: CommitTiming | undefined;

  constructor(mode: "each" | "coalesced") {
    this.#mode = mode;
    this.#ledger = new AckLedger(mode);
  }

  /** Highest sequence such that everything received up to it was acknowledged or refused in a frame that was taken. */
  get announcedThrough(): bigint {
    return this.#ledger.announcedThrough;
  }

  /** Accepted events that are not settled. */
  get unsettledCount(): number {
    return this.#ledger.unsettledCount;
  }

  /** Runs and verdicts that no frame has taken yet. */
  get unwrittenCount(): number {
    return this.#ledger.unwrittenCount;
  }

  accepted(sequence: bigint): void {
    this.#ledger.accepted(sequence);
  }

  refused(verdict: Verdict): void {
    this.#ledger.refused(verdict);
  }

  settled(event: NewEvent, outcome: Outcome): void {
    this.#ledger.settled(event, outcome);
    this.#settledCount += 1;
    this.#settledBytes += event.encodedBytes;
  }

  /** Every event of one commit was settled. Returns how many and how large they were. */
  flushed(timing: CommitTiming): { readonly count: number; readonly bytes: number } {
    const flushed = { count: this.#settledCount, bytes: this.#settledBytes };
    this.#settledCount = 0;
    this.#settledBytes = 0;
    this.#timing = timing;
    return flushed;
  }

  /** The next frame, or undefined when everything is said. */
  take(): ServerFrame | undefined {
    if (this.#mode === "coalesced") {
      const frame = this.#ledger.takeFrame();
      return frame && ackBatchFrame({ ...frame, timing: this.#timing });
    }
    const verdict = this.#ledger.takeEach(1)[0];
    return verdict && eventAckFrame(verdict);
  }
}
