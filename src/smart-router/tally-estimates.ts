import type { SignalBook, WeightSignals } from "./signal-book.js";
import type { McpSignals, Signals } from "./signals.js";

/** An MCP without durations is taken for this much slower than the median of the others, or for this long when nobody tells any. router.md 1.2. */
const unknownLatencyFactor = 1.5;
const unknownLatencyMs = 1_000;
/** Weight of the fleet's error share beside what one MCP has shown. router.md 1.2. */
const errorPrior = 2;
/** Rates cover about this long: the half-life of the sums over ln 2. Unit: s. */
const spanSeconds = 14.4;

/**
 * Estimates from the decayed sums alone, for a coordinator that keeps no signal book: means in place of quantiles, errors shrunk to the fleet's, and no
 * quality, which then moves nobody's weight.
 */
export function estimatesFromTallies(signals: Pick<Signals, "read">): Pick<SignalBook, "readWeights"> {
  return {
    readWeights: (mcpIds, nowMs) => {
      const known = signals.read(nowMs);
      const sorted = mcpIds.toSorted();
      const fleet = sorted.map((mcpId) => known.get(mcpId)).filter((one) => one !== undefined);
      const standInMs = standInLatencyMs(fleet);
      const ended = fleet.reduce((sum, one) => sum + one.qps, 0);
      const failed = fleet.reduce((sum, one) => sum + one.eps, 0);
      const fleetErrors = ended > 0 ? failed / ended : 0;
      return sorted.map((mcpId) => estimate(mcpId, known.get(mcpId), standInMs, fleetErrors));
    },
  };
}

function estimate(mcpId: string, tally: McpSignals | undefined, standInMs: number, fleetErrors: number): WeightSignals {
  const latencyMs = tally?.latencyMs ?? standInMs;
  const ended = (tally?.qps ?? 0) * spanSeconds;
  const failed = (tally?.eps ?? 0) * spanSeconds;
  return {
    mcpId,
    p50Ms: latencyMs,
    p99Ms: latencyMs,
    errorRate: (failed + errorPrior * fleetErrors) / (ended + errorPrior),
    qualityLcb: 0,
    fleetQuality: 0,
    isSelfReported: true,
    heardAtMs: tally?.endedAtMs,
    samples: ended,
  };
}

function standInLatencyMs(fleet: readonly McpSignals[]): number {
  const known = fleet.map((one) => one.latencyMs).filter((latencyMs) => latencyMs !== undefined);
  known.sort((a, b) => a - b);
  const median = known[Math.floor((known.length - 1) / 2)];
  return median === undefined ? unknownLatencyMs : median * unknownLatencyFactor;
}
