import type { NewEvent, Outcome } from "../interaction/event.js";

/** Stands for "nobody yet" where the index of a speaker is asked for: the item has to wait for the next statement. */
export const noSpeaker = -1;

/** Events for one statement, each key once, and for every item the index of the event that speaks for it: the first with its key, or `noSpeaker`. */
export type Distinct = { readonly events: readonly NewEvent[]; readonly spokenForBy: readonly number[] };

/**
 * What may go into one statement. A producer's events reach the store in the order they came, because its resume point says of everything below that it is
 * resolved: once an item may be left undecided by the event that speaks for it, later events of its producer wait for the next statement.
 */
export function distinctEvents(items: readonly { readonly event: NewEvent }[]): Distinct {
  const events: NewEvent[] = [];
  const spokenForBy: number[] = [];
  /** By id alone, which is nearly always enough; of ids that several MCPs use at once, the first stands here and the others in indexByKey. */
  const indexById = new Map<string, number>();
  const indexByKey = new Map<string, number>();
  const waiting = new Set<string>();
  for (const { event } of items) {
    let index = indexById.get(event.eventId);
    if (index !== undefined && events[index]?.mcpId !== event.mcpId) index = indexByKey.get(`${event.eventId}${event.mcpId}`);
    const speaker = index === undefined ? undefined : events[index];
    if (speaker !== undefined) {
      if (event.producerId !== "" && !isDecidedBehind(speaker, event)) waiting.add(event.producerId);
    } else if (waiting.has(event.producerId)) {
      index = noSpeaker;
    } else {
      index = events.push(event) - 1;
      if (!indexById.has(event.eventId)) indexById.set(event.eventId, index);
      else indexByKey.set(`${event.eventId}${event.mcpId}`, index);
    }
    spokenForBy.push(index ?? noSpeaker);
  }
  return { events, spokenForBy };
}

/** Whether every outcome of `speaker` says what becomes of another event of the same key. */
function isDecidedBehind(speaker: NewEvent, event: NewEvent): boolean {
  return event.digest === speaker.digest && (speaker.epoch === 0 || isNotLater(event, speaker));
}

/** Whether `event` came with a session of the same producer that is not newer than that of `other`. */
function isNotLater(event: NewEvent, other: NewEvent): boolean {
  return event.producerId === other.producerId && event.epoch !== 0 && event.epoch <= other.epoch;
}

/**
 * What the outcome of `speaker` leaves for another event of the same key. Undefined when it proves nothing about it: a speaker whose session was
 * superseded says nothing of other sessions, a refused content nothing of other content. Then the store is asked about that event itself.
 */
export function outcomeBehind(speaker: NewEvent, outcome: Outcome, event: NewEvent): Outcome | undefined {
  switch (outcome.kind) {
    case "stored":
    case "duplicate":
      return againstStored(event, speaker.digest, outcome.storedAtMs);
    case "conflict":
      return againstStored(event, outcome.storedDigest, outcome.storedAtMs);
    case "fenced":
      return isNotLater(event, speaker) ? outcome : undefined;
    case "poison":
      return event.digest === speaker.digest ? outcome : undefined;
  }
}

function againstStored(event: NewEvent, storedDigest: string, storedAtMs: number): Outcome {
  return event.digest === storedDigest ? { kind: "duplicate", storedAtMs } : { kind: "conflict", storedDigest, storedAtMs };
}
