import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { LocalRouter } from "../../../src/client/local-router.js";
import type { ClientRoutes } from "../../../src/client/routes.js";
import { seededRng } from "../../../src/platform/rng.js";

function table(weights: Readonly<Record<string, number>>, maxConcurrent = 0): ClientRoutes {
  const routes = Object.entries(weights).map(([mcpId, weight]) => ({
    ...{ mcpId, weight, state: "active" as const, stateNumber: 1, maxConcurrent, priority: 0 },
  }));
  return { term: 1n, version: 1n, digest: 0n, routes, validForMs: 180_000, policyId: "test/1", reason: "change" };
}

function routerOf(weights: Readonly<Record<string, number>>, strategy: "p2c" | "stride" = "p2c", maxConcurrent = 0): LocalRouter {
  const router = new LocalRouter({ rng: seededRng(7), strategy });
  router.use(table(weights, maxConcurrent));
  return router;
}

/** Shares of `count` requests that end at once. */
function sharesOf(router: LocalRouter, count: number): Readonly<Record<string, number>> {
  for (let index = 0; index < count; index += 1) router.pick()?.end();
  return Object.fromEntries(router.takeObserved().map(({ mcpId, share }) => [mcpId, share]));
}

const weights = { a: 6_000, b: 3_000, c: 1_000, out: 0 };

describe("a local router", () => {
  test.each(["p2c", "stride"] as const)("keeps to the weights while nothing is in flight, by %s", (strategy) => {
    const shares = sharesOf(routerOf(weights, strategy), 20_000);
    expect(shares.a).toBeCloseTo(0.6, 1.5);
    expect(shares.b).toBeCloseTo(0.3, 1.5);
    expect(shares.c).toBeCloseTo(0.1, 1.5);
    expect(shares.out).toBeUndefined();
  });

  test("by stride gives exact shares, in the same order every time", () => {
    const picks = (router: LocalRouter) => Array.from({ length: 1_000 }, () => router.pick()?.mcpId);
    const first = picks(routerOf(weights, "stride"));
    expect(picks(routerOf(weights, "stride"))).toEqual(first);
    const count = (mcpId: string) => first.filter((one) => one === mcpId).length;
    expect(Math.abs(count("a") - 600)).toBeLessThanOrEqual(3);
    expect(Math.abs(count("c") - 100)).toBeLessThanOrEqual(3);
  });

  test("steers around an MCP whose requests do not come back", () => {
    const router = routerOf({ stuck: 5_000, works: 5_000 });
    let last = 0;
    for (let index = 0; index < 1_000; index += 1) {
      const pick = router.pick();
      if (pick?.mcpId === "works") pick.end();
      else last = index;
    }
    // Even shares would give it 500: it gets what two draws of the same MCP give.
    expect(router.activeOf("stuck")).toBeLessThan(320);
    expect(last).toBeGreaterThan(0);
    expect(router.activeOf("works")).toBe(0);
  });

  test("never gives an MCP more than it may have at once, and nothing when all are full", () => {
    fc.assert(
      fc.property(fc.array(fc.boolean(), { maxLength: 200 }), fc.constantFrom("p2c" as const, "stride" as const), (isPick, strategy) => {
        const router = routerOf({ a: 7_000, b: 3_000 }, strategy, 3);
        const open: { readonly mcpId: string; readonly end: () => void }[] = [];
        for (const one of isPick) {
          const isFull = router.activeOf("a") === 3 && router.activeOf("b") === 3;
          if (!one) open.shift()?.end();
          else {
            const pick = router.pick();
            expect(pick === undefined).toBe(isFull);
            if (pick !== undefined) open.push(pick);
          }
          expect(Math.max(router.activeOf("a"), router.activeOf("b"))).toBeLessThanOrEqual(3);
        }
      }),
    );
  });

  test.each(["p2c", "stride"] as const)("chooses none that is excluded, by %s", (strategy) => {
    const router = routerOf(weights, strategy);
    for (let index = 0; index < 200; index += 1) expect(router.pick(new Set(["a", "b"]))?.mcpId).toBe("c");
    expect(router.pick(new Set(["a", "b", "c"]))).toBeUndefined();
  });

  test("goes on with equal weights when the table has run out, and chooses nobody before the first", () => {
    expect(new LocalRouter().pick()).toBeUndefined();
    const router = routerOf(weights);
    router.use(undefined);
    const shares = sharesOf(router, 20_000);
    for (const mcpId of ["a", "b", "c"]) expect(shares[mcpId]).toBeCloseTo(1 / 3, 1.5);
    expect(shares.out).toBeUndefined();
  });

  test("tells where requests went once, and an end that is said twice counts once", () => {
    const router = routerOf({ a: 10_000 });
    const pick = router.pick();
    pick?.end();
    const other = router.pick();
    pick?.end();
    expect(router.activeOf("a")).toBe(1);
    other?.end();
    expect(router.takeObserved()).toEqual([{ mcpId: "a", share: 1, requests: 2 }]);
    expect(router.takeObserved()).toEqual([]);
  });

  test("when nobody may be chosen, chooses nobody", () => {
    expect(routerOf({ a: 0, b: 0 }).pick()).toBeUndefined();
    expect(routerOf({ a: 0, b: 0 }, "stride").pick()).toBeUndefined();
  });
});
