import { confirm, look, type Plan, startPlan } from "../smart-router/plan.js";
import { createQualityRule } from "../smart-router/quality-rule.js";
import { seatAll } from "../smart-router/seats.js";
import { routerDefaults as settings } from "../smart-router/settings.js";
import { noSignals } from "../smart-router/signals.js";
import { plainStanding } from "../smart-router/standing.js";
import type { Weighable } from "../smart-router/weigh.js";

const mcpIds = ["mcp-0", "mcp-1", "mcp-2", "mcp-3", "mcp-4", "mcp-5"];
const serviceMs = 100;
/** The second of the step. */
export const stepAtS = 120;
const endS = 300;

/** How one run differs from others: load before the step, and how many seconds tables and news are late at each coordinator. */
export type Loop = { readonly factor: number; readonly load: number; readonly delays: readonly number[] };

/**
 * The weight plane in a closed loop, a second a step: a third of the traffic follows the tables of each coordinator, latency follows load as in a processor-sharing queue, and the
 * publisher hears of it late, through a mean over about 14 s. At `stepAtS` the capacity of the first MCP changes. Returns its weight in basis points each second, and when
 * tables were published that said something new.
 */
export function playLoop({ factor, load, delays }: Loop): {
  readonly weights: readonly number[];
  readonly publishedAtS: readonly number[];
} {
  const weighing = createQualityRule(settings);
  const seating = seatAll(mcpIds, () => plainStanding(10));
  const tables: ReadonlyMap<string, number>[] = [];
  const latencies: ReadonlyMap<string, number>[] = [];
  const seen = new Map(mcpIds.map((mcpId) => [mcpId, serviceMs]));
  const weights: number[] = [];
  const publishedAtS: number[] = [];
  let plan: Plan = startPlan([], 0, settings);
  const meanOver = (read: (delay: number) => number): number => delays.reduce((sum, delay) => sum + read(delay), 0) / delays.length;
  for (let atS = 0; atS < endS; atS += 1) {
    const capacityOf = (mcpId: string): number => (mcpId === mcpIds[0] && atS >= stepAtS ? factor : 1);
    const shareOf = (mcpId: string): number => meanOver((delay) => tables[atS - 1 - delay]?.get(mcpId) ?? 1 / mcpIds.length);
    const latencyOf = (mcpId: string): number => {
      const busy = Math.min(0.95, (load * mcpIds.length * shareOf(mcpId)) / capacityOf(mcpId));
      return serviceMs / capacityOf(mcpId) / (1 - busy);
    };
    latencies.push(new Map(mcpIds.map((mcpId) => [mcpId, latencyOf(mcpId)])));
    for (const mcpId of mcpIds) {
      const heard = meanOver((delay) => latencies[atS - delay]?.get(mcpId) ?? serviceMs);
      const before = seen.get(mcpId) ?? serviceMs;
      seen.set(mcpId, before + (heard - before) * (1 - 2 ** (-1_000 / settings.halfLifeMs)));
    }
    const nowMs = atS * 1_000;
    const fleet = seating.seats.map(({ mcpId, standing }): Weighable => {
      const latencyMs = seen.get(mcpId) ?? serviceMs;
      const known = { p50Ms: latencyMs, p99Ms: latencyMs, errorRate: 0, qualityLcb: 0, fleetQuality: 0, isSelfReported: true };
      return {
        mcpId,
        state: "active",
        standing,
        signals: noSignals(mcpId),
        estimates: { mcpId, ...known, heardAtMs: nowMs, samples: 100 },
      };
    });
    const { next, candidate } = look(plan, weighing.weigh(fleet, nowMs), seating, nowMs, settings);
    plan = candidate === undefined ? next : confirm(next, candidate, nowMs);
    if (candidate !== undefined && candidate.reason !== "refresh") publishedAtS.push(atS);
    tables.push(new Map([...plan.published.weights].map(([mcpId, weight]) => [mcpId, weight / 10_000])));
    weights.push(plan.published.weights.get(mcpIds[0] ?? "") ?? 0);
  }
  return { weights, publishedAtS };
}

/** Changes of the sign of what is left to the last value; what is within the dead band of it has none. */
export function signChanges(values: readonly number[]): number {
  const last = values.at(-1) ?? 0;
  const signs = values
    .map((value) => (Math.abs(value - last) <= last * (settings.deadBandFactor - 1) ? 0 : Math.sign(value - last)))
    .filter((sign) => sign !== 0);
  return signs.filter((sign, index) => index > 0 && sign !== signs[index - 1]).length;
}

/** How often a steady loop publishes something new: over the last minute before the step, and the last of all. */
export function steadyUpdatesPerSecond(publishedAtS: readonly number[]): number {
  return publishedAtS.filter((atS) => (atS >= stepAtS - 60 && atS < stepAtS) || atS >= endS - 60).length / 120;
}

/** How far the weight moves in all after the step, in steps: 1 is the straight way. */
export function variationOf(after: readonly number[]): number {
  const step = Math.abs((after.at(-1) ?? 0) - (after[0] ?? 0));
  return after.reduce((sum, value, index) => sum + Math.abs(value - (after[index - 1] ?? value)), 0) / step;
}
