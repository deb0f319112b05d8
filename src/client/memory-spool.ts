import type { Clock } from "../platform/clock.js";
import { limits } from "../platform/limits.js";
import { HeldEvent } from "./spool/held-event.js";
import type { SetAside, Spool, SpooledEvent, SpoolFigures, SpoolKind } from "./spool/spool.js";

/** Events wait here and are gone with the process: for `localCachePath: ":memory:"`, and where the disk takes none. */
export type MemorySpoolBounds = { readonly maxEvents: number; readonly maxBytes: number };

/** An event that waits, as it was put. */
export type WaitingEvent = { readonly event: SpooledEvent; readonly kind: SpoolKind; readonly encoded: Uint8Array };

export type MemorySpool = Spool & {
  /** The next events after a place, in order, at most `maxCount`. */
  readonly heldAfter: (place: number, maxCount: number) => readonly WaitingEvent[];
};

type Held = WaitingEvent & { readonly bytes: number; readonly atMs: number };

/** A spool without a disk. Bound: `bounds`; when it is full the oldest progress makes room, and where there is none nothing more is taken. */
export function createMemorySpool(
  clock: Pick<Clock, "nowMs">,
  bounds: MemorySpoolBounds = { maxEvents: limits.outboxMaxEvents, maxBytes: limits.outboxMaxBytes },
): MemorySpool {
  const held = new Map<number, Held>();
  const progress = new Set<number>();
  const aside: SetAside[] = [];
  const figures = { bytes: 0, setAside: 0, droppedProgress: 0, refusedFull: 0 };
  let lastPlace = 0;
  const remove = (place: number): Held | undefined => {
    const one = held.get(place);
    if (one === undefined) return undefined;
    held.delete(place);
    progress.delete(place);
    figures.bytes -= one.bytes;
    return one;
  };
  const hasRoom = (bytes: number): boolean => held.size < bounds.maxEvents && figures.bytes + bytes <= bounds.maxBytes;
  const makeRoom = (bytes: number): boolean => {
    while (!hasRoom(bytes)) {
      const [oldest] = progress;
      if (oldest === undefined) return false;
      remove(oldest);
      figures.droppedProgress += 1;
    }
    return true;
  };
  return {
    isRefusing: () => false,
    put: (eventId, kind, encoded) => {
      if (!makeRoom(encoded.length)) {
        figures.refusedFull += 1;
        return undefined;
      }
      lastPlace += 1;
      const bytes = encoded.length;
      held.set(lastPlace, { event: new HeldEvent(eventId, encoded, lastPlace), kind, encoded, bytes, atMs: clock.nowMs() });
      figures.bytes += bytes;
      if (kind === "progress") progress.add(lastPlace);
      return lastPlace;
    },
    flushed: async () => undefined,
    readAfter: (place, maxCount) => readAfter(held, lastPlace, place, maxCount).map(({ event }) => event),
    heldAfter: (place, maxCount) => readAfter(held, lastPlace, place, maxCount),
    forget: (places) => {
      for (const place of places) remove(place);
    },
    setAside: (place, reason) => {
      const one = remove(place);
      if (one === undefined) return;
      const { eventId, encoded = new Uint8Array() } = one.event;
      aside.push(Object.assign(new HeldEvent(eventId, encoded, place), { reason, atMs: clock.nowMs() }));
      figures.setAside += 1;
      if (aside.length > limits.setAsideInMemoryMax) aside.shift();
    },
    listSetAside: (afterPlace, maxCount) => aside.filter(({ place }) => place > afterPlace).slice(0, maxCount),
    count: () => held.size,
    figures: () => figuresOf(held, figures, clock.nowMs()),
    close: async () => undefined,
  };
}

function readAfter(held: ReadonlyMap<number, Held>, lastPlace: number, place: number, maxCount: number): readonly Held[] {
  const found: Held[] = [];
  // By place where that is short, and over what is held where places were given up in between.
  if (lastPlace - place <= held.size * 2) {
    for (let next = place + 1; next <= lastPlace && found.length < maxCount; next += 1) {
      const one = held.get(next);
      if (one !== undefined) found.push(one);
    }
    return found;
  }
  for (const one of held.values()) {
    if (one.event.place > place) found.push(one);
    if (found.length >= maxCount) break;
  }
  return found;
}

function figuresOf(
  held: ReadonlyMap<number, Held>,
  counted: Pick<SpoolFigures, "bytes" | "setAside" | "droppedProgress" | "refusedFull">,
  nowMs: number,
): SpoolFigures {
  const [oldest] = held.values();
  return { ...counted, events: held.size, oldestMs: oldest === undefined ? 0 : Math.max(0, nowMs - oldest.atMs) };
}
