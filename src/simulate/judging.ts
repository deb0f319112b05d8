import type { Judgement, Results } from "./scenario.js";
import { estimate, pairedDifference } from "./statistics.js";

/** A mean over seeds with its interval, for people: "93.1 ± 1.2". */
export function tell(values: readonly number[], digits: number): string {
  if (values.length === 0) return "not run";
  const { mean, halfWidth } = estimate(values);
  return Number.isNaN(halfWidth) ? mean.toFixed(digits) : `${mean.toFixed(digits)} ± ${halfWidth.toFixed(digits)}`;
}

/** Mean over seeds; NaN where nothing was run, which meets no target. */
export function meanOf(results: Results, cell: string, contender: string, figure: string): number {
  return estimate(results.values(cell, contender, figure)).mean;
}

/** Whether the mean of a figure is at most, or at least, a bound. */
export function judgeBound(
  results: Results,
  at: { readonly cell: string; readonly contender: string; readonly figure: string },
  bound: { readonly atMost: number } | { readonly atLeast: number },
  told: { readonly digits: number; readonly unit: string },
): Judgement {
  const values = results.values(at.cell, at.contender, at.figure);
  const { mean } = estimate(values);
  return {
    measured: `${tell(values, told.digits)}${told.unit}`,
    isMet: "atMost" in bound ? mean <= bound.atMost : mean >= bound.atLeast,
  };
}

/**
 * Whether a mean is at most `factor` times that of another contender. The interval is that of the paired difference a − factor · b: 0 inside of it means that
 * these seeds cannot tell.
 */
export function judgeRatio(
  results: Results,
  at: { readonly cell: string; readonly figure: string; readonly contender: string; readonly other: string },
  bound: { readonly atMost: number } | { readonly atLeast: number },
): Judgement {
  const own = results.values(at.cell, at.contender, at.figure);
  const others = results.values(at.cell, at.other, at.figure);
  const ratio = estimate(own).mean / estimate(others).mean;
  const told = "atMost" in bound ? ratio : 1 / ratio;
  const factor = "atMost" in bound ? bound.atMost : 1 / bound.atLeast;
  const difference = pairedDifference(
    own,
    others.map((value) => factor * value),
  );
  const interval = `difference to the bound ${difference.mean.toFixed(1)} ± ${difference.halfWidth.toFixed(1)}`;
  return { measured: `${told.toFixed(2)}×, ${interval}`, isMet: "atMost" in bound ? ratio <= bound.atMost : told >= bound.atLeast };
}

/** All of these must hold. */
export function both(...judgements: readonly Judgement[]): Judgement {
  return { measured: judgements.map((one) => one.measured).join("; "), isMet: judgements.every((one) => one.isMet) };
}

/** Turns a bound on one figure of one cell into a claim's judgement. */
export function bound(
  cell: string,
  contender: string,
  figure: string,
  limit: { readonly atMost: number } | { readonly atLeast: number },
  digits: number,
  unit: string,
): (results: Results) => Judgement {
  return (results) => judgeBound(results, { cell, contender, figure }, limit, { digits, unit });
}
