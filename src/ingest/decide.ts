import type { NewEvent, Outcome } from "../interaction/event.js";
import { assert } from "../platform/assert.js";
import { StoreFault } from "../store/store.js";
import { distinctEvents, noSpeaker, outcomeBehind } from "./batch.js";

/** Outcomes for events in the order given; undefined when there will be none. `events`: distinct (event_id, mcp_id). */
export type CommitEvents = (events: readonly NewEvent[]) => Promise<readonly Outcome[] | undefined>;

/**
 * An outcome for every item. An id that stands more than once goes to the store once; items about which its outcome proves nothing are asked about
 * after it, and before any later event of their producer: see distinctEvents. Each round decides at least one item, and all that follow from it, and
 * rounds are few: one more for each session or refused content that shares an id with another. Undefined when `commit` gives none.
 */
export async function decide<Item extends { readonly event: NewEvent }>(
  items: readonly Item[],
  commit: CommitEvents,
): Promise<ReadonlyMap<Item, Outcome> | undefined> {
  const decided = new Map<Item, Outcome>();
  let open = items;
  while (open.length > 0) {
    const { events, spokenForBy } = distinctEvents(open);
    const outcomes = await commit(events);
    if (outcomes === undefined) return undefined;
    const undecided: Item[] = [];
    let next = 0;
    for (const item of open) {
      const index = spokenForBy[next] ?? noSpeaker;
      next += 1;
      if (index === noSpeaker) {
        undecided.push(item);
        continue;
      }
      const speaker = events[index];
      const answer = outcomes[index];
      assert(speaker !== undefined && answer !== undefined, "the store answers every event");
      const outcome = item.event === speaker ? answer : outcomeBehind(speaker, answer, item.event);
      if (outcome === undefined) undecided.push(item);
      else decided.set(item, outcome);
    }
    open = undecided;
  }
  return decided;
}

/** Halves a batch until the event that the store refuses stands alone; that one is buried, its neighbours are committed. */
export async function bisect(
  events: readonly NewEvent[],
  commit: CommitEvents,
  bury: (event: NewEvent) => Promise<readonly Outcome[] | undefined>,
): Promise<readonly Outcome[] | undefined> {
  const [only, second] = events;
  if (only === undefined) return [];
  if (second === undefined) return bury(only);
  const middle = Math.ceil(events.length / 2);
  const left = await commit(events.slice(0, middle));
  const right = left && (await commit(events.slice(middle)));
  return left && right && [...left, ...right];
}

/** What the store throws is a StoreFault; anything else is a bug of ours that one event of the batch has found, and is handled as its poison. */
export function toFault(thrown: unknown): StoreFault {
  if (thrown instanceof StoreFault) return thrown;
  return new StoreFault("poison", "INTERNAL", "internal error while storing the event", thrown);
}

/** What becomes of an event that the store refused with `fault`. */
export function poisonOf(fault: StoreFault): Outcome {
  return { kind: "poison", description: `the store refused it (${fault.code}): ${fault.message}` };
}
