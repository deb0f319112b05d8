import { assert } from "../platform/assert.js";

/** What a session may have on the wire without an ack. Absolute values. */
export type Window = { readonly maxEvents: number; readonly maxBytes: number };

/** The window that keeps within both. */
export function narrower(window: Window, own: Window | undefined): Window {
  if (own === undefined) return window;
  return { maxEvents: Math.min(window.maxEvents, own.maxEvents), maxBytes: Math.min(window.maxBytes, own.maxBytes) };
}

/** What may go into one frame. */
export type FrameBounds = { readonly maxEvents: number; readonly maxBytes: number };

/** Bounds of an outbox. Bytes are those of encoded events. */
export type OutboxBounds = { readonly maxEvents: number; readonly maxBytes: number };

/** Highest resume point that is believed: half of the numbers that can be told apart are above it. */
const resumeMax = 2 ** 52;

/** An event that is not yet resolved. */
export type OutboxEntry = {
  readonly eventId: string;
  readonly sequence: number;
  /** The encoded InteractionEvent, the same on every attempt. */
  readonly encoded: Uint8Array;
  /** `waiting` to be sent, `flying` (sent, no verdict yet), `resting` until a refused attempt may be repeated. */
  stage: "waiting" | "flying" | "resting";
  /** Monotonic time of the newest sending; 0 while never sent. */
  sentAtMs: number;
  sendCount: number;
  /** A resume point above it proves nothing about this event: it was refused, or may have been, or another process used the producer_id since it was sent. */
  isDoubtful: boolean;
  /** Monotonic time from which a resting entry may be sent again. */
  dueMs: number;
};

/**
 * Events that were reported and not yet resolved, in memory, in order of sequence. An entry leaves only through `forget` (a final verdict) or
 * `resume` (the coordinator's resume point covers it).     Bound: `bounds`; `add` refuses above it.
 */
export class Outbox {
  readonly #bounds: OutboxBounds;
  readonly #held = new Map<number, OutboxEntry>();
  /** Entries to send, oldest first, from `#head` on. */
  #queue: OutboxEntry[] = [];
  #head = 0;
  readonly #resting = new Set<OutboxEntry>();
  #nextSequence = 1;
  #heldBytes = 0;
  #flyingEvents = 0;
  #flyingBytes = 0;

  constructor(bounds: OutboxBounds) {
    this.#bounds = bounds;
  }

  get heldEvents(): number {
    return this.#held.size;
  }
  get heldBytes(): number {
    return this.#heldBytes;
  }
  get flyingEvents(): number {
    return this.#flyingEvents;
  }
  get waitingEvents(): number {
    return this.#queue.length - this.#head;
  }
  /** The sequence that the next added entry gets. */
  get nextSequence(): number {
    return this.#nextSequence;
  }
  /** Whether another event of ordinary size fits. One event always fits into an empty outbox. */
  get hasRoom(): boolean {
    return this.#held.size < this.#bounds.maxEvents && (this.#heldBytes < this.#bounds.maxBytes || this.#held.size === 0);
  }
  /** Oldest unresolved sequence, or the next one when nothing is held. */
  get firstHeldSequence(): number {
    for (const sequence of this.#held.keys()) return sequence;
    return this.#nextSequence;
  }
  /** Earliest monotonic time at which a resting entry is due; undefined without one. */
  get restUntilMs(): number | undefined {
    let earliest: number | undefined;
    for (const entry of this.#resting) if (earliest === undefined || entry.dueMs < earliest) earliest = entry.dueMs;
    return earliest;
  }

  /** Takes an event whose encoding carries `nextSequence`. Must have room. */
  add(eventId: string, encoded: Uint8Array): OutboxEntry {
    assert(this.hasRoom, "callers ask hasRoom first");
    const sequence = this.#nextSequence++;
    const entry: OutboxEntry = { eventId, sequence, encoded, stage: "waiting", sentAtMs: 0, sendCount: 0, isDoubtful: false, dueMs: 0 };
    this.#held.set(sequence, entry);
    this.#heldBytes += encoded.length;
    this.#queue.push(entry);
    return entry;
  }

  /**
   * Takes the next events to send in one frame, oldest first, and counts them as flying. Empty when nothing waits, when the window is full, or when
   * more than a full frame waits and the window has less than a full frame left: acks are on their way then, and full frames are cheaper.
   */
  take(window: Window, frame: FrameBounds, nowMs: number): OutboxEntry[] {
    const room = window.maxEvents - this.#flyingEvents;
    const wanted = Math.min(frame.maxEvents, this.waitingEvents);
    if (wanted === 0 || room <= 0) return [];
    if (room < wanted && this.#flyingEvents > 0) return [];
    const taken: OutboxEntry[] = [];
    let bytes = 0;
    while (taken.length < wanted && taken.length < room) {
      const entry = this.#queue[this.#head];
      if (entry === undefined || !this.#fits(entry, bytes, taken.length, window, frame)) break;
      this.#head++;
      entry.stage = "flying";
      entry.sentAtMs = nowMs;
      entry.sendCount++;
      bytes += entry.encoded.length;
      this.#flyingEvents++;
      this.#flyingBytes += entry.encoded.length;
      taken.push(entry);
    }
    this.#compact();
    return taken;
  }

  /** The flying entry with this sequence; undefined for anything a confused peer may name. */
  flying(sequence: number): OutboxEntry | undefined {
    const entry = this.#held.get(sequence);
    return entry?.stage === "flying" ? entry : undefined;
  }

  /** The flying entries of an inclusive range, whatever its size, at the cost of what is held. */
  flyingBetween(first: number, last: number): OutboxEntry[] {
    const found: OutboxEntry[] = [];
    if (last - first >= this.#held.size) {
      for (const entry of this.#held.values())
        if (entry.sequence >= first && entry.sequence <= last && entry.stage === "flying") found.push(entry);
      return found;
    }
    for (let sequence = first; sequence <= last; sequence++) {
      const entry = this.flying(sequence);
      if (entry !== undefined) found.push(entry);
    }
    return found;
  }

  /** Removes a flying entry after a final verdict. */
  forget(entry: OutboxEntry): void {
    this.#land(entry);
    this.#held.delete(entry.sequence);
    this.#heldBytes -= entry.encoded.length;
  }

  /** Keeps a flying entry that was refused for now, to be sent again from `dueMs` on. */
  rest(entry: OutboxEntry, dueMs: number): void {
    this.#land(entry);
    entry.stage = "resting";
    entry.isDoubtful = true;
    entry.dueMs = dueMs;
    this.#resting.add(entry);
  }

  /** What was sent has to be sent again, whatever a resume point says: its verdict is lost, or its sequence has been used by another process. */
  doubt(): void {
    for (const entry of this.#held.values()) if (entry.sendCount > 0) entry.isDoubtful = true;
  }

  /** Puts resting entries that are due by `nowMs` in front of the queue. */
  wake(nowMs: number): void {
    const due = [...this.#resting].filter((entry) => entry.dueMs <= nowMs).sort((a, b) => a.sequence - b.sequence);
    if (due.length === 0) return;
    for (const entry of due) {
      this.#resting.delete(entry);
      entry.stage = "waiting";
    }
    this.#queue = due.concat(this.#queue.slice(this.#head));
    this.#head = 0;
  }

  /**
   * Begins anew on a fresh stream: what was sent, is not doubtful, and lies at or below the coordinator's resume point is resolved and returned;
   * everything else waits again, in order. Resting entries keep resting. A point above 2^52 is no place of ours, whoever has brought the producer_id there:
   * it resolves nothing, and sequences go on where they were.
   */
  resume(point: number): OutboxEntry[] {
    const resumeAfter = point <= resumeMax ? point : 0;
    const resolved: OutboxEntry[] = [];
    const again: OutboxEntry[] = [];
    this.#flyingEvents = 0;
    this.#flyingBytes = 0;
    for (const entry of this.#held.values()) {
      if (entry.sendCount > 0 && !entry.isDoubtful && entry.sequence <= resumeAfter) resolved.push(entry);
      else if (entry.stage !== "resting") {
        entry.stage = "waiting";
        again.push(entry);
      }
    }
    for (const entry of resolved) {
      this.#held.delete(entry.sequence);
      this.#heldBytes -= entry.encoded.length;
    }
    this.#queue = again;
    this.#head = 0;
    // A producer_id with an older history: number on from there, or the coordinator would take new events for old ones.
    this.#nextSequence = Math.max(this.#nextSequence, resumeAfter + 1);
    return resolved;
  }

  #land(entry: OutboxEntry): void {
    assert(entry.stage === "flying", "only an event on the wire gets a verdict");
    this.#flyingEvents--;
    this.#flyingBytes -= entry.encoded.length;
  }

  #fits(entry: OutboxEntry, bytes: number, count: number, window: Window, frame: FrameBounds): boolean {
    if (window.maxBytes <= 0) return false;
    const isAlone = this.#flyingEvents === 0;
    const fitsWindow = isAlone || this.#flyingBytes + entry.encoded.length <= window.maxBytes;
    return fitsWindow && (count === 0 || bytes + entry.encoded.length <= frame.maxBytes);
  }

  #compact(): void {
    if (this.#head < 1_024 || this.#head * 2 < this.#queue.length) return;
    this.#queue = this.#queue.slice(this.#head);
    this.#head = 0;
  }
}
