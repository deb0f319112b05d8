import type { Clock } from "../../platform/clock.js";
import type { TransportFigures } from "../transport.js";

/** Counts of the reports that came over HTTP. Every report counts once: `received` is resolved, refused and under way together. */
export class HttpTally {
  readonly #clock: Pick<Clock, "monotonicMs">;
  readonly #sinceMs = new Map<symbol, { readonly atMs: number; readonly count: number }>();
  #received = 0;
  #resolved = 0;
  #refused = 0;

  constructor(clock: Pick<Clock, "monotonicMs">) {
    this.#clock = clock;
  }

  /** Reports have come; call what it gives once, with how many of them are resolved. */
  take(count: number): (resolvedCount: number) => void {
    const key = Symbol("request");
    this.#received += count;
    this.#sinceMs.set(key, { atMs: this.#clock.monotonicMs(), count });
    return (resolvedCount) => {
      if (!this.#sinceMs.delete(key)) return;
      this.#resolved += resolvedCount;
      this.#refused += count - resolvedCount;
    };
  }

  figures(state: "up" | "down", detail: string): TransportFigures {
    const [oldest] = this.#sinceMs.values();
    let depth = 0;
    for (const { count } of this.#sinceMs.values()) depth += count;
    return {
      name: "http",
      state,
      detail,
      received: this.#received,
      resolved: this.#resolved,
      refused: this.#refused,
      deadLettered: 0, // who posts is told, and keeps the report
      depth,
      lagMs: oldest === undefined ? 0 : Math.max(0, this.#clock.monotonicMs() - oldest.atMs),
    };
  }
}
