import type { Decision } from "../decision.js";
import { compareIds } from "../order.js";

/** How often a policy that was asked along would have chosen the same MCP. */
export type Agreement = { readonly policyId: string; readonly decisions: number; readonly agreed: number };

export type ShadowTally = {
  readonly add: (decision: Pick<Decision, "policyId" | "chosen" | "shadow">) => void;
  /** Ascending by policyId. */
  readonly agreements: () => readonly Agreement[];
};

/** Counts agreement with the policy in force. Begins anew when another one is put in force, and for each policy when it is no longer asked along. */
export function createShadowTally(): ShadowTally {
  let inForce = "";
  let tallies = new Map<string, { decisions: number; agreed: number }>();
  return {
    add: ({ policyId, chosen, shadow }) => {
      const isSame = policyId === inForce && shadow.length === tallies.size && shadow.every((one) => tallies.has(one.policyId));
      if (!isSame) {
        const kept = policyId === inForce ? tallies : new Map<string, { decisions: number; agreed: number }>();
        tallies = new Map(shadow.map((one) => [one.policyId, kept.get(one.policyId) ?? { decisions: 0, agreed: 0 }]));
        inForce = policyId;
      }
      for (const one of shadow) {
        const tally = tallies.get(one.policyId);
        if (tally === undefined) continue;
        tally.decisions += 1;
        if (one.mcpId === chosen) tally.agreed += 1;
      }
    },
    agreements: () => [...tallies].map(([policyId, tally]) => ({ policyId, ...tally })).sort((a, b) => compareIds(a.policyId, b.policyId)),
  };
}
