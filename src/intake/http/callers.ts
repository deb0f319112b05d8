import { Allowance, type Rate } from "../../platform/allowance.js";
import type { Clock } from "../../platform/clock.js";
import { CoordinatorError } from "../../platform/errors.js";
import { limits } from "../../platform/limits.js";

/** Allowances by caller.     Bound: `limits.httpCallersMax` callers; who is forgotten begins anew. */
export class Callers {
  readonly #rate: Rate;
  readonly #clock: Pick<Clock, "monotonicMs">;
  readonly #allowances = new Map<string, Allowance>();

  constructor(rate: Rate, clock: Pick<Clock, "monotonicMs">) {
    this.#rate = rate;
    this.#clock = clock;
  }

  /** Takes one of what the caller may do. Errors: `busy` with RATE_EXCEEDED. */
  take(caller: string): void {
    const nowMs = this.#clock.monotonicMs();
    const allowance = this.#allowances.get(caller) ?? new Allowance(this.#rate, nowMs);
    this.#allowances.delete(caller); // to the end: the first is who was not heard of for longest
    this.#allowances.set(caller, allowance);
    if (this.#allowances.size > limits.httpCallersMax) {
      const [oldest] = this.#allowances.keys();
      if (oldest !== undefined) this.#allowances.delete(oldest);
    }
    if (allowance.take(nowMs)) return;
    throw new CoordinatorError("busy", "Rate limit exceeded", {
      reason: "RATE_EXCEEDED",
      retryAfterMs: Math.ceil(1_000 / this.#rate.perSecond),
    });
  }
}
