import { keptAfter } from "../signals/decay.js";
import type { QualitySettings } from "../signals/settings.js";
import { featureCount } from "./features.js";
import type { Ridge } from "./ridge.js";

/**
 * Quality samples of one source, of one MCP in one class, as decayed sums at `atMs`: how many, Σ quality, Σ features. What is particular to the MCP is the first minus
 * what the shared regression makes of the last, so a new solution needs no old sample.
 */
export type QualitySums = {
  count: number;
  quality: number;
  readonly features: Float64Array;
  /** Σ of what was known at the time of what their requests have in common. */
  effect: number;
  atMs: number;
  /** Σ (quality − prediction) with the coefficients of `solvedWith`. */
  residual: number;
  solvedWith: number;
};

export function noQuality(): QualitySums {
  return {
    count: 0,
    quality: 0,
    features: new Float64Array(featureCount),
    effect: 0,
    atMs: Number.NEGATIVE_INFINITY,
    residual: 0,
    solvedWith: -1,
  };
}

/**
 * Adds a sample. Older ones lose weight by their age and by the number of samples since (`memorySamples`): the first bounds how long, the second on how many samples
 * an MCP that has changed is judged by what it was.
 */
export function addQuality(
  sums: QualitySums,
  features: Float64Array,
  quality: number,
  effect: number,
  atMs: number,
  settings: QualitySettings,
): void {
  const isNewer = atMs >= sums.atMs;
  const kept =
    (isNewer ? keptAfter(sums.count === 0 ? 0 : atMs - sums.atMs, settings.ownHalfLifeMs) : 1) * (1 - 1 / settings.memorySamples);
  const weight = isNewer ? 1 : keptAfter(sums.atMs - atMs, settings.ownHalfLifeMs);
  sums.count = sums.count * kept + weight;
  sums.quality = sums.quality * kept + weight * quality;
  sums.effect = sums.effect * kept + weight * effect;
  for (let index = 0; index < featureCount; index += 1) {
    sums.features[index] = (sums.features[index] ?? 0) * kept + weight * (features[index] ?? 0);
  }
  if (isNewer) sums.atMs = atMs;
  sums.solvedWith = -1;
}

/** Leaves a mean as it is, and lets it stand on at most `kept` samples. */
export function forgetQuality(sums: QualitySums, kept: number): void {
  if (sums.count <= kept) return;
  const share = kept / sums.count;
  sums.count = kept;
  sums.quality *= share;
  sums.effect *= share;
  for (let index = 0; index < featureCount; index += 1) sums.features[index] = (sums.features[index] ?? 0) * share;
  sums.solvedWith = -1;
}

/** Σ (quality − shared prediction) of the samples. */
export function residualSum(sums: QualitySums, ridge: Ridge): number {
  if (sums.solvedWith !== ridge.version) {
    sums.residual = sums.quality - ridge.prior * sums.count - ridge.dot(sums.features);
    sums.solvedWith = ridge.version;
  }
  return sums.residual;
}
