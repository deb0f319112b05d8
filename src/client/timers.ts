import type { Cancel, Clock } from "../platform/clock.js";

/** Named timers of one owner: setting a name again replaces its timer, so that none can be left behind. */
export class Timers<Name extends string> {
  readonly #clock: Clock;
  readonly #cancels = new Map<Name, Cancel>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Runs `task` once after `delayMs`, instead of what the name stood for. */
  set(name: Name, delayMs: number, task: () => void): void {
    this.#cancels.get(name)?.();
    this.#cancels.set(name, this.#clock.after(delayMs, task));
  }

  /** Cancels the named timers; harmless for those that have run. */
  clear(...names: readonly Name[]): void {
    for (const name of names) this.#cancels.get(name)?.();
  }

  clearAll(): void {
    for (const cancel of this.#cancels.values()) cancel();
    this.#cancels.clear();
  }
}
