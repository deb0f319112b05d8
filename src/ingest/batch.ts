import type { NewEvent, Outcome } from "../interaction/event.js";
import { assert } from "../platform/assert.js";
import type { Pending, PendingQueue } from "./pending.js";

/**
 * What one commit takes from a lane: distinct events for the store, and for every taken item the index of the event that decides it. A repetition of
 * an event in the batch goes to the store once; the same id with other content, or from another session, begins the next batch, because what the store
 * says of one proves nothing about the other.
 */
export type Batch = {
  readonly items: readonly Pending[];
  readonly events: readonly NewEvent[];
  /** For items[i], the index into `events`. */
  readonly decidedBy: readonly number[];
};

/** Takes the next batch, oldest first.     Bounds: `maxEvents` items and `maxBytes` of cost, but at least one item. */
export function takeBatch(queue: PendingQueue, maxEvents: number, maxBytes: number): Batch {
  const items: Pending[] = [];
  const events: NewEvent[] = [];
  const decidedBy: number[] = [];
  const indexByKey = new Map<string, number>();
  let bytes = 0;
  for (let next = queue.peek(); next !== undefined && items.length < maxEvents; next = queue.peek()) {
    bytes += next.event.costBytes;
    if (items.length > 0 && bytes > maxBytes) break;
    const key = next.event.eventId + next.event.mcpId;
    let index = indexByKey.get(key);
    const decider = index === undefined ? undefined : events[index];
    if (decider !== undefined && !isRepetition(decider, next.event)) break;
    queue.shift();
    if (index === undefined) {
      index = events.push(next.event) - 1;
      indexByKey.set(key, index);
    }
    items.push(next);
    decidedBy.push(index);
  }
  return { items, events, decidedBy };
}

/** Whether the store must say the same of both, given that they have one id: equal content, under the same right to be stored. */
function isRepetition(one: NewEvent, other: NewEvent): boolean {
  return one.digest === other.digest && one.epoch === other.epoch && one.producerId === other.producerId;
}

/** The outcome of `items[i]`, given those of `events`: that of the event that decides it, and a duplicate where this was stored by an earlier item. */
export function outcomeOf(batch: Batch, outcomes: readonly Outcome[], i: number): Outcome {
  const index = batch.decidedBy[i];
  assert(index !== undefined, "every item of a batch is decided by one of its events");
  const outcome = outcomes[index];
  assert(outcome !== undefined, "the store answers every event");
  const isFirst = batch.items[i]?.event === batch.events[index];
  return outcome.kind === "stored" && !isFirst ? { kind: "duplicate", storedAtMs: outcome.storedAtMs } : outcome;
}
