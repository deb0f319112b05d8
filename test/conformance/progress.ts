import { toBinary } from "@bufbuild/protobuf";
import { type InteractionEvent, InteractionEventSchema } from "../../gen/mcp/coordinator/v1/events_pb.js";
import type { Seen, SeenVerdict } from "./record.js";

/** One event as far as the wire tells. */
export type EventProgress = {
  sequence: bigint;
  /** How often it was sent on streams. */
  sends: number;
  /** Names of the verdicts that came for it; RESUME when a resume point covered it. */
  readonly verdicts: string[];
  isResolved: boolean;
  /** Monotonic time from which it may be sent again after a verdict that asks for it; undefined when none did, or it was sent since. */
  retryAtMs: number | undefined;
  /** A verdict has asked to send it again: no resume point speaks for it any more. */
  wasDeferred: boolean;
};

const success: ReadonlySet<string> = new Set(["STORED", "DUPLICATE"]);

/**
 * What a client knows and holds, folded from what has passed: by event, and what is unacknowledged on each stream. A verdict counts when it passes, so
 * whatever an honest client believes to be unacknowledged is at least what is so here.
 */
export class Progress {
  readonly events = new Map<string, EventProgress>();
  readonly #flying = new Map<number, Map<string, number>>();

  add(seen: Seen): void {
    switch (seen.kind) {
      case "events":
        for (const event of seen.events) this.#sent(seen.stream, event);
        break;
      case "verdicts":
        for (const verdict of seen.verdicts) this.#judged(verdict, this.flying(seen.stream));
        break;
      case "posted":
        for (const verdict of seen.verdicts ?? []) this.#judged(verdict, undefined);
        break;
      case "welcome":
        this.#resumed(seen.welcome.resumeAfterSequence);
        break;
      default:
        break; // the rest says nothing about events
    }
  }

  /** Encoded sizes of what is unacknowledged on a stream, by event id. */
  flying(stream: number): Map<string, number> {
    const known = this.#flying.get(stream) ?? new Map<string, number>();
    this.#flying.set(stream, known);
    return known;
  }

  of(eventId: string): EventProgress {
    const fresh = { sequence: 0n, sends: 0, verdicts: [], isResolved: false, retryAtMs: undefined, wasDeferred: false };
    const known = this.events.get(eventId) ?? fresh;
    this.events.set(eventId, known);
    return known;
  }

  /** The oldest sequence that was sent and has no final verdict; undefined without one. */
  get oldestOpenSequence(): bigint | undefined {
    let oldest: bigint | undefined;
    for (const { sequence, sends, isResolved } of this.events.values()) {
      if (sends > 0 && !isResolved && (oldest === undefined || sequence < oldest)) oldest = sequence;
    }
    return oldest;
  }

  #sent(stream: number, event: InteractionEvent): void {
    const progress = this.of(event.eventId);
    progress.sequence = event.sequence;
    progress.sends += 1;
    progress.retryAtMs = undefined;
    this.flying(stream).set(event.eventId, toBinary(InteractionEventSchema, event).length);
  }

  #judged({ eventId, status, isRetryable, retryAtMs }: SeenVerdict, flying: Map<string, number> | undefined): void {
    const progress = this.of(eventId);
    flying?.delete(eventId);
    progress.verdicts.push(status);
    if (isRetryable && !success.has(status)) {
      progress.retryAtMs = retryAtMs;
      progress.wasDeferred = true;
    } else progress.isResolved = true;
  }

  /** A client that has settled an event over HTTP may as well learn from the resume point that it is stored. */
  #resumed(after: bigint): void {
    for (const progress of this.events.values()) {
      if (progress.sends === 0 || progress.wasDeferred || progress.sequence > after) continue;
      if (!progress.verdicts.every((status) => success.has(status))) continue;
      progress.isResolved = true;
      progress.verdicts.push("RESUME");
    }
  }
}
