import { describe, expect, test } from "vitest";
import { confirm, look, type Plan, startPlan } from "../../../src/smart-router/plan.js";
import { createQualityRule } from "../../../src/smart-router/quality-rule.js";
import { seatAll } from "../../../src/smart-router/seats.js";
import { routerDefaults as settings } from "../../../src/smart-router/settings.js";
import { noSignals } from "../../../src/smart-router/signals.js";
import { plainStanding } from "../../../src/smart-router/standing.js";

const mcps = ["a", "b", "c", "d", "e", "f"];
/** Seconds until a table is in force at the streams of each of three coordinators, and until what they saw is known to the publisher. */
const delays = [0, 1, 3];
const serviceMs = 100;
const stepAtS = 120;
const endS = 300;

type Run = { readonly weights: readonly number[]; readonly publishedAtS: readonly number[] };

/**
 * A closed loop in seconds: a third of the traffic follows the tables of each coordinator, latency follows load as in a processor-sharing queue, and the publisher hears of
 * it late, through a mean of about 14 s. At `stepAtS` the capacity of "a" changes by `factor`. `load` is that of everyone before.
 */
function run(factor: number, load: number): Run {
  const rule = createQualityRule(settings);
  const seating = seatAll(mcps, () => plainStanding(10));
  const equal = new Map(mcps.map((mcpId) => [mcpId, 1 / mcps.length]));
  const tables: ReadonlyMap<string, number>[] = [];
  const latencies: ReadonlyMap<string, number>[] = [];
  const seen = new Map(mcps.map((mcpId) => [mcpId, serviceMs]));
  const weights: number[] = [];
  const publishedAtS: number[] = [];
  let plan: Plan = startPlan([], 0, settings);
  for (let atS = 0; atS < endS; atS += 1) {
    const capacityOf = (mcpId: string) => (mcpId === "a" && atS >= stepAtS ? factor : 1);
    const shareOf = (mcpId: string) =>
      delays.reduce((sum, delay) => sum + ((tables[atS - 1 - delay] ?? equal).get(mcpId) ?? 0) / delays.length, 0);
    const latencyOf = (mcpId: string) => {
      const busy = Math.min(0.95, (load * mcps.length * shareOf(mcpId)) / capacityOf(mcpId));
      return serviceMs / capacityOf(mcpId) / (1 - busy);
    };
    latencies.push(new Map(mcps.map((mcpId) => [mcpId, latencyOf(mcpId)])));
    for (const mcpId of mcps) {
      const heard = delays.reduce((sum, delay) => sum + (latencies[atS - delay]?.get(mcpId) ?? serviceMs) / delays.length, 0);
      const before = seen.get(mcpId) ?? serviceMs;
      seen.set(mcpId, before + (heard - before) * (1 - 2 ** (-1_000 / settings.halfLifeMs)));
    }
    const nowMs = atS * 1_000;
    const raws = rule.weigh(
      seating.seats.map(({ mcpId, standing }) => {
        const latencyMs = seen.get(mcpId) ?? serviceMs;
        const known = { p50Ms: latencyMs, p99Ms: latencyMs, errorRate: 0, qualityLcb: 0, fleetQuality: 0, isSelfReported: true };
        return {
          mcpId,
          state: "active",
          standing,
          signals: noSignals(mcpId),
          estimates: { mcpId, ...known, heardAtMs: nowMs, samples: 100 },
        };
      }),
      nowMs,
    );
    const { next, candidate } = look(plan, raws, seating, nowMs, settings);
    plan = candidate === undefined ? next : confirm(next, candidate, nowMs);
    if (candidate !== undefined && candidate.reason !== "refresh") publishedAtS.push(atS);
    tables.push(new Map([...plan.published.weights].map(([mcpId, weight]) => [mcpId, weight / 10_000])));
    weights.push(plan.published.weights.get("a") ?? 0);
  }
  return { weights, publishedAtS };
}

/** Changes of the sign of what is left to the last value; what is within the dead band of it has none. */
function signChanges(values: readonly number[]): number {
  const last = values.at(-1) ?? 0;
  const signs = values
    .map((value) => (Math.abs(value - last) <= last * (settings.deadBandFactor - 1) ? 0 : Math.sign(value - last)))
    .filter((sign) => sign !== 0);
  return signs.filter((sign, index) => index > 0 && sign !== signs[index - 1]).length;
}

test("an MCP that its load alone would fill after its capacity halved loses more than it has to, and gets it back once", () => {
  for (const load of [0.5, 0.6]) {
    const after = run(0.5, load).weights.slice(stepAtS - 1);
    expect(signChanges(after)).toBeLessThanOrEqual(1);
    expect(after.at(-1)).toBeLessThan(after[0] ?? 0);
  }
});

describe.each([
  ["halves", 0.5],
  ["doubles", 2],
])("after the capacity of an MCP %s, with tables and signals up to 3 s late", (_, factor) => {
  test.each([0.2, 0.3, 0.4])("its weight goes to its new value without swinging (load %d)", (load) => {
    const { weights, publishedAtS } = run(factor, load);
    const after = weights.slice(stepAtS - 1);
    const [from = 0, to = 0] = [after.at(0), after.at(-1)];
    const variation = after.reduce((sum, value, index) => sum + Math.abs(value - (after[index - 1] ?? value)), 0);
    expect(Math.sign(to - from)).toBe(Math.sign(factor - 1));
    expect(signChanges(after)).toBeLessThanOrEqual(1);
    expect(variation).toBeLessThanOrEqual(1.2 * Math.abs(to - from));
    // Once it is steady: the last minute before the step, and the last of all.
    const steady = publishedAtS.filter((atS) => (atS >= stepAtS - 60 && atS < stepAtS) || atS >= endS - 60);
    expect(steady.length / 120).toBeLessThanOrEqual(0.2);
  });
});
