import type { Rng } from "../platform/rng.js";

/** What a draw of a request is for. Draws for different purposes are independent of each other. */
export const purposes = { work: 1, failure: 2, quality: 3, cost: 4, size: 5, domain: 6, coordinator: 7 } as const;

/**
 * The draw of request `index` for `purpose`, uniform in [0, 1). It belongs to the request: whatever policy serves it, on whatever server, sees the same
 * number, which is what makes differences between policies paired.     Source: finalizer of MurmurHash3, public domain.
 */
export function drawOf(seed: number, index: number, purpose: number): number {
  let hash = mix(seed ^ 0x9e3779b9);
  hash = mix(hash ^ Math.imul(index + 1, 0x27d4eb2f));
  hash = mix(hash ^ Math.imul(purpose + 1, 0x165667b1));
  return hash / 4_294_967_296;
}

function mix(value: number): number {
  let hash = value | 0;
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}

/** A seed for one use, from that of the run: the streams of two uses have nothing in common. */
export function seedFor(seed: number, use: string): number {
  let hash = mix(seed);
  for (let index = 0; index < use.length; index++) hash = mix(hash ^ Math.imul(use.charCodeAt(index) + 1, 0x27d4eb2f));
  return hash;
}

/** Exponential with the given mean. */
export function exponential(rng: Rng, mean: number): number {
  return -mean * Math.log(1 - rng());
}

/** Standard normal. Source: Box and Muller 1958. */
export function normal(rng: Rng): number {
  return Math.sqrt(-2 * Math.log(1 - rng())) * Math.cos(2 * Math.PI * rng());
}

/** Work of the Prequal experiments: Normal(mean, sigma = mean), cut off at 0; its mean is 1.083 × `mean`.     Source: router.md 3.1. */
export function normalWork(rng: Rng, mean: number): number {
  return Math.max(0, mean * (1 + normal(rng)));
}

/** Mean of `normalWork` for a mean of 1: Φ(1) + φ(1). */
export const normalWorkMean = 1.083_315_47;
