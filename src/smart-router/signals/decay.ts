/** Half-lives after which sums are brought to a new zero: 2^256 is far from the end of what a number can hold, and from what rounding would show. */
const rebaseHalfLives = 256;

/**
 * Exponential decay without touching what decays: an event at `t` is added with the weight 2^((t − zero) / halfLife), and a sum is read times
 * 2^(−(now − zero) / halfLife). So the order of events changes nothing, an old event counts less, and ratios of sums need no clock at all.
 */
export class Decay {
  readonly #halfLifeMs: number;
  /** Math.exp is several times as fast as a power of 2. */
  readonly #perMs: number;
  #zeroMs: number | undefined;
  #keptAtMs = Number.NaN;
  #kept = 1;

  constructor(halfLifeMs: number) {
    this.#halfLifeMs = halfLifeMs;
    this.#perMs = Math.LN2 / halfLifeMs;
  }

  /** By what every sum must be multiplied before an event of `atMs` is added: 1 almost always. Call it first. */
  rebase(atMs: number): number {
    if (this.#zeroMs === undefined) {
      this.#zeroMs = atMs;
      this.#keptAtMs = Number.NaN;
    }
    const halfLives = (atMs - this.#zeroMs) / this.#halfLifeMs;
    if (halfLives <= rebaseHalfLives) return 1;
    this.#zeroMs = atMs;
    this.#keptAtMs = Number.NaN;
    return Math.exp(-halfLives * Math.LN2);
  }

  /** What an event of `atMs` adds. */
  weightAt(atMs: number): number {
    return Math.exp((atMs - (this.#zeroMs ?? atMs)) * this.#perMs);
  }

  /** By what a sum is multiplied to read it at `nowMs`: never more than each event counted by itself. */
  keptAt(nowMs: number): number {
    if (nowMs === this.#keptAtMs) return this.#kept;
    this.#keptAtMs = nowMs;
    this.#kept = this.#zeroMs === undefined ? 1 : Math.exp((this.#zeroMs - nowMs) * this.#perMs);
    return this.#kept;
  }
}

/** What is left of 1 after `elapsedMs`; all of it when time went backwards. */
export function keptAfter(elapsedMs: number, halfLifeMs: number): number {
  return elapsedMs > 0 ? Math.exp((-elapsedMs * Math.LN2) / halfLifeMs) : 1;
}
