import type { Choice } from "../policy.js";

/** A choice of a strategy that neither scores everyone nor explores. */
export function plainChoice(mcpId: string, propensity: number): Choice {
  return { mcpId, propensity, epsilon: 0, regime: "normal", isExploration: false, scored: [] };
}

/**
 * Probability that the better of two distinct ones drawn at random is this one: it wins against everyone worse, and half the time against its equals.
 * Shape: `costs` of all, the lower the better; at least one.
 */
export function bestOfTwoPropensity(costs: readonly number[], chosen: number): number {
  const count = costs.length;
  if (count < 2) return 1;
  const own = costs[chosen] ?? 0;
  let wins = -0.5;
  for (const cost of costs) wins += cost > own ? 1 : cost === own ? 0.5 : 0;
  return (2 * wins) / (count * (count - 1));
}
