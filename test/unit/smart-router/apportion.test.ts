import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { limits } from "../../../src/platform/limits.js";
import { apportion, floorFor } from "../../../src/smart-router/apportion.js";

const logs = (maxLength: number) => fc.array(fc.double({ min: -800, max: 800, noNaN: true }), { minLength: 1, maxLength });
const named = (ln: readonly number[]) => new Map(ln.map((each, index) => [`mcp-${index}`, each]));
const sum = (weights: ReadonlyMap<string, number>): number => [...weights.values()].reduce((total, weight) => total + weight, 0);

describe("apportion", () => {
  test("shares are whole, sum to 10 000 and keep the floor, whatever the weights", () => {
    fc.assert(
      fc.property(logs(200), (ln) => {
        const weights = apportion(named(ln));
        expect(weights.size).toBe(ln.length);
        expect(sum(weights)).toBe(10_000);
        for (const weight of weights.values()) expect(Number.isInteger(weight) && weight >= floorFor(ln.length)).toBe(true);
      }),
    );
  });

  test("a larger weight never gets a smaller share", () => {
    fc.assert(
      fc.property(logs(80), (ln) => {
        const weights = apportion(named(ln));
        const ascending = [...named(ln)].sort(([, a], [, b]) => a - b).map(([mcpId]) => weights.get(mcpId) ?? 0);
        for (const [index, share] of ascending.entries()) expect(share).toBeGreaterThanOrEqual((ascending[index - 1] ?? 0) - 1);
      }),
    );
  });

  test("a constant added to all logarithms changes nothing", () => {
    expect([...apportion(named([1, 2, 3]))]).toEqual([...apportion(named([501, 502, 503]))]);
  });

  test("equal weights that do not divide evenly give the rest to the first names", () => {
    expect([
      ...apportion(
        new Map([
          ["c", 0],
          ["a", 0],
          ["b", 0],
        ]),
      ),
    ]).toEqual([
      ["a", 3_334],
      ["b", 3_333],
      ["c", 3_333],
    ]);
  });

  test("one that is due nothing gets the floor, and the others share the rest in proportion", () => {
    const weights = apportion(
      new Map([
        ["a", Math.log(3)],
        ["b", 0],
        ["dead", -500],
      ]),
    );
    expect([...weights.values()]).toEqual([7_463, 2_487, 50]);
  });

  test.each([
    [1, 50],
    [50, 50],
    [51, 49],
    [100, 25],
    [limits.routedMcpMax, 2],
    [10_000, 1],
  ])("among %i MCPs the floor is %i basis points", (count, floor) => expect(floorFor(count)).toBe(floor));

  test("the largest fleet still sums up", () => {
    const weights = apportion(named(Array.from({ length: limits.routedMcpMax }, (_, index) => Math.sin(index) * 20)));
    expect(sum(weights)).toBe(10_000);
  });

  test("nobody gets a share of nothing", () => expect(apportion(new Map()).size).toBe(0));
});
