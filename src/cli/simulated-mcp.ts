import type { Rng } from "../platform/rng.js";

/** How a simulated MCP behaves at one moment. */
export type Behaviour = {
  /** Half of its requests take less than this. */
  readonly medianMs: number;
  /** Spread of the logarithm of its times: 0.2 is steady, 0.8 is wild. */
  readonly spread: number;
  /** Share of its requests that fail, 0 to 1. */
  readonly errorShare: number;
  /** Requests a second that it gets besides those that are routed to it. */
  readonly ownPerSecond: number;
};

/** A simulated MCP: its name, one word about it, and what it does at each time of the demo. */
export type Character = { readonly mcpId: string; readonly trait: string; readonly at: (elapsedMs: number) => Behaviour };

/** When the flaky MCP turns bad and when it recovers. */
export const flakyFromMs = 15_000;
export const flakyUntilMs = 45_000;
/** The bursty MCP gets work of its own for three seconds out of ten. */
const burstPeriodMs = 10_000;
const burstMs = 3_000;

/** Requests that reach every MCP whatever its weight, from callers that do not ask us: without any, nobody would see that a bad MCP has recovered. */
const directPerSecond = 4;

const always = (behaviour: Behaviour) => () => behaviour;

/** The fleet of the demo, ascending by mcpId. */
export const demoFleet: readonly Character[] = [
  {
    mcpId: "demo-bursty",
    trait: "bursty load",
    at: (elapsedMs) => ({
      medianMs: 90,
      spread: 0.5,
      errorShare: 0.01,
      ownPerSecond: elapsedMs % burstPeriodMs < burstMs ? 30 : directPerSecond,
    }),
  },
  { mcpId: "demo-fast", trait: "fast", at: always({ medianMs: 40, spread: 0.3, errorShare: 0.005, ownPerSecond: directPerSecond }) },
  {
    mcpId: "demo-flaky",
    trait: "bad 15–45 s",
    at: (elapsedMs) => {
      const isBad = elapsedMs >= flakyFromMs && elapsedMs < flakyUntilMs;
      return isBad
        ? { medianMs: 350, spread: 0.8, errorShare: 0.6, ownPerSecond: directPerSecond }
        : { medianMs: 60, spread: 0.4, errorShare: 0.01, ownPerSecond: directPerSecond };
    },
  },
  { mcpId: "demo-slow", trait: "slow", at: always({ medianMs: 400, spread: 0.3, errorShare: 0.01, ownPerSecond: directPerSecond }) },
  { mcpId: "demo-steady", trait: "steady", at: always({ medianMs: 120, spread: 0.1, errorShare: 0.005, ownPerSecond: directPerSecond }) },
];

/** How long one request takes: log-normal.     Units: ms. Source of the normal: Box and Muller, 1958. */
export function processingMs(behaviour: Behaviour, rng: Rng): number {
  const normal = Math.sqrt(-2 * Math.log(1 - rng())) * Math.cos(2 * Math.PI * rng());
  return behaviour.medianMs * Math.exp(behaviour.spread * normal);
}

/** Index drawn by weight; the last one with any weight when rounding leaves a rest. Weights not negative; all zero means equal. */
export function drawByWeight(weights: readonly number[], rng: Rng): number {
  const sum = weights.reduce((total, weight) => total + weight, 0);
  if (sum <= 0) return Math.floor(rng() * weights.length);
  let left = rng() * sum;
  let last = 0;
  for (const [index, weight] of weights.entries()) {
    if (weight <= 0) continue;
    last = index;
    left -= weight;
    if (left < 0) return index;
  }
  return last;
}

/** How many arrivals of a Poisson process with this mean. Mean below some tens. Source: Knuth, TAOCP 3.4.1. */
export function poisson(mean: number, rng: Rng): number {
  const limit = Math.exp(-mean);
  let count = 0;
  for (let product = rng(); product > limit; product *= rng()) count++;
  return count;
}
