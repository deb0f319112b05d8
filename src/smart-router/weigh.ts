import { logMeanExp } from "./log-mean.js";
import { byMcpId } from "./order.js";
import type { RouterSettings } from "./settings.js";
import type { WeightSignals } from "./signal-book.js";
import type { McpSignals } from "./signals.js";
import type { SharingState, Standing } from "./standing.js";
import type { WeightFactor } from "./table.js";

/** An MCP that has a share, with everything that a rule may look at. */
export type Weighable = {
  readonly mcpId: string;
  readonly state: SharingState;
  readonly standing: Standing;
  /** Decayed sums of what has ended. */
  readonly signals: McpSignals;
  /** Estimates over all classes; priors where nothing is known. */
  readonly estimates: WeightSignals;
};

/** What a rule says of one MCP, before smoothing and rounding. */
export type RawWeight = {
  readonly mcpId: string;
  /** Natural logarithm of the weight; finite; the exact sum of the contributions in `why`. Only differences between MCPs mean something. */
  readonly lnRaw: number;
  readonly state: SharingState;
  /** Whether its own signals stand behind it, rather than those of the fleet. */
  readonly isMeasured: boolean;
  readonly why: readonly WeightFactor[];
};

/**
 * The seam for rules: what is known of the MCPs that have a share, and the time it was read, to raw weights.
 * Shape: one weight per MCP, ascending by mcpId. Pure, and does not depend on the order of `fleet`.
 */
export type Weigh = (fleet: readonly Weighable[], nowMs: number) => readonly RawWeight[];

/** A rule with the name under which its tables are published. */
export type WeightRule = { readonly id: string; readonly weigh: Weigh };

export type A58Settings = Pick<RouterSettings, "blackoutPeriodMs" | "weightExpirationPeriodMs" | "errorUtilizationPenalty">;

/** Whole milliseconds are the finest that many clients report; 0 ms would mean an MCP without limits. */
const latencyMinMs = 1;
/** An MCP that ends interactions but tells no durations is taken for this much slower than the median of the others. router.md 1.2. */
const unknownLatencyFactor = 1.5;
/** The same when nobody tells durations. router.md 1.2; also Tower's default. */
const unknownLatencyMs = 1_000;
/** A rate that has decayed to less is none: one interaction in 30 years. */
const qpsMin = 1e-9;

/**
 * gRFC A58: weight = qps / (utilization + eps/qps × errorUtilizationPenalty), where utilization is the mean number in flight, qps × latency by Little's law,
 * over the MCP's capacity. Who is in blackout or has expired gets the mean weight of those who are not; so fewer than two of them make all equal.
 * Source: https://github.com/grpc/proposal/blob/master/A58-client-side-weighted-round-robin-lb-policy.md and SPEC.md, "The first rule".
 */
export function createA58(settings: A58Settings): WeightRule {
  return {
    id: "a58-wrr/1",
    weigh: (fleet, nowMs) => {
      const sorted = byMcpId(fleet);
      const usable = sorted.filter(({ signals }) => isUsable(signals, nowMs, settings));
      const standInMs = standInLatencyMs(usable.map(({ signals }) => signals));
      const own = new Map(usable.map((one) => [one.mcpId, weighOne(one, standInMs, settings)]));
      const mean = logMeanExp([...own.values()].map((weight) => weight.lnRaw)) ?? 0;
      return sorted.map(({ mcpId }) => own.get(mcpId) ?? atFleetMean(mcpId, mean));
    },
  };
}

function isUsable(signals: McpSignals, nowMs: number, settings: A58Settings): boolean {
  const { usableSinceMs, endedAtMs, qps, eps } = signals;
  if (usableSinceMs === undefined || endedAtMs === undefined) return false;
  if (nowMs - usableSinceMs < settings.blackoutPeriodMs || nowMs - endedAtMs >= settings.weightExpirationPeriodMs) return false;
  return Number.isFinite(qps) && qps >= qpsMin && Number.isFinite(eps) && eps >= 0;
}

function weighOne({ mcpId, state, signals, standing }: Weighable, standInMs: number, settings: A58Settings): RawWeight {
  const latencyMs = Math.max(latencyMinMs, knownLatencyMs(signals) ?? standInMs);
  const utilization = (signals.qps * (latencyMs / 1_000)) / standing.capacity;
  const errorShare = Math.min(1, signals.eps / signals.qps);
  const why: readonly WeightFactor[] = [
    { name: "throughput", contribution: Math.log(signals.qps) },
    { name: "utilization", contribution: -Math.log(utilization) },
    { name: "errors", contribution: -Math.log1p((settings.errorUtilizationPenalty * errorShare) / utilization) + 0 },
  ];
  return { mcpId, lnRaw: sumOf(why), state, isMeasured: true, why };
}

/** ln of the raw weight that these factors make: their sum, in their order. */
export function sumOf(why: readonly WeightFactor[]): number {
  return why.reduce((sum, factor) => sum + factor.contribution, 0);
}

function atFleetMean(mcpId: string, mean: number): RawWeight {
  return { mcpId, lnRaw: mean, state: "warming", isMeasured: false, why: [{ name: "fleet_mean", contribution: mean }] };
}

/** What is assumed of an MCP that tells no durations: worse than usual, so that silence is never rewarded. */
function standInLatencyMs(usable: readonly McpSignals[]): number {
  const known = usable.map(knownLatencyMs).filter((latencyMs) => latencyMs !== undefined);
  known.sort((a, b) => a - b);
  const median = known[Math.floor((known.length - 1) / 2)];
  return median === undefined ? unknownLatencyMs : median * unknownLatencyFactor;
}

function knownLatencyMs({ latencyMs }: McpSignals): number | undefined {
  return latencyMs !== undefined && Number.isFinite(latencyMs) && latencyMs >= 0 ? latencyMs : undefined;
}
