import type { Config } from "../config/schema.js";
import type { Clock } from "../platform/clock.js";
import type { Logger } from "../platform/log.js";
import type { Rng } from "../platform/rng.js";

/** What every part is given. */
export type Machine = { readonly config: Config; readonly log: Logger; readonly clock: Clock; readonly rng: Rng };

/** Something that happens once at most, whether somebody listens by then or not. */
export class Once<T> {
  #told: { readonly value: T } | undefined;
  #listener: ((value: T) => void) | undefined;

  /** It has happened. */
  tell(value: T): void {
    if (this.#told !== undefined) return;
    this.#told = { value };
    this.#listener?.(value);
  }

  /** Calls `listener` when it happens; at once when it has happened. There is one listener. */
  hear(listener: (value: T) => void): void {
    this.#listener = listener;
    if (this.#told !== undefined) listener(this.#told.value);
  }
}

/** What is to be ended, newest first, each once. One that fails keeps no other from its end: the first failure is told when all have been asked. */
export class Ends {
  readonly #ends: (() => unknown)[] = [];
  #running: Promise<void> | undefined;

  add(end: () => unknown): void {
    this.#ends.push(end);
  }

  runAll(): Promise<void> {
    this.#running ??= this.#run();
    return this.#running;
  }

  async #run(): Promise<void> {
    const failures: unknown[] = [];
    for (const end of this.#ends.reverse()) {
      try {
        await end();
      } catch (thrown) {
        // Kept until the others have ended: behind it are ports to close and a store to flush.
        failures.push(thrown);
      }
    }
    if (failures.length > 0) throw failures[0];
  }
}
