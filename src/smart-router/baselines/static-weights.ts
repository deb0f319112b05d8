import type { Policy } from "../policy.js";
import { plainChoice } from "./propensity.js";
import { pickByStride } from "./static-stride.js";

/** Weighted round robin with weights that never change: capacity, times what the operator set. Static stride, as in gRPC. */
export function createStaticWeights(): Policy {
  let sequence = 0;
  let expected: { readonly mcpId: string; readonly next: number } | undefined;
  return {
    id: "static-weights/1",
    choose: (_request, targets) => {
      const pick = pickByStride(
        targets.map((target) => target.capacity * target.weight),
        sequence,
      );
      const mcpId = targets[pick.index]?.mcpId ?? "";
      expected = { mcpId, next: pick.next };
      return plainChoice(mcpId, 1);
    },
    assigned: ({ mcpId }) => {
      if (expected?.mcpId === mcpId) sequence = expected.next;
    },
    ended: () => {},
    tick: () => {},
  };
}
