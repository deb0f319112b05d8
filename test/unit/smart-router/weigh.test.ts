import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { apportion } from "../../../src/smart-router/apportion.js";
import { routerDefaults } from "../../../src/smart-router/settings.js";
import type { WeightSignals } from "../../../src/smart-router/signal-book.js";
import { type McpSignals, noSignals } from "../../../src/smart-router/signals.js";
import { plainStanding } from "../../../src/smart-router/standing.js";
import { createA58, type RawWeight, type Weighable } from "../../../src/smart-router/weigh.js";

const nowMs = 1_000_000;
const rule = createA58(routerDefaults);
const weigh = (fleet: readonly McpSignals[], atMs: number) => rule.weigh(weighables(fleet), atMs);

/** What the first rule does not look at. */
const unread: Omit<WeightSignals, "mcpId"> = {
  ...{ p50Ms: 1, p99Ms: 1, errorRate: 0, qualityLcb: 0, fleetQuality: 0, isSelfReported: true, heardAtMs: undefined, samples: 0 },
};

function weighables(fleet: readonly McpSignals[]): readonly Weighable[] {
  const standing = plainStanding(routerDefaults.maxConcurrentDefault);
  return fleet.map((signals) => {
    const { mcpId } = signals;
    return { mcpId, state: "active", standing, signals, estimates: { mcpId, ...unread } };
  });
}

/** An MCP that has long left its blackout. */
function signalsOf(mcpId: string, more: Partial<McpSignals> = {}): McpSignals {
  return { mcpId, heardAtMs: nowMs, endedAtMs: nowMs, usableSinceMs: nowMs - 60_000, qps: 10, eps: 0, latencyMs: 200, ...more };
}

function weightOf(weights: readonly RawWeight[], mcpId: string): RawWeight {
  const weight = weights.find((each) => each.mcpId === mcpId);
  if (weight === undefined) throw new Error(`no weight for ${mcpId}`);
  return weight;
}

const lnOf = (fleet: readonly McpSignals[], mcpId: string): number => weightOf(weigh(fleet, nowMs), mcpId).lnRaw;
const sharesOf = (fleet: readonly McpSignals[]) => apportion(new Map(weigh(fleet, nowMs).map((raw) => [raw.mcpId, raw.lnRaw])));

const healthy = fc.record({
  qps: fc.double({ min: 0.01, max: 1_000, noNaN: true }),
  errorShare: fc.double({ min: 0, max: 1, noNaN: true }),
  latencyMs: fc.double({ min: 1, max: 60_000, noNaN: true }),
});
type Healthy = { readonly qps: number; readonly errorShare: number; readonly latencyMs: number };
const fleetOf = (drawn: readonly Healthy[]): McpSignals[] =>
  drawn.map(({ qps, errorShare, latencyMs }, index) => signalsOf(`mcp-${index}`, { qps, eps: qps * errorShare, latencyMs }));

/** What a sum of logarithms may be off by; the factors of a weight sum to its logarithm to within this. */
const lnRounding = 1e-9;

describe("the first rule, gRFC A58", () => {
  test("a weight is qps / (utilization + eps/qps × penalty)", () => {
    // 10/s of 200 ms are 2 in flight; of 10 that is 0.2; one in ten fails: 10 / (0.2 + 0.1).
    const [raw] = weigh([signalsOf("a", { eps: 1 })], nowMs);
    expect(raw?.lnRaw).toBeCloseTo(Math.log(10 / 0.3), 12);
    expect(raw?.state).toBe("active");
  });

  test("factors sum to the logarithm of the raw weight", () => {
    fc.assert(
      fc.property(healthy, fc.double({ min: 0, max: 100, noNaN: true }), ({ qps, errorShare, latencyMs }, errorUtilizationPenalty) => {
        const fleet = [signalsOf("a", { qps, eps: qps * errorShare, latencyMs })];
        const raw = weightOf(createA58({ ...routerDefaults, errorUtilizationPenalty }).weigh(weighables(fleet), nowMs), "a");
        const formula = qps / ((qps * latencyMs) / 1_000 / routerDefaults.maxConcurrentDefault + errorShare * errorUtilizationPenalty);
        const sum = raw.why.reduce((total, factor) => total + factor.contribution, 0);
        expect(Math.abs(sum - Math.log(formula))).toBeLessThan(1e-9);
        expect(sum).toBe(raw.lnRaw);
      }),
    );
  });

  test("an MCP that shows no errors has an errors factor of exactly zero, not of minus zero", () => {
    expect(weightOf(weigh([signalsOf("a")], nowMs), "a").why.at(2)).toStrictEqual({ name: "errors", contribution: 0 });
  });

  test("in blackout, expired or without any end, an MCP has the mean weight of the others", () => {
    const fleet = [
      signalsOf("a", { latencyMs: 100 }),
      signalsOf("b", { latencyMs: 400 }),
      signalsOf("young", { usableSinceMs: nowMs - 9_999 }),
      signalsOf("expired", { endedAtMs: nowMs - 180_000 }),
      noSignals("unheard"),
    ];
    const weights = weigh(fleet, nowMs);
    const mean = Math.log((100 + 25) / 2);
    for (const mcpId of ["young", "expired", "unheard"]) {
      const raw = weightOf(weights, mcpId);
      expect(raw.state).toBe("warming");
      expect(raw.lnRaw).toBeCloseTo(mean, 12);
      expect(raw.why).toEqual([{ name: "fleet_mean", contribution: raw.lnRaw }]);
    }
    expect(lnOf([...fleet, signalsOf("old enough", { usableSinceMs: nowMs - 10_000 })], "old enough")).toBeCloseTo(Math.log(50), 12);
  });

  test("fewer than two MCPs with signals of their own make all weights equal", () => {
    expect([...sharesOf([noSignals("a"), noSignals("b")]).values()]).toEqual([5_000, 5_000]);
    expect([...sharesOf([signalsOf("a", { eps: 10 }), noSignals("b"), noSignals("c"), noSignals("d")]).values()]).toEqual([
      2_500, 2_500, 2_500, 2_500,
    ]);
    expect(weigh([], nowMs)).toEqual([]);
  });

  test("an MCP that tells no durations is taken for slower than the median, and its errors count", () => {
    const fleet = [signalsOf("a", { latencyMs: 100 }), signalsOf("b", { latencyMs: 200 }), signalsOf("c", { latencyMs: 900 })];
    expect(lnOf([...fleet, signalsOf("mute", { latencyMs: undefined })], "mute")).toBeCloseTo(
      lnOf([signalsOf("x", { latencyMs: 300 })], "x"),
      12,
    );
    expect(lnOf([...fleet, signalsOf("mute", { latencyMs: undefined, eps: 10 })], "mute")).toBeLessThan(Math.log(10 / 1.3) + 1e-9);
    expect(lnOf([signalsOf("mute", { latencyMs: undefined })], "mute")).toBeCloseTo(lnOf([signalsOf("x", { latencyMs: 1_000 })], "x"), 12);
  });

  test("durations of 0 ms count as 1 ms, so that no weight is infinite", () => {
    expect(lnOf([signalsOf("a", { latencyMs: 0 })], "a")).toBe(lnOf([signalsOf("a", { latencyMs: 1 })], "a"));
  });

  test("an MCP that fails everything at once weighs less than one that works", () => {
    const shares = sharesOf([signalsOf("works", { latencyMs: 400 }), signalsOf("fails", { eps: 10, latencyMs: 1 })]);
    expect(shares.get("works")).toBeGreaterThan(6_900);
  });

  test.each<[string, Partial<McpSignals>]>([
    ["a rate that is not a number", { qps: Number.NaN }],
    ["an infinite rate", { qps: Number.POSITIVE_INFINITY }],
    ["no rate", { qps: 0 }],
    ["a rate decayed to nothing", { qps: 1e-300 }],
    ["a negative error rate", { eps: -1 }],
    ["an error rate that is not a number", { eps: Number.NaN }],
  ])("%s makes an MCP warming and harms nobody else", (_, broken) => {
    const weights = weigh([signalsOf("a"), signalsOf("b"), signalsOf("broken", broken)], nowMs);
    expect(weightOf(weights, "broken").state).toBe("warming");
    expect(weights.every((raw) => Number.isFinite(raw.lnRaw))).toBe(true);
    expect(weightOf(weights, "a").lnRaw).toBe(lnOf([signalsOf("a")], "a"));
  });

  test.each([Number.NaN, Number.POSITIVE_INFINITY, -5])("a latency of %d counts as unknown", (latencyMs) => {
    const fleet = [signalsOf("a"), signalsOf("b")];
    expect(weigh([...fleet, signalsOf("c", { latencyMs })], nowMs)).toEqual(
      weigh([...fleet, signalsOf("c", { latencyMs: undefined })], nowMs),
    );
  });

  test("neither the weights nor the shares depend on the order of the fleet", () => {
    const inTwoOrders = fc.array(healthy, { minLength: 1, maxLength: 60 }).chain((drawn) => {
      const fleet = [...fleetOf(drawn), noSignals("quiet")];
      return fc.tuple(fc.constant(fleet), fc.shuffledSubarray(fleet, { minLength: fleet.length, maxLength: fleet.length }));
    });
    fc.assert(
      fc.property(inTwoOrders, ([one, other]) => {
        expect(weigh(other, nowMs)).toEqual(weigh(one, nowMs));
        expect([...sharesOf(other)]).toEqual([...sharesOf(one)]);
      }),
    );
  });

  test("more errors never raise an MCP's weight or its share", () => {
    fc.assert(
      fc.property(fc.array(healthy, { minLength: 1, maxLength: 60 }), fc.double({ min: 0, max: 1, noNaN: true }), (drawn, more) => {
        const fleet = fleetOf(drawn);
        const worse = fleet.map((signals, index) => (index > 0 ? signals : { ...signals, eps: signals.eps + more * signals.qps }));
        expect(lnOf(worse, "mcp-0")).toBeLessThanOrEqual((lnOf(fleet, "mcp-0") ?? Number.NaN) + lnRounding);
        expect(sharesOf(worse).get("mcp-0")).toBeLessThanOrEqual(sharesOf(fleet).get("mcp-0") ?? 0);
      }),
    );
  });

  test("a higher latency never raises an MCP's weight or its share", () => {
    fc.assert(
      fc.property(fc.array(healthy, { minLength: 1, maxLength: 60 }), fc.double({ min: 0, max: 60_000, noNaN: true }), (drawn, moreMs) => {
        const fleet = fleetOf(drawn);
        const worse = fleet.map((signals, index) => (index > 0 ? signals : { ...signals, latencyMs: (signals.latencyMs ?? 0) + moreMs }));
        expect(lnOf(worse, "mcp-0")).toBeLessThanOrEqual((lnOf(fleet, "mcp-0") ?? Number.NaN) + lnRounding);
        expect(sharesOf(worse).get("mcp-0")).toBeLessThanOrEqual(sharesOf(fleet).get("mcp-0") ?? 0);
      }),
    );
  });
});
