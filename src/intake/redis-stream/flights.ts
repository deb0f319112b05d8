import { limits } from "../../platform/limits.js";
import type { EntryField } from "./entry.js";

/** An entry that was read and is not acknowledged yet. */
export type Flight = {
  readonly id: string;
  readonly fields: readonly EntryField[];
  readonly bytes: number;
  /** How often Redis had delivered it, this time included. */
  readonly deliveries: number;
  /** Where the verdict is waited for. */
  readonly replyTo: string | undefined;
  /** Monotonic time at which it was delivered, or said to be still in work. */
  touchedAtMs: number;
};

/**
 * Entries from their delivery to their acknowledgement. Bound: `redisInFlightMaxEntries` and `redisInFlightMaxBytes`, kept by whoever asks `hasRoom`
 * before reading; passed by one read at most.
 */
export class Flights {
  readonly #byId = new Map<string, Flight>();
  #bytes = 0;

  get count(): number {
    return this.#byId.size;
  }

  get hasRoom(): boolean {
    return this.#byId.size < limits.redisInFlightMaxEntries && this.#bytes < limits.redisInFlightMaxBytes;
  }

  has(id: string): boolean {
    return this.#byId.has(id);
  }

  add(flight: Flight): void {
    this.#byId.set(flight.id, flight);
    this.#bytes += flight.bytes;
  }

  remove(flight: Flight): void {
    if (this.#byId.delete(flight.id)) this.#bytes -= flight.bytes;
  }

  /** Those that have been in work since before `beforeMs`, oldest first, at most `maxCount`; they count as touched now. */
  touch(beforeMs: number, nowMs: number, maxCount: number): readonly string[] {
    const ids: string[] = [];
    for (const flight of this.#byId.values()) {
      if (ids.length >= maxCount) break;
      if (flight.touchedAtMs > beforeMs) continue;
      flight.touchedAtMs = nowMs;
      ids.push(flight.id);
    }
    return ids;
  }
}
