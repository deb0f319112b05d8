import type { Contender } from "./dispatch.js";

/**
 * Knows the work of every request and the state of every server, and sends it where it will be done first; it does not know what arrives later. No policy can
 * be it: it says how much is left to gain.
 */
export const oracle: Contender = {
  id: "P0-oracle",
  create: ({ servers }) => {
    const joined = new Set<string>();
    const open = new Map<string, string>();
    let decisions = 0;
    return {
      joined: (mcpId) => void joined.add(mcpId),
      left: (mcpId) => void joined.delete(mcpId),
      dispatch: (_request, nowMs, arrival) => {
        let best: string | undefined;
        let bestMs = Number.POSITIVE_INFINITY;
        for (const [mcpId, server] of servers) {
          if (!joined.has(mcpId)) continue;
          const faults = server.spec.faults.filter((fault) => nowMs >= fault.fromMs && nowMs < fault.untilMs);
          // A server that fails only some requests is avoided too: the oracle needs nobody.
          const penaltyMs = faults.some((fault) => fault.kind !== "slow") ? 1e9 : 0;
          const slow = faults.find((fault) => fault.kind === "slow");
          const foreseenMs = penaltyMs + server.foresee(arrival.workMs * (slow?.kind === "slow" ? slow.factor : 1), nowMs);
          if (foreseenMs >= bestMs) continue;
          best = mcpId;
          bestMs = foreseenMs;
        }
        if (best === undefined) return undefined;
        const token = String(decisions++);
        open.set(token, best);
        return { mcpId: best, token };
      },
      ended: (token) => void open.delete(token),
      tick: () => {},
      inFlight: () => open.size,
      figures: () => ({}),
    };
  },
};
