import type { QualitySettings } from "../signals/settings.js";
import type { SharedEffects } from "./shared-effect.js";

/** Residuals of one MCP in one level: how many, and their sum. */
export type LevelSum = { count: number; sum: number };

/** What is particular to an MCP for one request, as a linear function of what requests like it have in common. */
export type Particular = {
  /** With effects of 0. */
  mean: number;
  /** What it changes by for each unit of effect of the type, and of the class; at most 0. */
  typeSlope: number;
  classSlope: number;
  /** Samples that stand behind it, what coarser levels lend and the prior included. */
  strength: number;
};

export function noParticular(): Particular {
  return { mean: 0, typeSlope: 0, classSlope: 0, strength: 1 };
}

/** Value for these effects. */
export function particularAt({ mean, typeSlope, classSlope }: Particular, { typeEffect, classEffect }: SharedEffects): number {
  return mean + typeSlope * typeEffect + classSlope * classEffect;
}

/**
 * Writes to `into` the mean residual of an MCP in the class, drawn towards that in the other classes of the type, which is drawn towards that in the other types, which is
 * drawn towards 0. How strongly depends on how well the coarser level is known and on how much levels differ: variances add up, so strengths add like resistors in
 * parallel. With one class and nothing else this is sum / (count + k), with 1/k = 1/shrinkage + 1/typeShrinkage + 1/classShrinkage.
 * Shape: `all` and what it holds of the type may have been decayed differently; all sums are Σ residual, effects of `all` taken away already.
 */
export function blend(all: LevelSum, type: LevelSum, own: LevelSum, settings: QualitySettings, into: Particular): void {
  const { shrinkage, typeShrinkage, classShrinkage } = settings;
  // A coarser level speaks for what it knows beyond the finer one.
  const otherTypes = Math.max(0, all.count - type.count);
  const otherClasses = Math.max(0, type.count - own.count);
  const allMean = otherTypes > 0 ? (all.sum * (otherTypes / all.count)) / (shrinkage + otherTypes) : 0;
  const typePull = inParallel(shrinkage + otherTypes, typeShrinkage);
  const typeShare = otherClasses / (otherClasses + typePull);
  const typeMean = (otherClasses > 0 ? typeShare * (type.sum / type.count) : 0) + (1 - typeShare) * allMean;
  const classPull = inParallel(typePull + otherClasses, classShrinkage);
  const classShare = own.count / (own.count + classPull);
  into.mean = (own.count > 0 ? classShare * (own.sum / own.count) : 0) + (1 - classShare) * typeMean;
  into.typeSlope = -(1 - classShare) * typeShare;
  into.classSlope = -classShare;
  into.strength = own.count + classPull;
}

/** Samples that the prior is worth where nothing at all is known. */
export function priorStrength({ shrinkage, typeShrinkage, classShrinkage }: QualitySettings): number {
  return inParallel(inParallel(shrinkage, typeShrinkage), classShrinkage);
}

function inParallel(a: number, b: number): number {
  return (a * b) / (a + b);
}
