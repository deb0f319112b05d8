import { compareIds } from "../order.js";
import type { LoggedDecision } from "./logged-decision.js";

/** What became of the rows that were given: every one is counted once. */
export type RowCounts = {
  readonly given: number;
  /** Rows that may be evaluated: their outcome is known, or `unrated` for a reward. */
  readonly usable: number;
  /** A decision that was given before. */
  readonly repeated: number;
  /** Logged with isOpeEligible = false: nobody else could have been chosen, or with unknown probability. Or by a policy that tells no probabilities of the others. */
  readonly ineligible: number;
  /** The log kept the choice without its candidates. */
  readonly bare: number;
  /** The probabilities contradict themselves. More than none of these means a bug in what wrote the log. */
  readonly invalid: number;
  /** Too young: outcomes that are late would be missing, and so would be over-represented those that are quick. */
  readonly early: number;
  /** Old enough, and nothing is known, or it came after the wait. */
  readonly censored: number;
};

export type Sifted = {
  /** Ascending by decisionId. */
  readonly rows: readonly LoggedDecision[];
  readonly counts: RowCounts;
  /** How long outcomes were waited for, by class. Unit: ms. */
  readonly waitMs: ReadonlyMap<string, number>;
};

/** Outcomes are waited for at least this long, also where all of a class come at once. router.md 3.3. */
export const waitMinMs = 60_000;

/** Probabilities of a decision may miss 1 by this much: sums of some hundred floating-point numbers. */
const sumTolerance = 1e-6;

type Fate = Exclude<keyof RowCounts, "given">;

/**
 * The rows of a log that an evaluation may use, and what became of the others.
 * Delayed outcomes: each class waits for max(p99 of its observed times, 60 s). A row younger than that at `nowMs` is early whether or not its outcome is known; one
 * whose outcome came later than that, or never, is censored. So each row was watched for equally long, and the answer does not depend on how quick an outcome was.
 */
export function sift(log: readonly LoggedDecision[], nowMs: number): Sifted {
  const waitMs = waits(log);
  const seen = new Set<string>();
  const rows: LoggedDecision[] = [];
  const counts = { given: log.length, usable: 0, repeated: 0, ineligible: 0, bare: 0, invalid: 0, early: 0, censored: 0 };
  for (const row of log) {
    const fate = seen.has(row.decisionId) ? "repeated" : fateOf(row, waitMs.get(row.requestClass) ?? waitMinMs, nowMs);
    seen.add(row.decisionId);
    counts[fate] += 1;
    if (fate === "usable") rows.push(row);
  }
  rows.sort((a, b) => compareIds(a.decisionId, b.decisionId));
  return { rows, counts, waitMs };
}

function fateOf(row: LoggedDecision, waitMs: number, nowMs: number): Fate {
  if (!row.isOpeEligible) return "ineligible";
  if (row.candidates.length === 0) return "bare";
  if (row.candidates.some(({ propensity }) => Number.isNaN(propensity))) return "ineligible";
  if (!isConsistent(row)) return "invalid";
  if (nowMs - row.atMs < waitMs) return "early";
  if (row.outcome.kind === "open" || row.outcome.kind === "censored" || row.outcome.observedMs > waitMs) return "censored";
  return "usable";
}

/** Propensities are those of a distribution over the candidates, and that of the choice is the one logged. */
function isConsistent(row: LoggedDecision): boolean {
  if (!(row.propensity > 0 && row.propensity <= 1 + sumTolerance) || !(row.keptShare > 0 && row.keptShare <= 1)) return false;
  let total = 0;
  let ofChosen = 0;
  for (const candidate of row.candidates) {
    if (!(candidate.propensity >= 0)) return false;
    total += candidate.propensity;
    if (candidate.mcpId === row.chosen) ofChosen += candidate.propensity;
  }
  return Math.abs(total - 1) <= sumTolerance && Math.abs(ofChosen - row.propensity) <= sumTolerance;
}

function waits(log: readonly LoggedDecision[]): ReadonlyMap<string, number> {
  const observed = new Map<string, number[]>();
  for (const { requestClass, outcome } of log) {
    const known = observed.get(requestClass) ?? [];
    if (outcome.kind === "complete" || outcome.kind === "error") known.push(outcome.observedMs);
    observed.set(requestClass, known);
  }
  return new Map([...observed].map(([requestClass, times]) => [requestClass, Math.max(waitMinMs, quantile(times, 0.99))]));
}

/** Exact rank quantile; 0 for none. */
function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.ceil(share * sorted.length) - 1] ?? 0;
}
