import type { Estimates } from "./estimate.js";

/** What the gate looks at. */
export type Evidence = {
  readonly quality: Estimates | undefined;
  readonly error: Estimates | undefined;
  /** Share of the evaluated policy's mass that lies where the log has evidence, 0 to 1. */
  readonly coverage: number;
  /** Predicted probability of a late answer, as known at each decision: of the evaluated policy and of the one that logged. Undefined without predictions. */
  readonly tail: { readonly evaluated: number; readonly logged: number } | undefined;
};

export type Verdict = {
  readonly promote: boolean;
  /** What stands against it, for people; empty exactly when it may be promoted. */
  readonly reasons: readonly string[];
};

/** Below this many rows' worth of evidence, intervals cannot be trusted. router.md 3.3. */
export const essMin = 200;

/** More than 5 % of what the policy would do was never tried. router.md 3.3. */
export const coverageMin = 0.95;

/** "Not worse" within half a point: with none, noise alone would refuse every second equal policy. */
export const errorMargin = 0.005;

/** Predictions of lateness are those of the time of the decision; one point is their usual error. */
export const tailMargin = 0.01;

/**
 * Whether a policy may go live on the evidence of a log: only if the lower end of DR's interval is above what the log's own policy achieved, and so is the row-by-row
 * gain above 0 (which takes the noise of the baseline into account too), with enough evidence, and with errors and predicted lateness not worse. Everything that stands against
 * it is said, not only the first. Being allowed is no order: latency was not evaluated.     Source: router.md 3.3.
 */
export function judge({ quality, error, coverage, tail }: Evidence): Verdict {
  const reasons: string[] = [];
  if (quality === undefined) reasons.push("quality: no usable rows");
  else {
    const baseline = quality.logged.value;
    if (quality.dr.low <= baseline)
      reasons.push(`quality: lower bound ${show(quality.dr.low)} is not above the baseline ${show(baseline)}`);
    if (quality.gain.low <= 0) reasons.push(`quality: gain may be ${show(quality.gain.low)}`);
    if (quality.ess < essMin) reasons.push(`effective sample size ${quality.ess.toFixed(0)} is below ${essMin}`);
  }
  if (coverage < coverageMin) reasons.push(`coverage ${show(coverage)} is below ${coverageMin}`);
  if (error === undefined) reasons.push("error: no usable rows");
  else if (error.gain.high > errorMargin) reasons.push(`error: rate may rise by ${show(error.gain.high)}, more than ${errorMargin}`);
  if (tail !== undefined && tail.evaluated - tail.logged > tailMargin) {
    reasons.push(`tail: predicted lateness rises from ${show(tail.logged)} to ${show(tail.evaluated)}`);
  }
  return { promote: reasons.length === 0, reasons };
}

function show(value: number): string {
  return value.toFixed(4);
}
