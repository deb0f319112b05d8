import type { Config } from "../config/schema.js";
import type { Clock } from "../platform/clock.js";
import type { Logger } from "../platform/log.js";
import type { Rng } from "../platform/rng.js";

/** What every part is given. */
export type Machine = { readonly config: Config; readonly log: Logger; readonly clock: Clock; readonly rng: Rng };

/** What is to be ended, newest first, each once. */
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
    for (const end of this.#ends.reverse()) await end();
  }
}
