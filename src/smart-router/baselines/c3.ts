import type { Policy, Target } from "../policy.js";
import { keep } from "./keep.js";
import { plainChoice } from "./propensity.js";

/** How much of a mean stays with each answer, and the power of the queue. */
export type C3Settings = { readonly kept: number; readonly exponent: number };

/** Memory of 0.9 as in Cassandra's implementation of C3; the cube is what gives it its name. */
export const c3Defaults = { kept: 0.9, exponent: 3 } as const satisfies C3Settings;

type Means = { latencyMs: number; serviceMs: number; queue: number };

/**
 * Cubic replica selection: argmin R − T + q̂^3·T over everyone, with R the mean latency, T the mean service time and q̂ = 1 + own in flight × clients + mean
 * queue. An MCP reports neither queue nor service time here: the queue is what it had when a request arrived, and the service time is the latency over what
 * it then shared the MCP with. C3's rate control is left out: there is no cluster of clients to protect. Source: Suresh et al., NSDI 2015 (formula from
 * secondary sources); router.md 3.1.
 */
export function createC3(clientCount: number, settings: C3Settings = c3Defaults): Policy {
  const known = new Map<string, Means>();
  const scoreOf = (target: Target): number => {
    const means = known.get(target.mcpId);
    // Nobody is known to be faster than nothing: everyone is tried first, the idle ones before the busy ones.
    if (means === undefined) return -1e9 + target.inFlight;
    const queue = 1 + target.inFlight * clientCount + (clientCount > 1 ? means.queue : 0);
    return means.latencyMs - means.serviceMs + queue ** settings.exponent * means.serviceMs;
  };
  return {
    id: "c3/1",
    choose: (_request, targets, _nowMs, rng) => {
      const scores = targets.map(scoreOf);
      const least = scores.reduce((a, b) => Math.min(a, b), Number.POSITIVE_INFINITY);
      const ties = targets.filter((_, index) => scores[index] === least);
      return plainChoice(ties[Math.floor(rng() * ties.length)]?.mcpId ?? "", 1 / ties.length);
    },
    assigned: () => {},
    ended: ({ mcpId, result, startedAtMs, endedAtMs, inFlightBefore }) => {
      if (result === "released") return;
      const latencyMs = endedAtMs - startedAtMs;
      const serviceMs = latencyMs / (inFlightBefore + 1);
      const means = known.get(mcpId);
      keep(known, mcpId, means ?? { latencyMs, serviceMs, queue: inFlightBefore });
      if (means === undefined) return;
      means.latencyMs = settings.kept * means.latencyMs + (1 - settings.kept) * latencyMs;
      means.serviceMs = settings.kept * means.serviceMs + (1 - settings.kept) * serviceMs;
      means.queue = settings.kept * means.queue + (1 - settings.kept) * inFlightBefore;
    },
    tick: () => {},
  };
}
