import { logMeanExp } from "./log-mean.js";
import { byMcpId } from "./order.js";
import type { RouterSettings } from "./settings.js";
import type { WeightSignals } from "./signal-book.js";
import type { WeightFactor } from "./table.js";
import { type RawWeight, sumOf, type Weighable, type WeightRule } from "./weigh.js";

export type QualityRuleSettings = Pick<RouterSettings, "weightExpirationPeriodMs">;

/** Shares of the median and of the 99th percentile in the latency that counts: mostly the usual case, and the tail enough to matter. router.md 1.4. */
const medianShare = 0.7;
const tailShare = 0.3;
/** Whole milliseconds are the finest that many clients report; 0 ms would mean an MCP without limits. */
const latencyMinMs = 1;
/** An MCP that only fails keeps a raw weight, however small: a logarithm has to be finite. */
const errorRateMax = 0.9999;
/** One tenth of quality moves a weight by e^0.4. router.md 1.4. */
const qualitySlope = 4;
/** What an MCP says of its own quality moves its weight by a quarter at most; audits by a factor of two. router.md 1.4 and 1.6, "Quality gaming". */
const selfReportedMax = Math.log(1.25);
const auditedMax = Math.log(2);
/** An MCP that is degraded keeps a quarter of its weight. router.md 1.4. */
const degradedFactor = 0.25;
/** The operator's weight that changes nothing. */
const neutralWeight = 100;

/**
 * raw = slow start × health × (capacity / latency) × (1 − errors)² × e^quality × operator, each factor by its name in `why`.
 * Whoever was silent for the expiration period has the mean of what the others make of a slot, times its own capacity; without any others, its priors.
 * Source: router.md 1.4; SPEC.md, "The rule".
 */
export function createQualityRule(settings: QualityRuleSettings): WeightRule {
  return {
    id: "quality-tail-load/1",
    weigh: (fleet, nowMs) => {
      const sorted = byMcpId(fleet);
      const merits = new Map(sorted.map((one) => [one.mcpId, meritOf(one.estimates)]));
      const measured = sorted.filter(({ estimates }) => isMeasured(estimates, nowMs, settings));
      const mean = logMeanExp(measured.map(({ mcpId }) => sumOf(merits.get(mcpId) ?? [])));
      return sorted.map((one): RawWeight => {
        const isOwn = isMeasured(one.estimates, nowMs, settings);
        const hasExpired = !isOwn && one.estimates.samples > 0;
        const own = merits.get(one.mcpId) ?? [];
        const merit: readonly WeightFactor[] = hasExpired && mean !== undefined ? [{ name: "fleet_mean", contribution: mean }] : own;
        const why = [...merit, ...claimOf(one)];
        return { mcpId: one.mcpId, lnRaw: sumOf(why), state: isOwn ? one.state : shownUnmeasured(one), isMeasured: isOwn, why };
      });
    },
  };
}

function isMeasured({ samples, heardAtMs }: WeightSignals, nowMs: number, settings: QualityRuleSettings): boolean {
  return samples > 0 && heardAtMs !== undefined && nowMs - heardAtMs < settings.weightExpirationPeriodMs;
}

/** Degraded is news also of an MCP that fell silent. */
function shownUnmeasured({ state }: Weighable): RawWeight["state"] {
  return state === "degraded" ? "degraded" : "warming";
}

/** What one slot of the MCP is worth: how fast, how reliable, how good. */
function meritOf(estimates: WeightSignals): readonly WeightFactor[] {
  const latencyMs = Math.max(latencyMinMs, medianShare * estimates.p50Ms + tailShare * Math.max(estimates.p50Ms, estimates.p99Ms));
  const errorRate = Math.min(errorRateMax, Math.max(0, estimates.errorRate));
  const bound = estimates.isSelfReported ? selfReportedMax : auditedMax;
  const advantage = qualitySlope * (estimates.qualityLcb - estimates.fleetQuality);
  const quality = Number.isNaN(advantage) ? 0 : Math.min(bound, Math.max(-bound, advantage));
  return [
    { name: "latency", contribution: -Math.log(latencyMs) },
    { name: "errors", contribution: 2 * Math.log1p(-errorRate) + 0 },
    { name: "quality", contribution: quality + 0 },
  ];
}

/** What the MCP is given by its standing: how many slots, and how much of them. */
function claimOf({ standing, state }: Weighable): readonly WeightFactor[] {
  return [
    { name: "capacity", contribution: Math.log(standing.capacity) },
    { name: "slow_start", contribution: Math.log(standing.slowStart) },
    { name: "health", contribution: state === "degraded" ? Math.log(degradedFactor) : 0 },
    { name: "operator", contribution: Math.log(standing.weight / neutralWeight) },
  ];
}
