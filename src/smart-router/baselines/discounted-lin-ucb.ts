import type { Ended, Policy } from "../policy.js";
import type { RouteRequest } from "../request.js";
import { DiscountedRegression } from "./discounted-regression.js";
import { keep } from "./keep.js";
import { plainChoice } from "./propensity.js";

export type DiscountedLinUcbSettings = {
  /** After so many ends, of anyone, an observation counts half: γ = 2^(−1/this). */
  readonly halfLifeEnds: number;
  /** λ: strength of the ridge. */
  readonly ridge: number;
  /** β: standard errors that somebody unknown is given credit for. */
  readonly optimism: number;
  /** Request types that have a feature of their own; those that come later share one. */
  readonly typesMax: number;
  /** What an MCP is priced at, in any unit; absent means 0. The dearest of the targets loses `priceWeight` of its score, others in proportion. */
  readonly prices: ReadonlyMap<string, number>;
  readonly priceWeight: number;
};

/** Half-life and optimism are choices and not the best of a grid; λ = 1 as in the paper. */
export const discountedLinUcbDefaults: DiscountedLinUcbSettings = {
  halfLifeEnds: 4_000,
  ridge: 1,
  optimism: 0.3,
  typesMax: 64,
  prices: new Map(),
  priceWeight: 0,
};

/**
 * D-LinUCB with a model for each MCP: the highest xᵀV⁻¹b + β√(xᵀV⁻¹ṼV⁻¹x), ties at random. x = [1, log1p(size)/16, one-hot of the request type]. The reward is the quality, 0 for
 * a failure; an answer that nobody rated teaches nothing. There is no load term: that is the point of the comparison.
 * Source: Russac, Vernade and Cappé, NeurIPS 2019, algorithm 1; router.md 3.1. The authors' code takes V for Ṽ in the update of Ṽ; this follows the paper.
 */
export function createDiscountedLinUcb(settings: DiscountedLinUcbSettings = discountedLinUcbDefaults): Policy {
  const gamma = 2 ** (-1 / settings.halfLifeEnds);
  const width = 2 + settings.typesMax + 1;
  const models = new Map<string, DiscountedRegression>();
  const slots = new Map<string, number>();
  let ends = 0;
  const modelOf = (mcpId: string): DiscountedRegression => {
    const model = models.get(mcpId) ?? new DiscountedRegression(width, gamma, settings.ridge);
    keep(models, mcpId, model);
    return model;
  };
  /** Positions of the features that are not 0, with their values: there are three. */
  const featuresOf = (request: RouteRequest): ReadonlyMap<number, number> =>
    new Map([
      [0, 1],
      [1, Math.log1p(Math.max(0, request.inputBytes)) / 16],
      [slots.get(request.requestType) ?? 2 + settings.typesMax, 1],
    ]);
  return {
    id: "discounted-lin-ucb/1",
    choose: (request, targets, _nowMs, rng) => {
      const features = featuresOf(request);
      const priceMax = targets.reduce((most, { mcpId }) => Math.max(most, settings.prices.get(mcpId) ?? 0), 0);
      const bounds = targets.map(({ mcpId }) => {
        const penalty = priceMax > 0 ? (settings.priceWeight * (settings.prices.get(mcpId) ?? 0)) / priceMax : 0;
        return modelOf(mcpId).upperBound(features, settings.optimism, ends) - penalty;
      });
      const best = bounds.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);
      const ties = targets.filter((_, index) => bounds[index] === best);
      return plainChoice(ties[Math.floor(rng() * ties.length)]?.mcpId ?? "", 1 / ties.length);
    },
    assigned: () => {},
    ended: (ended) => {
      const reward = rewardOf(ended);
      if (reward === undefined) return;
      const { requestType } = ended.request;
      if (!slots.has(requestType) && slots.size < settings.typesMax) slots.set(requestType, 2 + slots.size);
      ends += 1;
      modelOf(ended.mcpId).add(featuresOf(ended.request), reward, ends);
    },
    tick: () => {},
  };
}

function rewardOf({ result, quality, auditedQuality }: Ended): number | undefined {
  if (result === "released") return undefined;
  return result === "ok" ? (auditedQuality ?? quality) : 0;
}
