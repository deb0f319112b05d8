import type { Policy } from "../policy.js";
import { plainChoice } from "./propensity.js";

/** Everyone with the same probability: what all others must beat. */
export function createRandom(): Policy {
  return {
    id: "random/1",
    choose: (_request, targets, _nowMs, rng) => {
      const target = targets[Math.floor(rng() * targets.length)];
      return plainChoice(target?.mcpId ?? "", 1 / targets.length);
    },
    assigned: () => {},
    ended: () => {},
    tick: () => {},
  };
}
