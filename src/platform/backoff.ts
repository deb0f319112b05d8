import type { Rng } from "./rng.js";

/** Bounds of a retry delay, in milliseconds. */
export type BackoffLimits = { readonly firstMs: number; readonly maxMs: number };

/**
 * Delay before retry number `attempt` (0 is the first retry): full jitter over an exponentially growing cap, so that peers that failed together do
 * not come back together.     Units: milliseconds, in (0, maxMs].
 * Source: "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
 */
export function backoffMs(limits: BackoffLimits, attempt: number, rng: Rng): number {
  const cap = Math.min(limits.maxMs, limits.firstMs * 2 ** Math.min(attempt, 30));
  return Math.max(1, Math.ceil(cap * rng()));
}
