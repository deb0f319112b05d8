import { compareIds } from "../order.js";
import type { Policy } from "../policy.js";
import { plainChoice } from "./propensity.js";

/** One after the other, in the order of ids: the next above whoever had the last one. Blind to load and failures. */
export function createRoundRobin(): Policy {
  let last: string | undefined;
  return {
    id: "round-robin/1",
    choose: (_request, targets) => {
      const after = last;
      const next = after === undefined ? undefined : targets.find((target) => compareIds(target.mcpId, after) > 0);
      return plainChoice((next ?? targets[0])?.mcpId ?? "", 1);
    },
    assigned: ({ mcpId }) => {
      last = mcpId;
    },
    ended: () => {},
    tick: () => {},
  };
}
