import { describe, expect, it } from "vitest";
import { limits } from "../../../../src/platform/limits.js";
import { createMadeDecisions } from "../../../../src/smart-router/log/made-decisions.js";

describe("the decisions made here", () => {
  it("tell a start event of the chosen MCP from one of another and from one of a decision that nobody made, and count the last two", () => {
    const made = createMadeDecisions();
    made.add("d-1", { mcpId: "a", keyId: "" });
    expect([made.judgeStart("d-1", "a"), made.judgeStart("d-1", "b"), made.judgeStart("d-2", "a")]).toEqual(["own", "foreign", "unknown"]);
    expect(made.counts()).toEqual({ foreign: 1, unknown: 1 });
  });

  it("are remembered at least for the half of the bound, and never more of them than the bound", () => {
    const made = createMadeDecisions();
    for (let at = 0; at < 2.5 * limits.madeDecisionsMax; at++) made.add(`d-${at}`, { mcpId: "a", keyId: "k" });
    const known = Array.from({ length: 2.5 * limits.madeDecisionsMax }, (_, at) => made.find(`d-${at}`) !== undefined);
    expect(known.filter(Boolean).length).toBeLessThanOrEqual(limits.madeDecisionsMax);
    expect(known.slice(2 * limits.madeDecisionsMax).every(Boolean)).toBe(true);
  });
});
