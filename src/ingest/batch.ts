import type { NewEvent, Outcome } from "../interaction/event.js";
import { assert } from "../platform/assert.js";
import type { Pending, PendingQueue } from "./pending.js";

/**
 * What one commit takes from a lane: distinct events for the store, and for every taken item the index of the event that decides it. An event that
 * stands twice in a batch goes to the store once.
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
  /** By id alone, which is nearly always enough; of ids that several MCPs use at once, the first stands here and the others in indexByKey. */
  const indexById = new Map<string, number>();
  const indexByKey = new Map<string, number>();
  let bytes = 0;
  for (let next = queue.peek(); next !== undefined && items.length < maxEvents; next = queue.peek()) {
    bytes += next.event.costBytes;
    if (items.length > 0 && bytes > maxBytes) break;
    queue.shift();
    const { eventId, mcpId } = next.event;
    let index = indexById.get(eventId);
    if (index !== undefined && events[index]?.mcpId !== mcpId) index = indexByKey.get(`${eventId}${mcpId}`);
    if (index === undefined) {
      index = events.push(next.event) - 1;
      if (!indexById.has(eventId)) indexById.set(eventId, index);
      else indexByKey.set(`${eventId}${mcpId}`, index);
    }
    items.push(next);
    decidedBy.push(index);
  }
  return { items, events, decidedBy };
}

/**
 * The outcome of `items[i]`, given those of `events`: its own, or, where an earlier item of the batch carries the same id, what that leaves for it:
 * a duplicate if the content is equal, a conflict if not.
 */
export function outcomeOf(batch: Batch, outcomes: readonly Outcome[], i: number): Outcome {
  const index = batch.decidedBy[i];
  assert(index !== undefined, "every item of a batch is decided by one of its events");
  const outcome = outcomes[index];
  const decider = batch.events[index];
  const own = batch.items[i]?.event;
  assert(outcome !== undefined && decider !== undefined && own !== undefined, "the store answers every event");
  if (own === decider) return outcome;
  if (outcome.kind !== "stored" && outcome.kind !== "duplicate") return outcome;
  return own.digest === decider.digest ? { kind: "duplicate", storedAtMs: outcome.storedAtMs } : { kind: "conflict" };
}
