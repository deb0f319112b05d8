import type { Clock } from "../../src/platform/clock.js";

/** A clock that stands still until it is moved. Timers run in the order of their times while it moves. */
export class ManualClock implements Clock {
  #nowMs: number;
  readonly #startMs: number;
  #timers: { readonly atMs: number; readonly task: () => void }[] = [];

  constructor(startMs: number) {
    this.#startMs = startMs;
    this.#nowMs = startMs;
  }

  readonly nowMs = (): number => this.#nowMs;
  readonly monotonicMs = (): number => this.#nowMs - this.#startMs;

  readonly after = (delayMs: number, task: () => void): (() => void) => {
    const timer = { atMs: this.#nowMs + delayMs, task };
    this.#timers.push(timer);
    return () => {
      this.#timers = this.#timers.filter((other) => other !== timer);
    };
  };

  get timerCount(): number {
    return this.#timers.length;
  }

  /** Time passes and nothing runs, as when the event loop stands still; what was due meanwhile runs at the next `advance`. */
  stall(ms: number): void {
    this.#nowMs += ms;
  }

  /** Moves time on, and lets what was promised happen between two timers. */
  async advance(ms: number): Promise<void> {
    const untilMs = this.#nowMs + ms;
    for (;;) {
      const next = this.#timers.filter((timer) => timer.atMs <= untilMs).sort((a, b) => a.atMs - b.atMs)[0];
      if (next === undefined) break;
      this.#timers = this.#timers.filter((other) => other !== next);
      this.#nowMs = Math.max(this.#nowMs, next.atMs);
      next.task();
      await turn();
    }
    this.#nowMs = untilMs;
    await turn();
  }
}

/** One pass of the event loop: promises and immediates that are ready have run. */
export const turn = (): Promise<void> => new Promise((resolve) => setImmediate(() => setImmediate(resolve)));
