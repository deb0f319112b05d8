import type { Ended, Policy } from "../policy.js";
import { keep } from "./keep.js";
import { plainChoice } from "./propensity.js";

export type LiteLlmSettings = {
  /** Everyone within this part above the least mean latency is as good as the best. LiteLLM's default is 0, the example of its documentation 0.5. */
  readonly buffer: number;
  /** Latencies that a mean is taken over. */
  readonly samplesMax: number;
  /** Samples older than this do not count. */
  readonly maxAgeMs: number;
  /**
   * "as_shipped": someone without samples has a mean of 0, so a newcomer gets everything until its first answer; a full list keeps its oldest samples and replaces the last
   * one; failures other than time-outs are not seen. "fixed": someone without samples has the mean of the others; a full list drops its oldest; a failure counts
   * like a time-out.
   */
  readonly variant: "as_shipped" | "fixed";
};

export const liteLlmDefaults = {
  buffer: 0.5,
  samplesMax: 10,
  maxAgeMs: 3_600_000,
  variant: "as_shipped",
} as const satisfies LiteLlmSettings;

/** What a time-out counts as, ms. */
const timeoutMs = 1_000_000;

type Samples = { readonly latenciesMs: number[]; newestMs: number };

/**
 * Latency-based routing of LiteLLM: one at random among those whose mean latency is at most (1 + buffer) × the least. Looks at nothing else: neither at who is busy nor at
 * quality.     Source: BerriAI/litellm, router_strategy/lowest_latency.py; router.md anchors 1.4. Latency is that of the whole answer, not per token.
 */
export function createLiteLlmLatency(settings: LiteLlmSettings = liteLlmDefaults): Policy {
  const known = new Map<string, Samples>();
  const meanOf = (mcpId: string, nowMs: number): number | undefined => {
    const samples = known.get(mcpId);
    if (samples === undefined || nowMs - samples.newestMs > settings.maxAgeMs) return undefined;
    return mean(samples.latenciesMs);
  };
  return {
    id: settings.variant === "fixed" ? "litellm-latency-fixed/1" : "litellm-latency/1",
    choose: (_request, targets, nowMs, rng) => {
      const means = targets.map(({ mcpId }) => meanOf(mcpId, nowMs));
      const present = means.filter((each) => each !== undefined);
      const unknown = settings.variant === "fixed" && present.length > 0 ? mean(present) : 0;
      const costs = means.map((each) => each ?? unknown);
      const most = costs.reduce((a, b) => Math.min(a, b), Number.POSITIVE_INFINITY) * (1 + settings.buffer);
      const valid = targets.filter((_, index) => (costs[index] ?? 0) <= most);
      return plainChoice(valid[Math.floor(rng() * valid.length)]?.mcpId ?? "", 1 / valid.length);
    },
    assigned: () => {},
    ended: (ended) => {
      const latencyMs = latencyOf(ended, settings.variant);
      if (latencyMs === undefined) return;
      const samples = known.get(ended.mcpId);
      const isStale = samples !== undefined && ended.endedAtMs - samples.newestMs > settings.maxAgeMs;
      if (samples === undefined || isStale) {
        keep(known, ended.mcpId, { latenciesMs: [latencyMs], newestMs: ended.endedAtMs });
        return;
      }
      keep(known, ended.mcpId, samples);
      if (samples.latenciesMs.length >= settings.samplesMax) {
        if (settings.variant === "fixed") samples.latenciesMs.shift();
        else samples.latenciesMs.pop();
      }
      samples.latenciesMs.push(latencyMs);
      samples.newestMs = ended.endedAtMs;
    },
    tick: () => {},
  };
}

function latencyOf({ result, startedAtMs, endedAtMs }: Ended, variant: LiteLlmSettings["variant"]): number | undefined {
  switch (result) {
    case "ok":
      return endedAtMs - startedAtMs;
    case "expired":
      return timeoutMs;
    case "released":
      return undefined;
    default:
      return variant === "fixed" ? timeoutMs : undefined;
  }
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
