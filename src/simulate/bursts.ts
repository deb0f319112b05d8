import type { Gaps } from "./arrivals.js";
import { exponential } from "./draws.js";

/**
 * Arrivals as bursty as a code-completion service: silence of 43 s in the mean, then a burst of 143 requests in the mean at a pace of its own, so that the coefficient of
 * variation of gaps is 13 and three of four seconds are idle.     Source: fitted to the Azure LLM trace of 2023 (code), data/README.md.
 */
export function bursty(perSecond: number): Gaps {
  // In units of the mean gap: seven of a thousand gaps are silences, which make up 78 % of all time.
  const silenceShare = 0.007;
  const meanMs = 1_000 / perSecond;
  const silenceMs = (0.78 * meanMs) / silenceShare;
  const withinMs = (0.22 * meanMs) / (1 - silenceShare);
  return (rng) => {
    let pace = 1;
    return () => {
      if (rng() >= silenceShare) return exponential(rng, withinMs * pace);
      // Paces from a fifth to 1.8 times the mean.
      pace = 0.2 + 1.6 * rng();
      return exponential(rng, silenceMs);
    };
  };
}
