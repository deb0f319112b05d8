import { keptAfter } from "../signals/decay.js";
import type { QualitySettings } from "../signals/settings.js";

/**
 * What requests of a type or class have in common, whoever serves them: decayed sum and count of what neither the regression nor the MCP's own mean explains. An
 * MCP that was never tried on a hard type is then expected to find it hard too, and not as easy as everything else.
 */
export type SharedEffect = {
  sum: number;
  count: number;
  atMs: number;
  /** What other coordinators have learned of the same requests, as they told last. */
  othersSum: number;
  othersCount: number;
};

/** One effect as it is stored and sent. An age, so no clock is shared. Unit: ms. */
export type SharedEffectSums = { readonly key: string; readonly sum: number; readonly count: number; readonly ageMs: number };

export function noSharedEffect(): SharedEffect {
  return { sum: 0, count: 0, atMs: Number.NEGATIVE_INFINITY, othersSum: 0, othersCount: 0 };
}

/** Adds one sample. Late ones count like those of now: what is shared changes slowly. */
export function addShared(effect: SharedEffect, unexplained: number, weight: number, atMs: number, settings: QualitySettings): void {
  const ageMs = effect.count === 0 ? 0 : Math.max(0, atMs - effect.atMs);
  const kept = keptAfter(ageMs, settings.ownHalfLifeMs) * (1 - 1 / settings.sharedMemorySamples);
  effect.sum = effect.sum * kept + weight * unexplained;
  effect.count = effect.count * kept + weight;
  effect.atMs = Math.max(effect.atMs, atMs);
}

/** What is known of the requests of a type and of a class, whoever serves them. */
export type SharedEffects = { readonly typeEffect: number; readonly classEffect: number };

export const noEffects: SharedEffects = { typeEffect: 0, classEffect: 0 };

/** The effect of a class, shrunk to that of its type, which is shrunk to none. Undefined levels are those of which nothing is remembered. */
export function effectsOf(ofClass: SharedEffect | undefined, ofType: SharedEffect | undefined, settings: QualitySettings): SharedEffects {
  const typeEffect =
    ofType === undefined ? 0 : (ofType.sum + ofType.othersSum) / (settings.sharedShrinkage + ofType.count + ofType.othersCount);
  if (ofClass === undefined) return { typeEffect, classEffect: typeEffect };
  const { classShrinkage } = settings;
  const sum = ofClass.sum + ofClass.othersSum + classShrinkage * typeEffect;
  return { typeEffect, classEffect: sum / (classShrinkage + ofClass.count + ofClass.othersCount) };
}
