import type { Policy } from "../policy.js";
import { keep } from "./keep.js";
import { plainChoice } from "./propensity.js";
import { pickByStride } from "./static-stride.js";

/** Settings of gRFC A58, and how fast means forget. */
export type A58WeightSettings = {
  readonly blackoutMs: number;
  readonly expirationMs: number;
  readonly updateMs: number;
  readonly errorPenalty: number;
  readonly halfLifeMs: number;
};

/** A58's defaults; the half-life is the best of 2, 5, 20 and 60 s under antagonists (docs/evaluation.md, tuning). */
export const a58WeightDefaults = {
  blackoutMs: 10_000,
  expirationMs: 180_000,
  updateMs: 1_000,
  errorPenalty: 1,
  halfLifeMs: 20_000,
} as const satisfies A58WeightSettings;

/** Decayed sums of one MCP as of `atMs`. */
type Tally = { atMs: number; readonly sinceMs: number; endedAtMs: number; ended: number; failed: number; busyMs: number };

/**
 * Client-side weighted round robin of gRPC: weight = qps / (utilization + eps/qps × penalty), computed once a second, picked by static stride. Utilization is
 * the mean number in flight (ends per second × duration, Little's law) over the capacity: an MCP reports no processor load. Who is in blackout or has expired
 * gets the mean weight; with fewer than two others, everyone is equal.     Source: gRFC A58, github.com/grpc/proposal; router.md anchors 1.1.
 */
export function createA58Weights(settings: A58WeightSettings = a58WeightDefaults): Policy {
  const tallies = new Map<string, Tally>();
  let weights = new Map<string, number>();
  let mean = 1;
  let weighedAtMs = Number.NEGATIVE_INFINITY;
  let sequence = 0;
  let expected: { readonly mcpId: string; readonly next: number } | undefined;
  const capacities = new Map<string, number>();

  const weigh = (nowMs: number): void => {
    weighedAtMs = nowMs;
    weights = new Map();
    for (const mcpId of [...tallies.keys()].sort()) {
      const tally = tallies.get(mcpId);
      const capacity = capacities.get(mcpId);
      if (tally === undefined || capacity === undefined) continue;
      if (nowMs - tally.sinceMs < settings.blackoutMs || nowMs - tally.endedAtMs >= settings.expirationMs) continue;
      decay(tally, nowMs, settings.halfLifeMs);
      if (tally.ended < 1e-6) continue;
      const perSecond = (tally.ended * Math.LN2 * 1_000) / settings.halfLifeMs;
      const utilization = Math.max(1e-6, (perSecond * tally.busyMs) / tally.ended / 1_000 / capacity);
      weights.set(mcpId, perSecond / (utilization + (tally.failed / tally.ended) * settings.errorPenalty));
    }
    if (weights.size < 2) weights = new Map();
    mean = weights.size === 0 ? 1 : [...weights.values()].reduce((sum, weight) => sum + weight, 0) / weights.size;
  };

  return {
    id: "a58-weights/1",
    choose: (_request, targets) => {
      const pick = pickByStride(
        targets.map((target) => weights.get(target.mcpId) ?? mean),
        sequence,
      );
      const target = targets[pick.index];
      for (const { mcpId, capacity } of targets) if (capacities.get(mcpId) !== capacity) keep(capacities, mcpId, capacity);
      expected = { mcpId: target?.mcpId ?? "", next: pick.next };
      return plainChoice(expected.mcpId, 1);
    },
    assigned: ({ mcpId }) => {
      if (expected?.mcpId === mcpId) sequence = expected.next;
    },
    ended: ({ mcpId, result, startedAtMs, endedAtMs }) => {
      if (result === "released") return;
      const known = tallies.get(mcpId);
      const isStale = known === undefined || endedAtMs - known.endedAtMs >= settings.expirationMs;
      const tally = isStale ? { atMs: endedAtMs, sinceMs: endedAtMs, endedAtMs, ended: 0, failed: 0, busyMs: 0 } : known;
      keep(tallies, mcpId, tally);
      decay(tally, endedAtMs, settings.halfLifeMs);
      tally.endedAtMs = endedAtMs;
      tally.ended += 1;
      tally.failed += result === "ok" ? 0 : 1;
      tally.busyMs += endedAtMs - startedAtMs;
    },
    tick: (nowMs) => {
      if (nowMs - weighedAtMs >= settings.updateMs) weigh(nowMs);
    },
  };
}

function decay(tally: Tally, nowMs: number, halfLifeMs: number): void {
  if (nowMs <= tally.atMs) return;
  const kept = 2 ** ((tally.atMs - nowMs) / halfLifeMs);
  tally.atMs = nowMs;
  tally.ended *= kept;
  tally.failed *= kept;
  tally.busyMs *= kept;
}
