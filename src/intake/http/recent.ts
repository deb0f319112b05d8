import type { Clock } from "../../platform/clock.js";
import { limits } from "../../platform/limits.js";

type Held<T> = { readonly value: Promise<T>; readonly atMs: number };

/**
 * Figures that are costly to read, kept for `limits.httpFiguresMaxAgeMs`; who asks while they are being read gets the same.
 * Bound: `limits.httpFiguresMaxCount` of them. What failed is not kept.
 */
export class Recent<T> {
  readonly #clock: Pick<Clock, "monotonicMs">;
  readonly #held = new Map<string, Held<T>>();

  constructor(clock: Pick<Clock, "monotonicMs">) {
    this.#clock = clock;
  }

  async read(key: string, readNow: () => Promise<T>): Promise<{ readonly value: T; readonly isHit: boolean }> {
    const nowMs = this.#clock.monotonicMs();
    const held = this.#held.get(key);
    if (held !== undefined && nowMs - held.atMs < limits.httpFiguresMaxAgeMs) return { value: await held.value, isHit: true };
    const value = readNow();
    this.#held.delete(key);
    this.#held.set(key, { value, atMs: nowMs });
    const [oldest] = this.#held.keys();
    if (this.#held.size > limits.httpFiguresMaxCount && oldest !== undefined) this.#held.delete(oldest);
    value.catch(() => {
      if (this.#held.get(key)?.value === value) this.#held.delete(key); // thrown to whoever asked
    });
    return { value: await value, isHit: false };
  }
}
