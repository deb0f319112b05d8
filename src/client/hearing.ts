import type { Cancel, Clock } from "../platform/clock.js";
import { limits } from "../platform/limits.js";
import { type Endpoint, hasAlternatives } from "./connect.js";

export type HearingDeps = {
  readonly clock: Clock;
  /** Whether the other side owes us a word: it has events, and has not said that it cannot deal with them now. */
  readonly isOwed: () => boolean;
  /** It was owed for `limits.streamSilenceMaxMs`, and nothing came. */
  readonly onUnheard: () => void;
};

/** Listens where there is another coordinator to go to. With one alone, its heartbeats and keep-alive are soon enough. */
export function listen(endpoint: Endpoint, deps: HearingDeps): Hearing | undefined {
  return hasAlternatives(endpoint) ? new Hearing(deps) : undefined;
}

/** Notices a peer that has stopped speaking while its connection stays open: a process that stands still, a host that is gone. Looks every `limits.transportLookMs` until `end`. */
export class Hearing {
  readonly #deps: HearingDeps;
  /** Since when a word has been owed, or the last one came; undefined while none is.     Units: monotonic ms. */
  #sinceMs: number | undefined;
  #cancel: Cancel;

  constructor(deps: HearingDeps) {
    this.#deps = deps;
    this.#cancel = this.#lookLater();
  }

  /** Something came. */
  heard(): void {
    this.#sinceMs = undefined;
  }

  end(): void {
    this.#cancel();
  }

  #lookLater(): Cancel {
    const { clock, isOwed, onUnheard } = this.#deps;
    return clock.after(limits.transportLookMs, () => {
      this.#cancel = this.#lookLater();
      const nowMs = clock.monotonicMs();
      this.#sinceMs = isOwed() ? (this.#sinceMs ?? nowMs) : undefined;
      if (this.#sinceMs === undefined || nowMs - this.#sinceMs < limits.streamSilenceMaxMs) return;
      this.#sinceMs = undefined;
      onUnheard();
    });
  }
}
