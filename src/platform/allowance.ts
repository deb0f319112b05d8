/** What an allowance is made of.     Units: uses at once, and uses that come back in a second. */
export type Rate = { readonly burst: number; readonly perSecond: number };

/**
 * A token bucket: over any time of t seconds at most `burst + perSecond * t` uses are granted.
 * Units: `nowMs` is monotonic, and never less than before.
 */
export class Allowance {
  readonly #rate: Rate;
  #left: number;
  #atMs: number;

  constructor(rate: Rate, nowMs: number) {
    this.#rate = rate;
    this.#left = rate.burst;
    this.#atMs = nowMs;
  }

  /** Takes one. False when there is none, and takes nothing then. */
  take(nowMs: number): boolean {
    const { burst, perSecond } = this.#rate;
    this.#left = Math.min(burst, this.#left + ((nowMs - this.#atMs) / 1_000) * perSecond);
    this.#atMs = nowMs;
    if (this.#left < 1) return false;
    this.#left -= 1;
    return true;
  }
}
