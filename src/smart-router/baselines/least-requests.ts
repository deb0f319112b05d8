import type { Rng } from "../../platform/rng.js";
import type { Policy, Target } from "../policy.js";
import { bestOfTwoPropensity, plainChoice } from "./propensity.js";

/** Looks at everyone and takes one with the fewest in flight for its weight; ties at random. Knows nothing of latency or failures. */
export function createLeastRequests(): Policy {
  return {
    id: "least-requests/1",
    choose: (_request, targets, _nowMs, rng) => {
      const costs = targets.map(costOf);
      const least = costs.reduce((a, b) => Math.min(a, b), Number.POSITIVE_INFINITY);
      const ties = targets.filter((_, index) => costs[index] === least);
      return plainChoice(ties[Math.floor(rng() * ties.length)]?.mcpId ?? "", 1 / ties.length);
    },
    assigned: () => {},
    ended: () => {},
    tick: () => {},
  };
}

/** Draws two and takes the one with fewer in flight.     Source: Mitzenmacher 2001; Envoy's LEAST_REQUEST with its defaults. */
export function createTwoChoices(): Policy {
  return {
    id: "two-choices/1",
    choose: (_request, targets, _nowMs, rng) => {
      const costs = targets.map(costOf);
      const chosen = betterOfTwo(costs, rng);
      return plainChoice(targets[chosen]?.mcpId ?? "", bestOfTwoPropensity(costs, chosen));
    },
    assigned: () => {},
    ended: () => {},
    tick: () => {},
  };
}

/** Draws two distinct positions and gives that of the lower cost; the first one drawn when they are equal, which is either with the same probability. */
export function betterOfTwo(costs: readonly number[], rng: Rng): number {
  const count = costs.length;
  if (count < 2) return 0;
  const first = Math.floor(rng() * count);
  const other = Math.floor(rng() * (count - 1));
  const second = other >= first ? other + 1 : other;
  return (costs[second] ?? 0) < (costs[first] ?? 0) ? second : first;
}

/** One more request, over the weight: an idle MCP of weight 1 costs as much as one of weight 2 with one in flight.     Source: Envoy, bias 1.0. */
function costOf(target: Target): number {
  return (target.inFlight + 1) / target.weight;
}
