import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { seededRng } from "../../../src/platform/rng.js";
import { createRouter } from "../../../src/smart-router/create-router.js";
import { createQualityTailLoad, qualityTailLoadId } from "../../../src/smart-router/decide/quality-tail-load.js";
import type { Candidate } from "../../../src/smart-router/decision.js";
import { Prices } from "../../../src/smart-router/prices.js";
import { plainRequest } from "../../../src/smart-router/request.js";
import { plainTarget, type Router } from "../../../src/smart-router/router.js";
import { createSignalBook } from "../../../src/smart-router/signals/book.js";

describe("what operators say a request costs", () => {
  it("counts as it was set last; without a price an MCP counts as the mean of those with one, and as nothing known while there is none", () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.constantFrom("a", "b", "c"), fc.option(fc.double({ min: 0, max: 1e9, noNaN: true }), { nil: undefined }))),
        (settings) => {
          const prices = new Prices();
          for (const [mcpId, price] of settings) prices.set(mcpId, price);
          const last = new Map<string, number | undefined>(settings);
          const told = [...last.values()].filter((price) => price !== undefined);
          const mean = told.reduce((sum, price) => sum + price, 0) / told.length;
          for (const mcpId of ["a", "b", "c", "other"]) {
            const price = prices.of(mcpId);
            if (told.length === 0) expect(price).toBeUndefined();
            else expect(price).toBeCloseTo(last.get(mcpId) ?? mean, 3);
          }
        },
      ),
    );
  });

  it("is in force from the next decision on: the dearest loses a tenth of a point, the others in proportion, and the share moves with it", () => {
    const book = createSignalBook(undefined, { costOf: (mcpId) => router.costOf(mcpId) });
    let minted = 0;
    const router: Router = createRouter(
      {
        book,
        policies: new Map([[qualityTailLoadId, (read) => createQualityTailLoad(read)]]),
        rng: seededRng(4),
        wallMs: () => 0,
        mintDecisionId: () => `d${minted++}`,
      },
      { maxConcurrentDefault: 10, policyId: qualityTailLoadId, shadowPolicyIds: [] },
    );
    const price = (mcpId: string, costPerRequest: number | undefined) => router.configure({ ...plainTarget(mcpId), costPerRequest }, 0);
    for (const mcpId of ["a", "b", "c"]) router.streamOpened(mcpId, `session of ${mcpId}`, 0);
    const look = (): ReadonlyMap<string, Candidate> => {
      const selection = router.select({ ...plainRequest, noExplore: true }, 0);
      if (selection.kind === "refused") throw selection.error;
      const { decision } = selection;
      router.release(decision.decisionId, decision.chosen, 0);
      return new Map(decision.candidates().map((one) => [one.mcpId, one]));
    };
    const costFactorOf = (seen: ReadonlyMap<string, Candidate>, mcpId: string) =>
      seen.get(mcpId)?.factors.find(({ name }) => name === "cost")?.contribution;
    expect(costFactorOf(look(), "a")).toBe(0);
    price("a", 8);
    price("b", 2);
    const priced = look();
    expect(["a", "b", "c"].map((mcpId) => priced.get(mcpId)?.signals?.cost)).toEqual([8, 2, 5]);
    expect(costFactorOf(priced, "a")).toBeCloseTo(-0.1, 12);
    expect(costFactorOf(priced, "b")).toBeCloseTo(-0.025, 12);
    expect(costFactorOf(priced, "c")).toBeCloseTo(-0.0625, 12);
    expect(priced.get("b")?.score).toBeGreaterThan(priced.get("a")?.score ?? Number.POSITIVE_INFINITY);
    price("a", undefined);
    price("b", undefined);
    expect(costFactorOf(look(), "a")).toBe(0);
  });
});
