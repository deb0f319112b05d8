import type { Cancel, Clock } from "../platform/clock.js";
import { CoordinatorError, type ErrorReason } from "../platform/errors.js";
import { limits } from "../platform/limits.js";
import { DiskCopies } from "./disk-copies.js";
import { createMemorySpool } from "./memory-spool.js";
import type { Spool, SpoolFigures, SpoolKind } from "./spool/spool.js";
import type { Troubles } from "./troubles.js";

/** An event that was taken, and is not yet known to be on disk. */
type Fresh = { readonly eventId: string; readonly kind: SpoolKind; readonly encoded: Uint8Array };

export type ShelfDeps = {
  readonly clock: Clock;
  readonly troubles: Troubles;
  /** Opens the spool on disk; undefined when there is to be none. Rejects when it cannot be opened. */
  readonly openDisk: (() => Promise<Spool>) | undefined;
  /** A spool to be emptied; gives what is called when events up to a place may be read. */
  readonly onSpool: (spool: Spool) => (newestPlace: number) => void;
  /** The spool on disk is there, or will not be for now. */
  readonly onOpened: () => void;
  /** It could not be opened then, and is there now. `moved`: events that were in memory only, and are on disk from now on. */
  readonly onTakenOver: (moved: number) => void;
};

/**
 * Where events go first. On disk when that is possible; in memory until it is open, and when it takes none: then the events are sent as long as the process lives, and that is
 * said. A disk that another process holds, or that is full, is tried again until it can be had: what waits in memory goes there too. Nothing here waits, throws or rejects.
 */
export class Shelf {
  readonly #deps: ShelfDeps;
  readonly #memory: Spool;
  readonly #copies: DiskCopies;
  readonly #readableInMemory: (newestPlace: number) => void;
  readonly #opened: Promise<void>;
  #disk: Spool | undefined;
  #readableOnDisk: (newestPlace: number) => void = () => undefined;
  #early: Fresh[] = [];
  /** Put since the flush that is under way began. */
  #unflushed: Fresh[] = [];
  #newestPlace = 0;
  #flushing: Promise<void> | undefined;
  #kind: "opening" | "disk" | "memory";
  #cancelRetry: Cancel = () => undefined;
  #takingOver: Promise<void> | undefined;
  #isClosing = false;
  #isClosed = false;

  constructor(deps: ShelfDeps) {
    this.#deps = deps;
    this.#copies = new DiskCopies(createMemorySpool(deps.clock));
    this.#memory = this.#copies.memory;
    this.#readableInMemory = deps.onSpool(this.#memory);
    this.#kind = deps.openDisk === undefined ? "memory" : "opening";
    this.#opened = deps.openDisk === undefined ? Promise.resolve() : this.#open(deps.openDisk);
  }

  get kind(): "opening" | "disk" | "memory" {
    return this.#disk?.isRefusing() === true ? "memory" : this.#kind;
  }

  /** Events without a verdict, also those that are on their way to the disk. */
  get unresolvedCount(): number {
    return this.#early.length + this.#memory.count() - this.#copies.count + (this.#disk?.count() ?? 0);
  }

  /** Of them, those that are gone with the process. */
  get volatileCount(): number {
    return this.#early.length + this.#memory.count() - this.#copies.count;
  }

  get figures(): SpoolFigures {
    const memory = this.#memory.figures();
    const disk = this.#isClosed ? undefined : this.#disk?.figures();
    const early = { events: this.#early.length, bytes: this.#early.reduce((sum, { encoded }) => sum + encoded.length, 0) };
    return {
      events: early.events + memory.events - this.#copies.count + (disk?.events ?? 0),
      bytes: early.bytes + memory.bytes - this.#copies.bytes + (disk?.bytes ?? 0),
      oldestMs: Math.max(memory.oldestMs, disk?.oldestMs ?? 0),
      setAside: memory.setAside + (disk?.setAside ?? 0),
      droppedProgress: memory.droppedProgress + (disk?.droppedProgress ?? 0),
      refusedFull: memory.refusedFull + (disk?.refusedFull ?? 0),
    };
  }

  /** Events that were refused for good, oldest first. */
  get spools(): readonly Spool[] {
    return this.#disk === undefined ? [this.#memory] : [this.#disk, this.#memory];
  }

  /** Takes an event; false when there is no room. */
  take(eventId: string, kind: SpoolKind, encoded: Uint8Array): boolean {
    if (this.#kind === "memory") return this.#takeInMemory({ eventId, kind, encoded });
    if (this.#disk === undefined) {
      if (this.#early.length >= limits.spoolWaitMaxEvents) return false;
      this.#early.push({ eventId, kind, encoded });
      return true;
    }
    return this.#takeOnDisk(this.#disk, { eventId, kind, encoded });
  }

  /** Resolves when everything that was taken, forgotten or set aside is on disk, or in memory for good. */
  async durable(): Promise<void> {
    await this.#opened;
    await this.#takingOver;
    while (this.#flushing !== undefined) await this.#flushing;
    try {
      await this.#disk?.flushed();
    } catch {
      // The loop's edge: what the disk refuses here was told with the events, or is told by the spool itself, which tries again.
    }
  }

  /** Writes what there is, and gives the disk free. */
  async close(): Promise<void> {
    this.#isClosing = true;
    this.#cancelRetry();
    await this.durable();
    this.#isClosed = true;
    try {
      await this.#disk?.close();
    } catch (thrown) {
      // The loop's edge: what the disk refuses at the end is told.
      this.#deps.troubles.tell("spool", `the spool could not be closed in good order: ${messageOf(thrown)}`);
    }
  }

  async #open(openDisk: () => Promise<Spool>): Promise<void> {
    try {
      this.#use(await openDisk());
    } catch (thrown) {
      // The loop's edge: reporting goes on without the disk, and says so.
      this.#kind = "memory";
      const message = `events are kept in memory only, and are lost with the process: ${messageOf(thrown)}; give each process a localCachePath of its own that it can write`;
      this.#deps.troubles.tell("spool", message);
      if (mayPass(thrown)) this.#openLater(openDisk);
    }
    for (const { eventId, kind, encoded } of this.#early.splice(0)) {
      if (!this.take(eventId, kind, encoded))
        this.#deps.troubles.tell("full", "there was no room for an event that was reported before the spool was open");
    }
    this.#deps.onOpened();
  }

  #use(disk: Spool): void {
    this.#disk = this.#copies.attach(disk);
    this.#kind = "disk";
    this.#readableOnDisk = this.#deps.onSpool(this.#disk);
  }

  #openLater(openDisk: () => Promise<Spool>): void {
    if (this.#isClosing) return;
    this.#cancelRetry = this.#deps.clock.after(limits.spoolOpenRetryMs, () => {
      this.#takingOver = this.#takeOver(openDisk).finally(() => {
        this.#takingOver = undefined;
      });
    });
  }

  /** Never rejects. From the moment that the disk is there new events go to it; those in memory follow. */
  async #takeOver(openDisk: () => Promise<Spool>): Promise<void> {
    try {
      this.#use(await openDisk());
    } catch (thrown) {
      // The loop's edge: it is tried again. That it is still so was said before; another reason is new.
      if (mayPass(thrown)) this.#openLater(openDisk);
      else this.#deps.troubles.tell("spool", `events stay in memory only: ${messageOf(thrown)}`);
      return;
    }
    try {
      this.#deps.onTakenOver(await this.#copies.fill());
    } catch (thrown) {
      // The loop's edge: those that the disk does not take are sent from memory.
      this.#deps.troubles.tell("spool", `events that were reported before the spool was open stay in memory: ${messageOf(thrown)}`);
    }
    this.#deps.onOpened();
  }

  #takeInMemory({ eventId, kind, encoded }: Fresh): boolean {
    const place = this.#memory.put(eventId, kind, encoded);
    if (place !== undefined) this.#readableInMemory(place);
    return place !== undefined;
  }

  #takeOnDisk(disk: Spool, fresh: Fresh): boolean {
    // A full disk is not a full spool: what it does not take is sent as long as the process lives.
    if (disk.isRefusing()) return this.#takeInMemory(fresh);
    const place = disk.put(fresh.eventId, fresh.kind, fresh.encoded);
    if (place === undefined) return false;
    this.#newestPlace = place;
    this.#unflushed.push(fresh);
    this.#flushing ??= this.#flush(disk);
    return true;
  }

  /** Follows the disk until all that was put is on it. One at a time. */
  async #flush(disk: Spool): Promise<void> {
    // What is reported in one turn of the loop is written together.
    await undefined;
    while (this.#unflushed.length > 0) {
      const batch = this.#unflushed;
      const place = this.#newestPlace;
      this.#unflushed = [];
      try {
        await disk.flushed();
        this.#readableOnDisk(place);
      } catch (thrown) {
        this.#rescue(batch, thrown);
      }
    }
    this.#flushing = undefined;
  }

  /** The loop's edge: what the disk has refused is sent from memory. */
  #rescue(batch: readonly Fresh[], thrown: unknown): void {
    const lost = batch.filter((fresh) => !this.#takeInMemory(fresh)).length;
    const rescued = `${batch.length - lost} events are sent from memory instead`;
    const message = `the disk under the spool refuses: ${messageOf(thrown)}; ${rescued}${lost === 0 ? "" : `, ${lost} are lost`}; make room, or choose another localCachePath`;
    this.#deps.troubles.tell("spool", message);
  }
}

/** Whether a spool that could not be opened may be there a while later without anybody's doing. */
const mayPass = (thrown: unknown): boolean => thrown instanceof CoordinatorError && passing.has(thrown.reason);
const passing: ReadonlySet<ErrorReason> = new Set(["SPOOL_IN_USE", "SPOOL_DISK_FULL", "SPOOL_DISK_FAILED"]);

const messageOf = (thrown: unknown): string => (thrown instanceof Error ? thrown.message : String(thrown));
