import { limits } from "../platform/limits.js";
import type { MemorySpool } from "./memory-spool.js";
import type { Spool, SpooledEvent } from "./spool/spool.js";

/** `isDurable`: the disk can find it. `isResolved`: before it could, the memory was told to forget the event. */
type Copy = { readonly place: number; readonly bytes: number; isDurable: boolean; isResolved: boolean };

/**
 * Events that wait in memory and lie on the disk as well, because the disk came later. They are sent from memory; the disk does not give them out, and is told
 * what became of them. Should the process end before, whoever opens the disk next finds them there.     Bound: what the memory holds.
 */
export class DiskCopies {
  /** The memory, to be read and told instead of the one that was given. */
  readonly memory: Spool;
  readonly #held: MemorySpool;
  #disk: Spool | undefined;
  /** By place in memory. */
  readonly #copies = new Map<number, Copy>();
  /** Their places on the disk. */
  readonly #hidden = new Set<number>();
  #bytes = 0;

  constructor(held: MemorySpool) {
    this.#held = held;
    this.memory = {
      ...held,
      forget: (places) => {
        this.#forgetCopies(places);
        held.forget(places);
      },
      setAside: (place, reason) => this.#setAside(place, reason),
    };
  }

  get count(): number {
    return this.#copies.size;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Gives the disk, to be read instead of the one that was given. Nothing is copied yet. */
  attach(disk: Spool): Spool {
    this.#disk = disk;
    return { ...disk, readAfter: (place, maxCount) => this.#readAfter(disk, place, maxCount) };
  }

  /**
   * Copies what waits in memory to the disk, in order, until the disk has all of it or takes no more: the rest stays in memory alone. Gives their number, after
   * they are on disk. Rejects with what the disk says when it refuses.
   */
  async fill(): Promise<number> {
    let copied = 0;
    let after = 0;
    const disk = this.#disk;
    while (disk !== undefined) {
      const page = this.#held.heldAfter(after, limits.spoolCommitMaxEvents);
      const put: number[] = [];
      for (const { event, kind, encoded } of page) {
        const place = disk.put(event.eventId, kind, encoded);
        if (place === undefined) break;
        this.#copies.set(event.place, { place, bytes: encoded.length, isDurable: false, isResolved: false });
        this.#hidden.add(place);
        this.#bytes += encoded.length;
        put.push(event.place);
      }
      if (put.length === 0) break;
      try {
        await disk.flushed();
      } catch (thrown) {
        for (const place of put) this.#drop(place);
        throw thrown; // after cleaning up: the disk has lost them, the memory has not
      }
      this.#settle(put);
      copied += put.length;
      after = put.at(-1) ?? after;
      if (put.length < page.length) break;
    }
    return copied;
  }

  /** What was resolved while it was on its way to the disk is forgotten there now. */
  #settle(places: readonly number[]): void {
    const resolved: number[] = [];
    for (const place of places) {
      const copy = this.#copies.get(place);
      if (copy === undefined) continue;
      copy.isDurable = true;
      if (copy.isResolved) resolved.push(place);
    }
    this.#forgetCopies(resolved);
  }

  #forgetCopies(places: readonly number[]): void {
    const durable: number[] = [];
    for (const place of places) {
      const copy = this.#copies.get(place);
      if (copy?.isDurable === true) durable.push(copy.place);
      else if (copy !== undefined) copy.isResolved = true;
    }
    if (durable.length === 0) return;
    this.#disk?.forget(durable);
    for (const place of places) if (this.#copies.get(place)?.isDurable === true) this.#drop(place);
  }

  /** Set aside on the disk, where it outlives the process. */
  #setAside(place: number, reason: string): void {
    const copy = this.#copies.get(place);
    if (copy === undefined || this.#disk === undefined || !copy.isDurable) {
      if (copy !== undefined) copy.isResolved = true;
      this.#held.setAside(place, reason);
      return;
    }
    this.#disk.setAside(copy.place, reason);
    this.#held.forget([place]);
    this.#drop(place);
  }

  #drop(place: number): void {
    const copy = this.#copies.get(place);
    if (copy === undefined) return;
    this.#copies.delete(place);
    this.#hidden.delete(copy.place);
    this.#bytes -= copy.bytes;
  }

  /** A page of nothing but copies is no end: what is behind them is looked for. */
  #readAfter(disk: Spool, place: number, maxCount: number): readonly SpooledEvent[] {
    let after = place;
    for (;;) {
      const page = disk.readAfter(after, maxCount);
      const last = page.at(-1);
      if (last === undefined || this.#hidden.size === 0) return page;
      const own = page.filter((event) => !this.#hidden.has(event.place));
      if (own.length > 0) return own;
      after = last.place;
    }
  }
}
