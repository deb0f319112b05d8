import type { Bearer } from "../ingest/accept.js";
import type { Place } from "../ingest/commit.js";
import type { Ingest } from "../ingest/ingest.js";
import type { Origin } from "../ingest/pending.js";
import type { Draft, NewEvent } from "../interaction/event.js";
import type { AckOutlet } from "./ack-outlet.js";
import type { DeferredSequences } from "./deferred-sequences.js";

/** What one frame of events came to: `count` of them and `bytes` wait for the store, `hasRefused` tells that others did not pass. */
export type Taken = { readonly count: number; readonly bytes: number; readonly hasRefused: boolean };

/** Judges events one by one: refused ones get their verdict at once, the others go to the queue. Units: `receivedAtMs` is monotonic. */
export function takeEvents(
  ingest: Ingest,
  by: { readonly bearer: Bearer; readonly origin: Origin; readonly place: Place; readonly deferred: DeferredSequences },
  acks: AckOutlet,
  drafts: readonly Draft[],
  receivedAtMs: number,
): Taken {
  let count = 0;
  let bytes = 0;
  let hasRefused = false;
  for (const draft of drafts) {
    const judged = ingest.accept(by.bearer, draft);
    if (judged.kind === "refused" && judged.verdict.retryable) by.deferred.defer(draft.sequence);
    else by.deferred.decide(draft.sequence);
    if (judged.kind === "refused") {
      acks.refused(judged.verdict);
      hasRefused = true;
    } else {
      const event = withinReach(judged.event, by.deferred.resumeMax);
      acks.accepted(event.sequence);
      ingest.queue.offer(by.place, { event, origin: by.origin, receivedAtMs });
      count += 1;
      bytes += event.encodedBytes;
    }
  }
  return { count, bytes, hasRefused };
}

function withinReach(event: NewEvent, resumeMax: bigint | undefined): NewEvent {
  return resumeMax === undefined || event.sequence <= resumeMax ? event : { ...event, resumeSequence: resumeMax };
}
