import { assert } from "../../platform/assert.js";
import type { Rng } from "../../platform/rng.js";
import type { Regime, Scored } from "../policy.js";
import { hasPlace } from "./places.js";
import { costMaxOf, createRanking, factorNames, factorOf, type Ranking, rank, type Situation } from "./rank.js";
import type { RuleSettings } from "./settings.js";

/** Whom the rule drew: `at` is a place in `targets`. */
export type Drawn = {
  readonly at: number;
  /** Exact probability of this draw in this situation, in (0, 1]. */
  readonly propensity: number;
  readonly epsilon: number;
  readonly regime: Regime;
  /** Drawn to learn, and not among the best. */
  readonly isExploration: boolean;
};

/**
 * Draws a target. Deterministic: the same situation, settings and numbers from `rng` draw the same.
 * `scratch` is overwritten.     Source: SPEC.md, "The rule".
 */
export function draw(situation: Situation, settings: RuleSettings, rng: Rng, scratch: Ranking): Drawn {
  rank(situation, settings, scratch);
  const { epsilon, regime, tied, explored, propensity } = scratch;
  const isExploring = epsilon > 0 && rng() < epsilon;
  const at = isExploring ? explored.at[Math.floor(rng() * explored.count)] : drawTied(scratch, rng());
  assert(at !== undefined && tied.count > 0, "a situation with targets has one that can be drawn");
  return { at, propensity: propensity[at] ?? 0, epsilon, regime, isExploration: isExploring && !hasPlace(tied, at) };
}

function drawTied({ tied, share, shareSum }: Ranking, uniform: number): number | undefined {
  if (!(shareSum > 0)) return tied.at[Math.floor(uniform * tied.count)];
  let left = uniform * shareSum;
  let last: number | undefined;
  for (let index = 0; index < tied.count; index += 1) {
    const at = tied.at[index] ?? 0;
    const own = share[at] ?? 0;
    if (own <= 0) continue;
    last = at;
    left -= own;
    if (left < 0) return at;
  }
  return last; // the sum was rounded up
}

/**
 * What the rule thinks of every target of a situation, with each factor of its score.
 * Shape: one per target, in their order. The factors of a score sum to it exactly, from the left.
 */
export function explain(situation: Situation, settings: RuleSettings): readonly Scored[] {
  const ranking = createRanking();
  rank(situation, settings, ranking);
  const costMax = costMaxOf(situation.signals);
  return situation.targets.map(({ mcpId, inFlight }, at) => {
    const signals = situation.signals[at];
    assert(signals !== undefined, "there are signals for every target");
    const propensity = ranking.propensity[at] ?? 0;
    const isHot = ranking.isHot[at] === 1;
    return {
      mcpId,
      score: ranking.score[at] ?? 0,
      factors: factorNames.map((name) => ({
        name,
        contribution: factorOf(name, signals, inFlight, situation.deadlineMs, costMax, settings),
      })),
      propensity,
      isHot,
      excludedBecause: propensity > 0 ? undefined : whyNot(ranking, at, isHot),
      signals,
      isExplorable: situation.explorable[at] === true,
    };
  });
}

function whyNot(ranking: Ranking, at: number, isHot: boolean): string {
  if (ranking.regime === "panic" || ranking.regime === "all_hot") return "others are less loaded";
  if (isHot) return "hot: more loaded than the others";
  if (ranking.isCandidate[at] === 0) return "degraded, and others are well";
  if (hasPlace(ranking.tied, at)) return "weight 0";
  return "others score higher";
}
