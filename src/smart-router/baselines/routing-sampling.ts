import type { Ended, Policy } from "../policy.js";
import { drawBeta } from "./beta.js";
import { keep } from "./keep.js";
import { plainChoice } from "./propensity.js";

export type RoutingSamplingSettings = {
  /** Which models compete: those of the decision, of its tier, or all. Decides how much a price counts and how far a challenger must be ahead of the base. */
  readonly candidateSet: "decision" | "tier" | "global";
  /** What an MCP is priced at, in any unit; absent means 0. Configured there, not learnt. */
  readonly prices: ReadonlyMap<string, number>;
  /** What an operator believes of its quality, 0 to 1: counts as two outcomes until the first real one. */
  readonly qualityScores: ReadonlyMap<string, number>;
  /** Chosen unless another one is ahead by the margin; undefined: no such one. */
  readonly baseMcpId: string | undefined;
};

export const routingSamplingDefaults: RoutingSamplingSettings = {
  candidateSet: "decision",
  prices: new Map(),
  qualityScores: new Map(),
  baseMcpId: undefined,
};

/** What one is charged at most for its price, and how far it must be ahead, by candidate set. */
const pricePenalty = { decision: 0.04, tier: 0.06, global: 0.1 } as const;
const switchMargin = { decision: 0, tier: 0.03, global: 0.08 } as const;
const failurePenalty = 0.1;
const latencyPenalty = 0.02;
const basePreference = 0.001;
const latencyAlpha = 0.2;
/** An answer of at least this quality is a "good fit", a worse one "underpowered". */
const goodFrom = 0.5;
/** Experience is kept for this many pairs of MCP and request type; those without an end for longest are forgotten, so that names that strangers make up keep nobody from learning. */
const experiencesMax = 65_536;

type Experience = { good: number; underpowered: number; failed: number; latencySeconds: number };

const inexperienced: Readonly<Experience> = { good: 0, underpowered: 0, failed: 0, latencySeconds: 0 };

/**
 * Router learning of vLLM Semantic Router, strategy "routing_sampling": the best of one Thompson draw of quality each, Beta(seed + good + 1, seed + underpowered + 1), less
 * small penalties for price, failures and latency. Knows nothing of load: the latency term is at most 0.02, reached at one second. Experience is kept for each request type
 * (their "decision"); verdicts about overprovisioning and caches have no counterpart here. Its propensities have no closed form: NaN.
 * Source: vllm-project/semantic-router, pkg/extproc/router_learning_adaptation.go and router_learning_experience.go; router.md anchors 1.4.
 */
export function createRoutingSampling(settings: RoutingSamplingSettings = routingSamplingDefaults): Policy {
  const experiences = new Map<string, Experience>();
  const experienceOf = (requestType: string, mcpId: string): Readonly<Experience> =>
    experiences.get(JSON.stringify([requestType, mcpId])) ?? inexperienced;
  return {
    id: "routing-sampling/1",
    choose: (request, targets, _nowMs, rng) => {
      const priceMax = targets.reduce((most, { mcpId }) => Math.max(most, settings.prices.get(mcpId) ?? 0), 0);
      const penaltyOf = (mcpId: string): number =>
        priceMax <= 0 ? 0 : pricePenalty[settings.candidateSet] * clamp((settings.prices.get(mcpId) ?? 0) / priceMax);
      const scored = targets.map(({ mcpId }) => {
        const its = experienceOf(request.requestType, mcpId);
        const believed = its.good + its.underpowered === 0 ? settings.qualityScores.get(mcpId) : undefined;
        const [seed, seedWeight] = believed === undefined || believed <= 0 ? [0, 0] : [clamp(believed), 2];
        const quality = drawBeta(seedWeight * seed + its.good + 1, seedWeight * (1 - seed) + its.underpowered + 1, rng);
        const reliability = (failurePenalty * its.failed) / (its.good + its.underpowered + its.failed + 1);
        const preference = mcpId === settings.baseMcpId ? basePreference : 0;
        return { mcpId, score: quality - penaltyOf(mcpId) - reliability - latencyPenalty * clamp(its.latencySeconds) + preference };
      });
      const best = scored.reduce((a, b) => (b.score > a.score ? b : a));
      const base = scored.find(({ mcpId }) => mcpId === settings.baseMcpId);
      if (base === undefined || base === best) return plainChoice(best.mcpId, Number.NaN);
      const margin = switchMargin[settings.candidateSet] + Math.max(0, penaltyOf(best.mcpId) - penaltyOf(base.mcpId));
      return plainChoice(best.score < base.score + margin ? base.mcpId : best.mcpId, Number.NaN);
    },
    assigned: () => {},
    ended: (ended) => {
      if (ended.result === "released") return;
      const key = JSON.stringify([ended.request.requestType, ended.mcpId]);
      const its = experiences.get(key) ?? { ...inexperienced };
      keep(experiences, key, its, experiencesMax);
      learn(its, ended);
    },
    tick: () => {},
  };
}

function learn(its: Experience, { result, quality, auditedQuality, startedAtMs, endedAtMs }: Ended): void {
  if (result === "ok") {
    const known = auditedQuality ?? quality;
    if (known !== undefined && known >= goodFrom) its.good += 1;
    else if (known !== undefined) its.underpowered += 1;
  } else its.failed += 1;
  const seconds = Math.max(0, endedAtMs - startedAtMs) / 1_000;
  its.latencySeconds = its.latencySeconds <= 0 ? seconds : its.latencySeconds * (1 - latencyAlpha) + seconds * latencyAlpha;
}

function clamp(value: number): number {
  return Math.min(1, Math.max(0, value));
}
