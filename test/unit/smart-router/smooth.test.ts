import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { routerDefaults } from "../../../src/smart-router/settings.js";
import { type Smoothing, smooth, startSmoothing } from "../../../src/smart-router/smooth.js";
import type { Route } from "../../../src/smart-router/table.js";
import type { RawWeight } from "../../../src/smart-router/weigh.js";

const active = (mcpId: string, lnRaw: number): RawWeight => ({ mcpId, lnRaw, state: "active", isMeasured: true, why: [] });
const warming = (mcpId: string, lnRaw: number): RawWeight => ({ mcpId, lnRaw, state: "warming", isMeasured: false, why: [] });
const route = (mcpId: string, weight: number): Route => ({ mcpId, weight, state: "active", maxConcurrent: 10, priority: 0, why: [] });

/** `count` steps of one second towards the same raw weights. */
function settle(from: Smoothing, raws: readonly RawWeight[], count: number, nowMs = 0): Smoothing {
  let smoothing = from;
  for (let step = 0; step < count; step += 1) smoothing = smooth(smoothing, raws, 1_000, nowMs, routerDefaults).next;
  return smoothing;
}

const empty = startSmoothing([], 0, routerDefaults);
const lnOf = (smoothing: Smoothing, mcpId: string): number => smoothing.ln.get(mcpId) ?? Number.NaN;
const gap = (smoothing: Smoothing): number => lnOf(smoothing, "a") - lnOf(smoothing, "b");

describe("smoothing", () => {
  test("half of a fall and a tenth of a rise happen in one second", () => {
    const level = settle(empty, [active("a", 1), active("b", 1)], 1);
    expect(lnOf(settle(level, [active("a", -1), active("b", 1)], 1), "a")).toBeCloseTo(0, 12);
    expect(lnOf(settle(level, [active("a", 3), active("b", 1)], 1), "a")).toBeCloseTo(1.2, 12);
  });

  test("a rise is 95 % done after 30 s, a fall after 5 s", () => {
    const level = settle(empty, [active("a", 0), active("b", 0)], 1);
    expect(lnOf(settle(level, [active("a", 1), active("b", 0)], 30), "a")).toBeGreaterThan(0.95);
    expect(lnOf(settle(level, [active("a", -1), active("b", 0)], 5), "a")).toBeLessThan(-0.95);
  });

  test("two half steps do what one whole step does", () => {
    const raws = [active("a", 2), active("b", -2)];
    const level = settle(empty, [active("a", 0), active("b", 0)], 1);
    const halved = smooth(smooth(level, raws, 500, 0, routerDefaults).next, raws, 500, 0, routerDefaults).next;
    const whole = smooth(level, raws, 1_000, 0, routerDefaults).next;
    for (const mcpId of ["a", "b"]) expect(lnOf(halved, mcpId)).toBeCloseTo(lnOf(whole, mcpId), 12);
  });

  test("a newcomer enters at the mean of the others, or at its own target when that is lower", () => {
    const level = settle(empty, [active("a", 2), active("b", 2)], 1);
    const joined = settle(level, [active("a", 2), active("b", 2), active("fast", 9), active("slow", -3), warming("new", 2)], 1);
    expect(lnOf(joined, "fast")).toBeCloseTo(2, 12);
    expect(lnOf(joined, "slow")).toBe(-3);
    expect(lnOf(joined, "new")).toBeCloseTo(2, 12);
  });

  test("an MCP that leaves is forgotten", () => {
    expect([...settle(settle(empty, [active("a", 1), active("b", 1)], 1), [active("a", 1)], 1).ln.keys()]).toEqual(["a"]);
  });

  test("the first MCP with signals of its own moves no share by the level of its weight", () => {
    const cold = settle(empty, [warming("a", 0), warming("b", 0)], 3);
    const first = smooth(cold, [active("a", 4.6), warming("b", 4.6)], 1_000, 0, routerDefaults);
    expect(first.shift).toBeCloseTo(4.6, 12);
    expect(gap(first.next)).toBeCloseTo(0, 12);
  });

  test("when all signals have expired, weights move to equal without leaving their level", () => {
    const apart = settle(empty, [active("a", 7), active("b", 5)], 100);
    const once = settle(apart, [warming("a", 0), warming("b", 0)], 1);
    expect(Math.abs(gap(once))).toBeLessThan(Math.abs(gap(apart)));
    expect(lnOf(once, "b")).toBeGreaterThan(5);
    expect(gap(settle(apart, [warming("a", 0), warming("b", 0)], 200))).toBeCloseTo(0, 6);
  });

  describe("after a restart", () => {
    const restarted = startSmoothing([route("a", 8_000), route("b", 2_000)], 0, routerDefaults);

    test("weights stay as they were while nothing is known", () => {
      expect(gap(settle(restarted, [warming("a", 0), warming("b", 0)], 20, 20_000))).toBeCloseTo(Math.log(4), 12);
    });

    test("one MCP that speaks first changes no share; two move to what is measured of them", () => {
      const one = settle(restarted, [active("a", 4), warming("b", 4)], 20, 20_000);
      expect(gap(one)).toBeCloseTo(Math.log(4), 12);
      expect(gap(settle(one, [active("a", 4), active("b", 4)], 100, 60_000))).toBeCloseTo(0, 3);
    });

    test("one that stays silent loses its old weight when that has expired", () => {
      const silent = [active("a", 4), warming("b", 4)];
      expect(gap(settle(restarted, silent, 100, 179_999))).toBeCloseTo(Math.log(4), 12);
      expect(gap(settle(settle(restarted, silent, 1, 1_000), silent, 100, 180_000))).toBeCloseTo(0, 3);
    });
  });

  test("after a step there is no overshoot, and no movement beyond the step", () => {
    const ln = fc.double({ min: -8, max: 8, noNaN: true });
    const arb = fc.array(fc.tuple(ln, ln), { minLength: 2, maxLength: 20 });
    fc.assert(
      fc.property(arb, (pairs) => {
        const before = pairs.map(([from], index) => active(`mcp-${index}`, from));
        const after = pairs.map(([, to], index) => active(`mcp-${index}`, to));
        let smoothing = settle(empty, before, 300);
        const start = lnOf(smoothing, "mcp-0");
        const target = after[0]?.lnRaw ?? Number.NaN;
        const offsets = [start - target];
        let variation = 0;
        for (let step = 0; step < 120; step += 1) {
          const previous = lnOf(smoothing, "mcp-0");
          smoothing = settle(smoothing, after, 1);
          variation += Math.abs(lnOf(smoothing, "mcp-0") - previous);
          offsets.push(lnOf(smoothing, "mcp-0") - target);
        }
        const signs = offsets.map((offset) => (Math.abs(offset) < 1e-9 ? 0 : Math.sign(offset))).filter((sign) => sign !== 0);
        expect(signs.every((sign) => sign === signs[0])).toBe(true);
        expect(variation).toBeLessThanOrEqual(1.000001 * Math.abs(start - target) + 1e-9);
      }),
    );
  });
});
