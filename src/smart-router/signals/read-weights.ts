import { byMcpId } from "../order.js";
import type { WeightSignals } from "../signal-book.js";
import { quantileOf, totalOf } from "./log-histogram.js";
import type { Mcp, Memory } from "./memory.js";
import type { Estimators } from "./read-target.js";
import { sampleMin } from "./situation.js";

/** What everyone is like together, which is what is believed of an MCP that has been silent for long. */
type FleetMeans = {
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly errorRate: number;
  readonly quality: number;
  readonly isKnown: boolean;
};

/** Signals of all classes together, for the weight plane. Shape: ascending by mcpId. */
export function readWeights(by: Estimators, memory: Memory, mcpIds: readonly string[], nowMs: number): readonly WeightSignals[] {
  const fleet = fleetOf(by, memory, nowMs);
  return byMcpId(mcpIds.map((mcpId) => ({ mcpId }))).map(({ mcpId }) => readWeight(by, memory.findMcp(mcpId), mcpId, fleet, nowMs));
}

function readWeight(by: Estimators, mcp: Mcp | undefined, mcpId: string, fleet: FleetMeans, nowMs: number): WeightSignals {
  const { settings, quality } = by;
  const sigmaOfNobody = Math.sqrt(quality.variance() / settings.quality.shrinkage);
  const prior = fleet.isKnown ? settings.latencyPriorFactor : 1;
  const isSilent = mcp?.endedAtMs !== undefined && nowMs - mcp.endedAtMs >= settings.weightExpirationMs;
  if (mcp === undefined || mcp.endedAtMs === undefined || isSilent) {
    const factor = isSilent ? 1 : prior;
    return {
      mcpId,
      p50Ms: fleet.p50Ms * factor,
      p99Ms: fleet.p99Ms * factor,
      errorRate: fleet.errorRate,
      qualityLcb: Math.max(0, fleet.quality - sigmaOfNobody),
      fleetQuality: fleet.quality,
      isSelfReported: true,
      heardAtMs: mcp?.heardAtMs,
      samples: 0,
    };
  }
  const { all, reports } = mcp;
  const slow = by.slow.keptAt(nowMs);
  const errors = by.errors.keptAt(nowMs);
  const own = quality.ofWeight(fleet.quality, reports, all.quality, nowMs);
  const samples = totalOf(all.latency) * slow;
  return {
    mcpId,
    p50Ms: quantileOf(all.latency, 0.5) ?? fleet.p50Ms * prior,
    p99Ms: quantileOf(all.latency, 0.99) ?? fleet.p99Ms * prior,
    errorRate: (all.failed * errors + settings.errorShrinkage * fleet.errorRate) / (all.ended * errors + settings.errorShrinkage),
    qualityLcb: Math.max(0, own.quality - own.sigma),
    fleetQuality: fleet.quality,
    isSelfReported: own.isSelfReported,
    heardAtMs: mcp.heardAtMs,
    samples: samples > sampleMin ? samples : 0,
  };
}

function fleetOf(by: Estimators, memory: Memory, nowMs: number): FleetMeans {
  const { settings } = by;
  const { all } = memory;
  const errors = by.errors.keptAt(nowMs);
  const slow = by.slow.keptAt(nowMs);
  return {
    p50Ms: quantileOf(all.latency, 0.5) ?? settings.latencyPriorMs,
    p99Ms: quantileOf(all.latency, 0.99) ?? settings.failurePenaltyMs,
    errorRate: (all.failed * errors + settings.errorShrinkage * settings.errorPrior) / (all.ended * errors + settings.errorShrinkage),
    quality: all.qualityCount * slow > sampleMin ? all.quality / all.qualityCount : settings.quality.prior,
    isKnown: totalOf(all.latency) * slow > sampleMin,
  };
}
