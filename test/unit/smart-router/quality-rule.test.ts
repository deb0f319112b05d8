import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { createQualityRule } from "../../../src/smart-router/quality-rule.js";
import { routerDefaults } from "../../../src/smart-router/settings.js";
import type { WeightSignals } from "../../../src/smart-router/signal-book.js";
import { noSignals } from "../../../src/smart-router/signals.js";
import { plainStanding, type SharingState, type Standing } from "../../../src/smart-router/standing.js";
import type { RawWeight, Weighable } from "../../../src/smart-router/weigh.js";

const nowMs = 1_000_000;
const { weigh } = createQualityRule(routerDefaults);

type More = Partial<WeightSignals> & { readonly standing?: Partial<Standing>; readonly state?: SharingState };

/** A healthy MCP of 200 ms, of which 50 ends are known and whose quality is that of the fleet. */
function mcp(mcpId: string, { standing, state, ...estimates }: More = {}): Weighable {
  return {
    mcpId,
    state: state ?? "active",
    standing: { ...plainStanding(10), ...standing },
    signals: noSignals(mcpId),
    estimates: {
      ...{ mcpId, p50Ms: 200, p99Ms: 200, errorRate: 0, qualityLcb: 0.5, fleetQuality: 0.5, isSelfReported: true, samples: 50 },
      heardAtMs: nowMs,
      ...estimates,
    },
  };
}

function weightOf(fleet: readonly Weighable[], mcpId: string): RawWeight {
  const found = weigh(fleet, nowMs).find((raw) => raw.mcpId === mcpId);
  if (found === undefined) throw new Error(`no weight for ${mcpId}`);
  return found;
}
const rawOf = (more: More): number => Math.exp(weightOf([mcp("a", more)], "a").lnRaw);
const factorOf = (more: More, name: string): number | undefined =>
  weightOf([mcp("a", more)], "a").why.find((factor) => factor.name === name)?.contribution;

const anyMcp = fc.record({
  p50Ms: fc.double({ min: 0, max: 1e6, noNaN: true }),
  p99Ms: fc.double({ min: 0, max: 1e7, noNaN: true }),
  errorRate: fc.double({ min: 0, max: 1, noNaN: true }),
  qualityLcb: fc.double({ min: -1, max: 1, noNaN: true }),
  fleetQuality: fc.double({ min: 0, max: 1, noNaN: true }),
  isSelfReported: fc.boolean(),
  samples: fc.constantFrom(0, 0.5, 100),
  heardAtMs: fc.constantFrom(undefined, nowMs, nowMs - 200_000),
  state: fc.constantFrom<SharingState>("active", "warming", "degraded"),
  standing: fc.record({
    slowStart: fc.double({ min: 0.1, max: 1, noNaN: true }),
    capacity: fc.integer({ min: 1, max: 10_000 }),
    weight: fc.integer({ min: 1, max: 10_000 }),
  }),
});

describe("the rule of quality, tail and load", () => {
  test("is slow start × health × capacity / latency × (1 − errors)² × e^quality × operator", () => {
    const raw = rawOf({
      ...{ p50Ms: 100, p99Ms: 1_000, errorRate: 0.1, qualityLcb: 0.52, fleetQuality: 0.5, state: "degraded" },
      standing: { slowStart: 0.5, capacity: 40, weight: 200 },
    });
    expect(raw).toBeCloseTo(0.5 * 0.25 * (40 / (0.7 * 100 + 0.3 * 1_000)) * 0.9 ** 2 * Math.exp(4 * 0.02) * 2, 12);
  });

  test("has factors that sum to the logarithm of the raw weight, exactly, and are finite", () => {
    fc.assert(
      fc.property(fc.array(anyMcp, { minLength: 1, maxLength: 30 }), (drawn) => {
        const fleet = drawn.map((more, index) => mcp(`mcp-${index}`, more));
        for (const raw of weigh(fleet, nowMs)) {
          expect(raw.why.reduce((sum, factor) => sum + factor.contribution, 0)).toBe(raw.lnRaw);
          expect(raw.why.every((factor) => Number.isFinite(factor.contribution))).toBe(true);
        }
      }),
    );
  });

  test("does not depend on the order of the fleet", () => {
    const inTwoOrders = fc.array(anyMcp, { minLength: 1, maxLength: 30 }).chain((drawn) => {
      const fleet = drawn.map((more, index) => mcp(`mcp-${index}`, more));
      return fc.tuple(fc.constant(fleet), fc.shuffledSubarray(fleet, { minLength: fleet.length, maxLength: fleet.length }));
    });
    fc.assert(
      fc.property(inTwoOrders, ([one, other]) => {
        expect(weigh(other, nowMs)).toEqual(weigh(one, nowMs));
      }),
    );
  });

  test.each([
    ["what it says of itself moves a weight by a quarter at most", true, 1.25],
    ["audits move it by a factor of two at most", false, 2],
  ])("%s", (_, isSelfReported, bound) => {
    const neutral = rawOf({});
    expect(rawOf({ isSelfReported, qualityLcb: 1, fleetQuality: 0 }) / neutral).toBeCloseTo(bound, 12);
    expect(rawOf({ isSelfReported, qualityLcb: 0, fleetQuality: 1 }) / neutral).toBeCloseTo(1 / bound, 12);
    expect(rawOf({ isSelfReported, qualityLcb: Number.NaN }) / neutral).toBe(1);
  });

  test("an MCP whose tail is long weighs less than one with the same median", () => {
    expect(rawOf({ p50Ms: 200, p99Ms: 2_000 })).toBeLessThan(rawOf({}) / 3);
  });

  test("an MCP that only fails keeps a weight, a tiny one", () => {
    expect(rawOf({ errorRate: 1 })).toBeGreaterThan(0);
    expect(rawOf({ errorRate: 1 })).toBeLessThan(rawOf({}) / 1e6);
  });

  test("who was silent for the expiration period gets what the others make of a slot, times its own slots", () => {
    const fleet = [mcp("a", { p50Ms: 100, p99Ms: 100 }), mcp("b", { p50Ms: 400, p99Ms: 400 })];
    const silent = mcp("silent", { heardAtMs: nowMs - 180_000, p50Ms: 1, p99Ms: 1, standing: { capacity: 20 } });
    const raw = weightOf([...fleet, silent], "silent");
    expect(raw).toMatchObject({ state: "warming", isMeasured: false });
    expect(Math.exp(raw.lnRaw)).toBeCloseTo(20 * ((1 / 100 + 1 / 400) / 2), 12);
    expect(raw.why.map((factor) => factor.name)).toContain("fleet_mean");
  });

  test("who was never heard is weighed by its priors, and shown as warming", () => {
    const raw = weightOf([mcp("new", { samples: 0, heardAtMs: undefined, p50Ms: 300, p99Ms: 300 }), mcp("a")], "new");
    expect(raw).toMatchObject({ state: "warming", isMeasured: false });
    expect(Math.exp(raw.lnRaw)).toBeCloseTo(10 / 300, 12);
  });

  test("a factor that changes nothing is zero, not minus zero", () => {
    for (const name of ["errors", "quality", "health", "slow_start", "operator"]) expect(factorOf({}, name)).toBe(0);
  });
});
