import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { splitByTier, type TierMember, tierShares } from "../../../src/smart-router/tiers.js";

const member = (mcpId: string, priority: number, isSharing = true, capacity = 10): TierMember => ({ mcpId, priority, capacity, isSharing });
const shares = (members: readonly TierMember[]) => Object.fromEntries(tierShares(members));

const anyMembers = fc.array(
  fc.record({
    mcpId: fc.string(),
    priority: fc.integer({ min: 0, max: 4 }),
    capacity: fc.integer({ min: 1, max: 1_000 }),
    isSharing: fc.boolean(),
  }),
  { maxLength: 30 },
);

describe("tiers", () => {
  test("the first takes everything while 71 % of its capacity is there", () => {
    const first = ["a", "b", "c", "d"].map((mcpId) => member(mcpId, 0));
    expect(shares([...first, member("z", 1)])).toEqual({ 0: 1, 1: 0 });
    const three = first.map((one, index) => ({ ...one, isSharing: index < 3 }));
    expect(shares([...three, member("z", 1)])).toEqual({ 0: 1, 1: 0 });
  });

  test("what it cannot bear goes to the next, by capacity and not by number", () => {
    const half = [member("a", 0), member("b", 0, false)];
    expect(tierShares([...half, member("z", 1)]).get(1)).toBeCloseTo(0.3, 12);
    const most = [member("a", 0, true, 90), member("b", 0, false, 10)];
    expect(shares([...most, member("z", 1)])).toEqual({ 0: 1, 1: 0 });
  });

  test("when all of them together bear too little, what is there takes everything", () => {
    const members = [member("a", 0, true, 1), member("b", 0, false, 9), member("y", 1, true, 1), member("z", 1, false, 9)];
    expect(shares(members)).toEqual({ 0: 0.5, 1: 0.5 });
  });

  test("shares sum to 1, or to 0 when nobody may take anything; a tier without anyone takes nothing", () => {
    fc.assert(
      fc.property(anyMembers, (members) => {
        const found = tierShares(members);
        const sum = [...found.values()].reduce((total, share) => total + share, 0);
        expect(sum).toBeCloseTo(members.some((one) => one.isSharing) ? 1 : 0, 9);
        for (const [priority, share] of found) {
          if (share > 0) expect(members.some((one) => one.isSharing && one.priority === priority)).toBe(true);
        }
      }),
    );
  });

  test("split weights of a tier sum to its share, and keep their proportions", () => {
    const ln = new Map([
      ["a", 1],
      ["b", 2],
      ["z", 9],
    ]);
    const split = splitByTier(
      ln,
      (mcpId) => (mcpId === "z" ? 1 : 0),
      new Map([
        [0, 0.7],
        [1, 0.3],
      ]),
    );
    const weight = (mcpId: string) => Math.exp(split.get(mcpId) ?? Number.NaN);
    expect(weight("a") + weight("b")).toBeCloseTo(0.7, 12);
    expect(weight("b") / weight("a")).toBeCloseTo(Math.E, 12);
    expect(weight("z")).toBeCloseTo(0.3, 12);
  });

  test("one tier is left as it was", () => {
    const ln = new Map([["a", 1]]);
    expect(splitByTier(ln, () => 3, new Map([[3, 1]]))).toBe(ln);
  });
});
