import type { Contender } from "./dispatch.js";
import type { SimulatedServer } from "./server.js";

/** What an answer's pace takes from its quality. */
export type Worth = {
  /** The latency that still is in time, ms. */
  readonly dueMs: number;
  /** Taken when it is exceeded. */
  readonly lateWeight: number;
  /** Taken when it is used up, and in proportion before. */
  readonly latencyWeight: number;
};

/** What an answer of this quality is worth after `latencyMs`. */
export function utilityOf(quality: number, latencyMs: number, { dueMs, lateWeight, latencyWeight }: Worth): number {
  return quality - (latencyMs > dueMs ? lateWeight : 0) - latencyWeight * Math.min(1, latencyMs / dueMs);
}

/**
 * Knows the quality of every server, the work of a request and all that every server still has to do. It sends a request where its own utility, less what those lose who are there
 * already, is greatest, and does not know what arrives later. `gradeOf`: by the position of a server in the world.
 */
export function utilityOracle(
  gradeOf: (server: number) => { readonly quality: number; readonly workFactor: number },
  worth: Worth,
): Contender {
  return {
    id: "P0-oracle",
    create: ({ servers }) => {
      const joined = new Set<string>();
      const open = new Set<string>();
      let decisions = 0;
      return {
        joined: (mcpId) => void joined.add(mcpId),
        left: (mcpId) => void joined.delete(mcpId),
        dispatch: (_request, nowMs, { workMs }) => {
          let best: string | undefined;
          let most = Number.NEGATIVE_INFINITY;
          for (const [position, [mcpId, server]] of [...servers].entries()) {
            if (!joined.has(mcpId)) continue;
            const { quality, workFactor } = gradeOf(position);
            const gained = quality + gainedWith(server, workMs * workFactor, nowMs, worth);
            if (gained <= most) continue;
            best = mcpId;
            most = gained;
          }
          if (best === undefined) return undefined;
          const token = String(decisions);
          decisions += 1;
          open.add(token);
          return { mcpId: best, token };
        },
        ended: (token) => void open.delete(token),
        tick: () => {},
        inFlight: () => open.size,
        figures: () => ({}),
      };
    },
  };
}

/** How much the sum of what paces take changes when a request of `workMs` comes to a server, at most 0. */
function gainedWith(server: SimulatedServer, workMs: number, nowMs: number, worth: Worth): number {
  const before = server.pending(nowMs);
  const after = [...before, { arrivedAtMs: nowMs, leftMs: workMs }].sort((a, b) => a.leftMs - b.leftMs);
  return paceSum(server, after, nowMs, worth) - paceSum(server, before, nowMs, worth);
}

/** What the paces of these requests take if nothing else arrives and neighbours stay as they are; all of them share the cores. Shape: ascending by `leftMs`. */
function paceSum(
  server: SimulatedServer,
  pending: readonly { readonly arrivedAtMs: number; readonly leftMs: number }[],
  nowMs: number,
  worth: Worth,
): number {
  let atMs = nowMs;
  let attained = 0;
  let sum = 0;
  for (const [index, { arrivedAtMs, leftMs }] of pending.entries()) {
    atMs += Math.max(0, leftMs - attained) / server.rateFor(pending.length - index);
    attained = Math.max(attained, leftMs);
    sum += utilityOf(0, atMs - arrivedAtMs, worth);
  }
  return sum;
}
