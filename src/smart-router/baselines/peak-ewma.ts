import type { Policy } from "../policy.js";
import { keep } from "./keep.js";
import { betterOfTwo } from "./least-requests.js";
import { bestOfTwoPropensity, plainChoice } from "./propensity.js";

/** Half-value memory of the mean and the cost of somebody of whom nothing is known and who is busy. */
export type PeakEwmaSettings = { readonly decayMs: number; readonly penaltyMs: number };

/** Finagle's defaults; its penalty is "so large that nobody known is dearer". */
export const peakEwmaDefaults = { decayMs: 10_000, penaltyMs: 1e9 } as const satisfies PeakEwmaSettings;

type Mean = { costMs: number; atMs: number };

/**
 * Draws two and takes the one with the lower expected latency × (pending + 1). The mean jumps up to every higher latency at once and comes down slowly, also
 * while nothing ends. Failures count like answers: one that fails fast looks fast.     Source: Finagle PeakEwma.scala; router.md anchors 1.1.
 */
export function createPeakEwma(settings: PeakEwmaSettings = peakEwmaDefaults): Policy {
  const means = new Map<string, Mean>();
  const costAt = (mcpId: string, nowMs: number): number => {
    const mean = means.get(mcpId);
    return mean === undefined ? 0 : mean.costMs * Math.exp(-Math.max(0, nowMs - mean.atMs) / settings.decayMs);
  };
  return {
    id: "peak-ewma/1",
    choose: (_request, targets, nowMs, rng) => {
      const costs = targets.map(({ mcpId, inFlight }) => {
        const costMs = costAt(mcpId, nowMs);
        return costMs === 0 && inFlight > 0 ? settings.penaltyMs + inFlight : costMs * (inFlight + 1);
      });
      const chosen = betterOfTwo(costs, rng);
      return plainChoice(targets[chosen]?.mcpId ?? "", bestOfTwoPropensity(costs, chosen));
    },
    assigned: () => {},
    ended: ({ mcpId, result, startedAtMs, endedAtMs }) => {
      if (result === "released") return;
      const latencyMs = endedAtMs - startedAtMs;
      const mean = means.get(mcpId);
      keep(means, mcpId, mean ?? { costMs: latencyMs, atMs: endedAtMs });
      if (mean === undefined) return;
      const kept = Math.exp(-Math.max(0, endedAtMs - mean.atMs) / settings.decayMs);
      mean.costMs = latencyMs > mean.costMs ? latencyMs : mean.costMs * kept + latencyMs * (1 - kept);
      mean.atMs = endedAtMs;
    },
    tick: () => {},
  };
}
