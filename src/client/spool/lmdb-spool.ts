import type { Clock } from "../../platform/clock.js";
import type { CoordinatorError } from "../../platform/errors.js";
import { limits } from "../../platform/limits.js";
import { decodeEvent } from "../wire/frames.js";
import { AgeClock } from "./age-clock.js";
import { type Change, commitChanges, countChange } from "./change.js";
import { ChangeQueue } from "./change-queue.js";
import { diskFault } from "./disk-fault.js";
import { type Environment, rangeAfter } from "./environment.js";
import { HeldEvent } from "./held-event.js";
import { decodeSetAside, encodeSetAside, type RecordHead, readHead, readRecord, recordBytesOf, recordHeadMaxBytes } from "./record.js";
import type { Repair } from "./repair.js";
import type { SetAside, Spool, SpooledEvent, SpoolFigures, SpoolKind } from "./spool.js";
import type { SpoolState } from "./state.js";
import { countEvent, type Totals } from "./totals.js";
import type { TroubleOutlet } from "./trouble.js";

/** How much a spool may hold. */
export type SpoolBounds = { readonly maxEvents: number; readonly maxBytes: number; readonly maxAgeMs: number };

/** Also counted, since it was opened. */
export type DetailedSpoolFigures = SpoolFigures & {
  /** Of `events`, those that a full spool may drop. */
  readonly progressEvents: number;
  /** In memory, on their way to the disk. */
  readonly pendingEvents: number;
  readonly setAsideBytes: number;
  /** Refused events forgotten because too many were set aside. */
  readonly droppedSetAside: number;
  /** Of `refusedFull`, those that the disk refused after they were taken. */
  readonly lostToDisk: number;
  /** Records that were not what was written, and are left out. */
  readonly unreadable: number;
  /** Whether a broken file was moved aside when it was opened, and events read out of it. */
  readonly repair: Repair | undefined;
};

export type LmdbSpoolDeps = {
  readonly directory: string;
  readonly env: Environment;
  readonly state: SpoolState;
  readonly bounds: SpoolBounds;
  readonly clock: Clock;
  readonly tell: TroubleOutlet;
  readonly repair: DetailedSpoolFigures["repair"];
  /** The lock is shown to be alive, and given back at the end. */
  readonly beat: () => void;
  readonly release: () => void;
};

type Counts = { droppedProgress: number; refusedFull: number; droppedSetAside: number; lostToDisk: number; unreadable: number };

/** An open spool. SPEC.md has its states and invariants. */
export class LmdbSpool implements Spool {
  readonly #deps: LmdbSpoolDeps;
  readonly #env: Environment;
  readonly #queue: ChangeQueue;
  readonly #age: AgeClock;
  #lastPlace: number;
  /** As on disk after the last transaction. */
  #durable: Totals;
  /** As it will be when everything that was asked for is on disk. */
  readonly #live: Totals;
  /** Places on disk that are being removed or set aside, and set-aside ones that are being removed. */
  readonly #leaving = new Set<number>();
  readonly #leavingSetAside = new Set<number>();
  readonly #counts: Counts = { droppedProgress: 0, refusedFull: 0, droppedSetAside: 0, lostToDisk: 0, unreadable: 0 };
  /** After a refusal of the disk nothing is taken for a while: each try costs a line that lmdb itself writes to stderr. Monotonic. */
  #refusedUntilMs = Number.NEGATIVE_INFINITY;
  #closing: Promise<void> | undefined;
  #stopTimers: () => void = () => undefined;

  constructor(deps: LmdbSpoolDeps) {
    this.#deps = deps;
    this.#env = deps.env;
    this.#lastPlace = deps.state.lastPlace;
    this.#durable = deps.state.totals;
    this.#live = { ...deps.state.totals };
    this.#age = new AgeClock(deps.clock);
    this.#queue = new ChangeQueue({
      clock: deps.clock,
      commit: (changes) => this.#commit(changes),
      beforeCommit: () => this.#guarded(() => this.#makeRoom()),
      onCommitted: (changes) => this.#committed(changes),
      onRefused: (changes, error) => this.#refused(changes, error),
    });
    this.#every(limits.spoolHolderBeatMs, deps.beat);
    this.#every(limits.spoolSweepIntervalMs, () => this.#sweep());
  }

  readonly put = (eventId: string, kind: SpoolKind, encoded: Uint8Array): number | undefined => {
    const bytes = recordBytesOf(eventId, encoded);
    const isIdTooLong = bytes - encoded.length > recordHeadMaxBytes;
    if (this.#closing !== undefined || isIdTooLong || !this.#hasRoom(kind, bytes)) return this.#refuse(kind);
    const change: Change = { type: "put", place: ++this.#lastPlace, kind, bytes, atMs: this.#deps.clock.nowMs(), eventId, encoded };
    this.#add(change);
    return change.place;
  };

  readonly isRefusing = (): boolean => this.#deps.clock.monotonicMs() < this.#refusedUntilMs;

  readonly flushed = (): Promise<void> => this.#queue.flushed();

  readonly readAfter = (place: number, maxCount: number): readonly SpooledEvent[] => {
    const found: SpooledEvent[] = [];
    let bytes = 0;
    for (const { key, value } of this.#rangeAfter(place, maxCount)) {
      if (this.#leaving.has(key)) continue;
      bytes += value.length;
      if (found.length > 0 && bytes > limits.spoolPageMaxBytes) break;
      const event = this.#decode(key, value);
      if (event !== undefined) found.push(event);
      if (found.length >= maxCount) break;
    }
    return found;
  };

  readonly forget = (places: readonly number[]): void => {
    for (const place of places) {
      const found = this.#find(place);
      if (found !== undefined) this.#add({ type: "remove", place, kind: found.head.kind, bytes: found.record.length });
      else this.#forgetSetAside(place);
    }
  };

  readonly setAside = (place: number, reason: string): void => {
    const found = this.#find(place);
    if (found !== undefined) this.#setAside(place, found.head, found.record, reason);
  };

  readonly listSetAside = (afterPlace: number, maxCount: number): readonly SetAside[] => {
    const found: SetAside[] = [];
    let bytes = 0;
    if (this.#closing !== undefined || maxCount < 1) return found;
    for (const { key, value } of rangeAfter(this.#env.setAside, afterPlace)) {
      if (this.#leavingSetAside.has(key)) continue;
      bytes += value.length;
      if (found.length > 0 && bytes > limits.spoolPageMaxBytes) break;
      const record = decodeSetAside(value);
      if (record === undefined) continue;
      const { reason, atMs, event } = record;
      found.push({ place: key, eventId: event.eventId, event: decodeEvent(event.encoded), reason, atMs });
      if (found.length >= maxCount) break;
    }
    return found;
  };

  readonly count = (): number => this.#live.events;

  readonly figures = (): DetailedSpoolFigures => {
    const { events, bytes, progressEvents, setAside, setAsideBytes } = this.#live;
    return {
      events,
      bytes,
      oldestMs: this.#oldestMs(),
      setAside,
      ...this.#counts,
      progressEvents,
      pendingEvents: this.#queue.pendingPuts,
      setAsideBytes,
      repair: this.#deps.repair,
    };
  };

  /** Writes what there is, and gives the directory free. What the disk refuses now is lost, and said so. Idempotent. */
  readonly close = (): Promise<void> => {
    this.#closing ??= this.#close();
    return this.#closing;
  };

  /** Drops progress that is too old, and sets aside other events that are; by `AgeClock`, not by the wall. */
  #sweep(): void {
    if (this.#closing !== undefined || !this.#age.mayJudge) return;
    const beforeMs = this.#age.nowMs() - this.#deps.bounds.maxAgeMs;
    let seen = 0;
    for (const { key: place, value: record } of rangeAfter(this.#env.events, 0)) {
      if (this.#leaving.has(place)) continue;
      const head = readHead(record);
      // Places are in order of reporting: what comes after is younger, unless the clock went back, and then it is looked at later.
      if (head !== undefined && head.atMs > beforeMs) return;
      if (++seen > limits.spoolSweepMaxEvents) {
        this.#deps.clock.after(0, () => this.#guarded(() => this.#sweep()));
        return;
      }
      this.#endOfAge(place, head, record);
    }
  }

  #endOfAge(place: number, head: RecordHead | undefined, record: Buffer): void {
    if (head === undefined) {
      this.#dropUnreadable(place, record);
      return;
    }
    if (head.kind === "progress") {
      this.#add({ type: "remove", place, kind: head.kind, bytes: record.length });
      this.#counts.droppedProgress++;
    } else this.#setAside(place, head, record, "TOO_OLD");
    this.#deps.tell("too_old", "events waited too long in the spool: progress was dropped, others are set aside as TOO_OLD", 1);
  }

  #add(change: Change): void {
    countChange(this.#live, change);
    if (change.type === "removeSetAside") this.#leavingSetAside.add(change.place);
    else if (change.type !== "put") this.#leaving.add(change.place);
    this.#queue.add(change);
  }

  /** Constant time: whether progress that could be dropped for this event exists is known from the totals, and it is dropped by the next transaction. */
  #hasRoom(kind: SpoolKind, bytes: number): boolean {
    if (this.isRefusing()) return false;
    const share = kind === "progress" ? limits.spoolPendingProgressShare : 1;
    if (this.#queue.pendingPuts >= share * limits.spoolPendingMaxEvents) return false;
    if (this.#queue.pendingBytes + bytes > share * limits.spoolPendingMaxBytes) return false;
    const { events, bytes: held, progressEvents, progressBytes } = this.#live;
    const { maxEvents, maxBytes } = this.#deps.bounds;
    return events + 1 - progressEvents <= maxEvents && held + bytes - progressBytes <= maxBytes && bytes <= maxBytes;
  }

  #refuse(kind: SpoolKind): undefined {
    if (kind === "progress") this.#counts.droppedProgress++;
    else this.#counts.refusedFull++;
    const { events, bytes } = this.#live;
    const waiting = `${this.#queue.pendingPuts} of them wait for the disk`;
    const message = `the spool did not take an event: it holds ${events} events of ${bytes} bytes, ${waiting}`;
    this.#deps.tell("full", message, 1);
    return undefined;
  }

  /** Above the bounds the oldest progress goes, and of what is set aside the oldest. */
  #makeRoom(): void {
    const { maxEvents, maxBytes } = this.#deps.bounds;
    this.#dropWhile(
      this.#env.progress,
      () => this.#live.events > maxEvents || this.#live.bytes > maxBytes,
      (place, value) => {
        if (this.#leaving.has(place)) return 0;
        this.#add({ type: "remove", place, kind: "progress", bytes: value.readUInt32BE(0) });
        this.#counts.droppedProgress++;
        this.#deps.tell("full", "the spool is full: the oldest progress is dropped", 1);
        return 1;
      },
    );
    const isCrowded = (): boolean =>
      this.#live.setAside > limits.spoolSetAsideMaxEvents || this.#live.setAsideBytes > limits.spoolSetAsideMaxBytes;
    this.#dropWhile(this.#env.setAside, isCrowded, (place, value) => {
      if (this.#leavingSetAside.has(place)) return 0;
      this.#add({ type: "removeSetAside", place, bytes: value.length });
      this.#counts.droppedSetAside++;
      this.#deps.tell("set_aside_full", "too many events are set aside: the oldest of them are forgotten", 1);
      return 1;
    });
  }

  #dropWhile(database: Environment["events"], isNeeded: () => boolean, drop: (place: number, value: Buffer) => number): void {
    if (!isNeeded()) return;
    let dropped = 0;
    for (const { key, value } of rangeAfter(database, 0)) {
      dropped += drop(key, value);
      if (dropped >= limits.spoolSweepMaxEvents || !isNeeded()) return;
    }
  }

  #find(place: number): { readonly head: RecordHead; readonly record: Buffer } | undefined {
    if (this.#closing !== undefined || this.#leaving.has(place)) return undefined;
    const record = this.#env.events.get(place);
    const head = record && readHead(record);
    return record && head && { head, record };
  }

  #forgetSetAside(place: number): void {
    if (this.#closing !== undefined || this.#leavingSetAside.has(place)) return;
    const value = this.#env.setAside.get(place);
    if (value !== undefined) this.#add({ type: "removeSetAside", place, bytes: value.length });
  }

  #setAside(place: number, head: RecordHead, record: Buffer, reason: string): void {
    const value = encodeSetAside(reason, this.#deps.clock.nowMs(), record);
    this.#add({ type: "setAside", place, kind: head.kind, bytes: record.length, value });
  }

  *#rangeAfter(place: number, maxCount: number): Iterable<{ readonly key: number; readonly value: Buffer }> {
    if (this.#closing !== undefined || maxCount < 1) return;
    yield* rangeAfter(this.#env.events, place);
  }

  #decode(place: number, record: Buffer): SpooledEvent | undefined {
    const read = readRecord(record);
    if (read === undefined) {
      this.#dropUnreadable(place, record);
      return undefined;
    }
    // A copy: the memory of a record is the database's. Decoded only where somebody asks for the fields: most transports send the bytes.
    return new HeldEvent(read.eventId, Buffer.from(read.encoded), place);
  }

  /** The disk gave back other bytes than were written: there is nothing to send. Its kind may be wrong too, and removing it from a database where it is not is harmless. */
  #dropUnreadable(place: number, record: Buffer): void {
    const size = this.#env.progress.get(place);
    this.#add({ type: "remove", place, kind: size === undefined ? "error" : "progress", bytes: record.length });
    this.#counts.unreadable++;
    this.#deps.tell("unreadable", "records in the spool are not what was written, and are left out", 1);
  }

  #oldestMs(): number {
    if (this.#closing !== undefined) return 0;
    for (const { key, value } of rangeAfter(this.#env.events, 0)) {
      if (this.#leaving.has(key)) continue;
      return Math.max(0, this.#age.nowMs() - (readHead(value)?.atMs ?? 0));
    }
    return 0;
  }

  async #commit(changes: readonly Change[]): Promise<CoordinatorError | undefined> {
    const totals = { ...this.#durable };
    for (const change of changes) countChange(totals, change);
    try {
      await commitChanges(this.#env, changes, this.#lastPlace, totals);
      this.#durable = totals;
      return undefined;
    } catch (thrown) {
      // The loop's edge: the refusal becomes state of the queue.
      return diskFault(this.#deps.directory, thrown);
    }
  }

  #committed(changes: readonly Change[]): void {
    for (const { type, place } of changes) {
      if (type === "removeSetAside") this.#leavingSetAside.delete(place);
      else if (type !== "put") this.#leaving.delete(place);
    }
  }

  #refused(changes: readonly Change[], error: CoordinatorError): void {
    let lost = 0;
    this.#refusedUntilMs = this.#deps.clock.monotonicMs() + limits.spoolRetryMs;
    for (const change of changes) {
      if (change.type !== "put") continue;
      lost++;
      countEvent(this.#live, change.kind, change.bytes, -1);
    }
    this.#counts.lostToDisk += lost;
    this.#counts.refusedFull += lost;
    this.#deps.tell("disk", error.message, lost, error);
  }

  /** The edge of what runs by itself: nobody could catch what it throws, and the process around it must not end by it. The disk is told to refuse. */
  #guarded(task: () => void): void {
    try {
      task();
    } catch (thrown) {
      const error = diskFault(this.#deps.directory, thrown);
      this.#deps.tell("disk", error.message, 0, error);
    }
  }

  #every(intervalMs: number, task: () => void): void {
    let cancel: () => void = () => undefined;
    let isStopped = false;
    const next = (): void => {
      cancel = this.#deps.clock.after(intervalMs, () => {
        if (isStopped) return;
        this.#guarded(task);
        next();
      });
    };
    next();
    const stopBefore = this.#stopTimers;
    this.#stopTimers = () => {
      stopBefore();
      isStopped = true;
      cancel();
    };
  }

  async #close(): Promise<void> {
    this.#stopTimers();
    await this.#queue.end();
    await this.#env.root.close();
    this.#deps.release();
  }
}
