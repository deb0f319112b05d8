import { describe, expect, it } from "vitest";
import { createShadowTally } from "../../../../src/smart-router/log/shadow-tally.js";

const shadow = (policyId: string, mcpId: string) => ({ policyId, mcpId, propensity: 1 });

describe("the agreement of shadows", () => {
  it("counts on how many decisions each would have chosen the same", () => {
    const tally = createShadowTally();
    tally.add({ policyId: "p", chosen: "a", shadow: [shadow("s", "a"), shadow("r", "b")] });
    tally.add({ policyId: "p", chosen: "a", shadow: [shadow("s", "b"), shadow("r", "b")] });
    expect(tally.agreements()).toEqual([
      { policyId: "r", decisions: 2, agreed: 0 },
      { policyId: "s", decisions: 2, agreed: 1 },
    ]);
  });

  it("begins anew under another policy, and goes on for those that stay when others come or go", () => {
    const tally = createShadowTally();
    tally.add({ policyId: "p", chosen: "a", shadow: [shadow("s", "a")] });
    tally.add({ policyId: "p", chosen: "a", shadow: [shadow("s", "a"), shadow("r", "a")] });
    tally.add({ policyId: "p", chosen: "a", shadow: [shadow("s", "a")] });
    expect(tally.agreements()).toEqual([{ policyId: "s", decisions: 3, agreed: 3 }]);
    tally.add({ policyId: "q", chosen: "a", shadow: [shadow("s", "b")] });
    expect(tally.agreements()).toEqual([{ policyId: "s", decisions: 1, agreed: 0 }]);
  });
});
