import type { LeaseBeat } from "../store/registry-rows.js";

/** One lease as an observer has seen it: how often it was renewed, and for how long it has not been since. Unit: ms. */
type Observed = { readonly beat: number; readonly silentMs: number };

/**
 * How long leases have been silent, by the observer's own monotonic clock and by what it has seen: a renewal counts when its number has grown, whatever any
 * clock says. So neither a jump of a clock, nor a store that could not be asked, nor an observer that stood still makes anyone silent.
 * Bound: the leases of the last look.
 */
export class SilenceWatch {
  #observed = new Map<string, Observed>();
  #lookedAtMs: number | undefined;

  /** Takes a look at every lease. `maxStepMs`: no look adds more than this, however long ago the one before was.     Units: `nowMs` is monotonic. */
  look(beats: readonly LeaseBeat[], nowMs: number, maxStepMs: number): void {
    const stepMs = this.#lookedAtMs === undefined ? 0 : Math.max(0, Math.min(nowMs - this.#lookedAtMs, maxStepMs));
    this.#lookedAtMs = nowMs;
    const next = new Map<string, Observed>();
    for (const { mcpId, beat } of beats) {
      const before = this.#observed.get(mcpId);
      next.set(mcpId, { beat, silentMs: before?.beat === beat ? before.silentMs + stepMs : 0 });
    }
    this.#observed = next;
  }

  /** 0 for a lease that was not there at the last look. */
  silentMs(mcpId: string): number {
    return this.#observed.get(mcpId)?.silentMs ?? 0;
  }

  /** Its renewals at the last look. */
  beat(mcpId: string): number | undefined {
    return this.#observed.get(mcpId)?.beat;
  }
}
