import type { Rng } from "../../platform/rng.js";
import { compareIds } from "../order.js";
import type { Choice, Policy, Target } from "../policy.js";
import { plainChoice } from "./propensity.js";
import type { ProbeReading, Surroundings } from "./surroundings.js";

/** Names and defaults as in the paper. */
export type PrequalSettings = {
  readonly poolMax: number;
  readonly probesPerRequest: number;
  readonly removalsPerRequest: number;
  /** Readings above this quantile of the numbers in flight are hot. */
  readonly hotQuantile: number;
  readonly probeMaxAgeMs: number;
  /** δ: how much faster probes come in than they are used up. */
  readonly surplus: number;
  /** With fewer readings than this the choice is random. */
  readonly occupancyMin: number;
};

export const prequalDefaults = {
  poolMax: 16,
  probesPerRequest: 3,
  removalsPerRequest: 1,
  hotQuantile: 0.84,
  probeMaxAgeMs: 1_000,
  surplus: 1,
  occupancyMin: 2,
} as const satisfies PrequalSettings;

type Reading = {
  readonly mcpId: string;
  inFlight: number;
  readonly latencyMs: number | undefined;
  readonly atMs: number;
  usesLeft: number;
};

/**
 * How often a reading may be used: max{1, (1+δ) / ((1 − m/n)·r_probe − r_remove)}. Where probes cannot keep up with their removal, which is where the
 * denominator is not positive, only age and room limit a reading.
 * Source: NSDI 2024, equation for b_reuse. (1 − m/n) multiplies r_probe alone, and r_remove is subtracted from the product: a replication had it inside.
 */
export function reuseOf(settings: PrequalSettings, targetCount: number): number {
  const pool = Math.min(settings.poolMax, targetCount);
  const surplus = (1 - pool / targetCount) * settings.probesPerRequest - settings.removalsPerRequest;
  return surplus <= 0 ? Number.POSITIVE_INFINITY : Math.max(1, (1 + settings.surplus) / surplus);
}

/**
 * Prequal with the hot-cold lexicographic rule: a pool of recent probe readings; hot are those above a quantile of the numbers in flight over the latest reading
 * of each MCP; with any cold, the cold one of least latency, else the one with the fewest in flight. An own request counts at once in the readings of its MCP,
 * and no longer when it has ended, however it ended.     Source: Wydrowski et al., NSDI 2024; parameters in router.md anchors 1.1.
 */
export function createPrequal({ rng, probe }: Pick<Surroundings, "rng" | "probe">, settings: PrequalSettings = prequalDefaults): Policy {
  let pool: Reading[] = [];
  let known: readonly string[] = [];
  let reuse = 1;
  let probeDebt = 0;
  let removalDebt = 0;
  let removesOldest = true;

  const add = (reading: ProbeReading, atMs: number): void => {
    // One more than the mean now and then, so that the mean is right.
    const usesLeft = Number.isFinite(reuse) ? Math.floor(reuse) + (rng() < reuse % 1 ? 1 : 0) : Number.POSITIVE_INFINITY;
    pool.push({ mcpId: reading.mcpId, inFlight: reading.inFlight, latencyMs: reading.latencyMs, atMs, usesLeft });
    if (pool.length > settings.poolMax) removeAt(pool, oldestOf(pool));
  };

  return {
    id: "prequal/1",
    choose: (_request, targets, nowMs, choices) => {
      if (known.length !== targets.length || targets.some((target, index) => target.mcpId !== known[index])) {
        known = targets.map((target) => target.mcpId);
      }
      const usable = pool.filter((reading) => nowMs - reading.atMs <= settings.probeMaxAgeMs && isTarget(known, reading.mcpId));
      if (usable.length < settings.occupancyMin) return drawAny(targets, choices);
      return chooseByReading(usable, settings.hotQuantile, choices);
    },
    assigned: ({ mcpId, atMs }) => {
      pool = pool.filter((reading) => atMs - reading.atMs <= settings.probeMaxAgeMs && isTarget(known, reading.mcpId));
      reuse = reuseOf(settings, Math.max(1, known.length));
      useOne(pool, mcpId);
      for (const reading of pool) if (reading.mcpId === mcpId) reading.inFlight++;
      for (removalDebt += settings.removalsPerRequest; removalDebt >= 1; removalDebt--) {
        // Never below what a choice needs: an empty pool is worse than an old one.
        if (pool.length <= settings.occupancyMin) continue;
        removeAt(pool, removesOldest ? oldestOf(pool) : worstOf(pool, settings.hotQuantile));
        removesOldest = !removesOldest;
      }
      for (probeDebt += settings.probesPerRequest; probeDebt >= 1; probeDebt--) {
        const asked = known[Math.floor(rng() * known.length)];
        if (asked !== undefined) probe(asked, atMs, add);
      }
    },
    ended: ({ mcpId, endedAtMs }) => {
      // Whatever the result: a cancelled request that stayed counted would make its MCP look busy for as long as the reading lives.
      for (const reading of pool)
        if (reading.mcpId === mcpId && reading.atMs <= endedAtMs) reading.inFlight = Math.max(0, reading.inFlight - 1);
    },
    tick: () => {},
  };
}

function chooseByReading(usable: readonly Reading[], hotQuantile: number, choices: Rng): Choice {
  const limit = hotLimit(usable, hotQuantile);
  const cold = usable.filter((reading) => reading.inFlight <= limit);
  const costs = cold.length > 0 ? cold.map((reading) => reading.latencyMs ?? 0) : usable.map((reading) => reading.inFlight);
  const from = cold.length > 0 ? cold : usable;
  const least = costs.reduce((a, b) => Math.min(a, b), Number.POSITIVE_INFINITY);
  const best = new Set(from.filter((_, index) => costs[index] === least).map((reading) => reading.mcpId));
  const mcpIds = [...best].sort(compareIds);
  return plainChoice(mcpIds[Math.floor(choices() * mcpIds.length)] ?? "", 1 / mcpIds.length);
}

/** The exact rank quantile of the numbers in flight, over the latest reading of each MCP. */
function hotLimit(pool: readonly Reading[], quantile: number): number {
  const latest = new Map<string, Reading>();
  for (const reading of pool)
    if (reading.atMs >= (latest.get(reading.mcpId)?.atMs ?? Number.NEGATIVE_INFINITY)) latest.set(reading.mcpId, reading);
  const sorted = [...latest.values()].map((reading) => reading.inFlight).sort((a, b) => a - b);
  return sorted[Math.floor(quantile * (sorted.length - 1))] ?? Number.POSITIVE_INFINITY;
}

function drawAny(targets: readonly Target[], choices: Rng): Choice {
  return plainChoice(targets[Math.floor(choices() * targets.length)]?.mcpId ?? "", 1 / targets.length);
}

/** Takes one use from the oldest reading of this MCP, and the reading away with its last use. */
function useOne(pool: Reading[], mcpId: string): void {
  const at = pool.findIndex((reading) => reading.mcpId === mcpId);
  const reading = pool[at];
  if (reading === undefined) return;
  reading.usesLeft--;
  if (reading.usesLeft <= 0) removeAt(pool, at);
}

/** Position of the worst: the most in flight among the hot ones, else the slowest. */
function worstOf(pool: readonly Reading[], hotQuantile: number): number {
  const limit = hotLimit(pool, hotQuantile);
  const anyHot = pool.some((reading) => reading.inFlight > limit);
  const badness = pool.map((reading) => (anyHot ? reading.inFlight : (reading.latencyMs ?? 0)));
  return badness.indexOf(badness.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY));
}

function oldestOf(pool: readonly Reading[]): number {
  const atMs = pool.map((reading) => reading.atMs);
  return atMs.indexOf(atMs.reduce((a, b) => Math.min(a, b), Number.POSITIVE_INFINITY));
}

function removeAt(pool: Reading[], at: number): void {
  if (at >= 0) pool.splice(at, 1);
}

/** `known` is ascending. */
function isTarget(known: readonly string[], mcpId: string): boolean {
  let low = 0;
  let high = known.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (compareIds(known[middle] ?? "", mcpId) < 0) low = middle + 1;
    else high = middle;
  }
  return known[low] === mcpId;
}
