import { assert } from "../../platform/assert.js";
import { compareIds } from "../order.js";
import { type Estimates, estimate, type Sample, weightMax } from "./estimate.js";
import { judge, type Verdict } from "./gate.js";
import type { EvaluatedPolicy, LoggedDecision } from "./logged-decision.js";
import { type Reward, rewardOf } from "./reward.js";
import { crossFit, type Rewarded, type RewardModel } from "./reward-model.js";
import { type RowCounts, sift } from "./sift.js";

export type EvaluateOptions = {
  /** When the log was read, on the clock of `atMs`: younger rows than their class waits for do not count. */
  readonly nowMs: number;
  /** Weights are cut here; `weightMax` of estimate.ts unless said otherwise. */
  readonly clipAt?: number;
  /** Parts of the log that the reward model is learnt from in turn; 5 unless said otherwise. ≥ 2. */
  readonly folds?: number;
};

/** One reward of one policy. */
export type RewardEvaluation = {
  readonly reward: Reward;
  /** Undefined when fewer than two rows tell. */
  readonly estimates: Estimates | undefined;
  /** Rows that entered. */
  readonly rowCount: number;
  /** Usable rows whose outcome does not tell this reward: nobody rated it, or no cost was reported. */
  readonly unratedCount: number;
  /**
   * Share of what entered that an independent judge told, 0 to 1: of qualities the audited ones among those of answers, since a failure needs no judge. The rest is what MCPs say of themselves.
   * Undefined where there is nothing to audit: for other rewards, and without rated answers. Rows that stand for several count as such.
   */
  readonly auditedShare: number | undefined;
};

export type PolicyEvaluation = {
  readonly policyId: string;
  readonly quality: RewardEvaluation;
  readonly error: RewardEvaluation;
  readonly cost: RewardEvaluation;
  /** Usable rows for which the policy could not be told. */
  readonly undecidedCount: number;
  /** Share of its mass on candidates that could have been drawn, 0 to 1; 0 without rows. */
  readonly coverage: number;
  /** Mean predicted probability of a late answer; undefined when no row has predictions for all that either policy would choose. */
  readonly tail: { readonly evaluated: number; readonly logged: number } | undefined;
  readonly gate: Verdict;
};

export type LogEvaluation = {
  readonly counts: RowCounts;
  /** Policies that wrote the usable rows, ascending: more than one is fine, each row has its own probabilities. */
  readonly loggedPolicyIds: readonly string[];
  /** How long outcomes were waited for, by class, ms. */
  readonly waitMs: ReadonlyMap<string, number>;
  /** In the order of `policies`. */
  readonly policies: readonly PolicyEvaluation[];
};

/** Enough that each model learns from four fifths of the log, few enough to be cheap. */
const foldsDefault = 5;

/**
 * What policies would have achieved on the traffic of a log, and whether each may go live. Quality, errors and cost only, never latency: `parseReward` says why.
 * Pure: the same rows give the same answer, in whatever order they come.     Cost: O(rows × candidates) for each policy; 1.4 s for 20 000 rows and 5 policies.
 * Source: router.md 3.3; docs/off-policy-evaluation.md.
 */
export function evaluateLog(
  log: readonly LoggedDecision[],
  policies: readonly EvaluatedPolicy[],
  { nowMs, clipAt = weightMax, folds = foldsDefault }: EvaluateOptions,
): LogEvaluation {
  assert(folds >= 2 && clipAt > 0, "at least two folds, and weights above 0");
  const { rows, counts, waitMs } = sift(log, nowMs);
  const bases = { quality: learn("quality", rows, folds), error: learn("error", rows, folds), cost: learn("cost", rows, folds) };
  const evaluatePolicy = (policy: EvaluatedPolicy): PolicyEvaluation => {
    const decided = rows.flatMap((row): readonly Decided[] => {
      const shares = policy.shares(row);
      return shares === undefined ? [] : [{ row, shares: checked(policy.id, shares) }];
    });
    const quality = evaluateReward("quality", decided, bases.quality, clipAt);
    const error = evaluateReward("error", decided, bases.error, clipAt);
    const cost = evaluateReward("cost", decided, bases.cost, clipAt);
    const coverage = coverageOf(decided);
    const tail = tailOf(decided);
    const gate = judge({ quality: quality.estimates, error: error.estimates, coverage, tail });
    return { policyId: policy.id, quality, error, cost, undecidedCount: rows.length - decided.length, coverage, tail, gate };
  };
  return {
    counts,
    loggedPolicyIds: [...new Set(rows.map((row) => row.policyId))].sort(compareIds),
    waitMs,
    policies: policies.map(evaluatePolicy),
  };
}

type Decided = { readonly row: LoggedDecision; readonly shares: ReadonlyMap<string, number> };

/** What is known of a row apart from any policy. */
type Known = { readonly reward: number; readonly model: RewardModel };

function learn(reward: Reward, rows: readonly LoggedDecision[], folds: number): ReadonlyMap<string, Known> {
  const rewarded = rows.flatMap((row): readonly Rewarded[] => {
    const value = rewardOf(reward, row.outcome);
    return value === undefined ? [] : [{ row, reward: value }];
  });
  const models = crossFit(rewarded, folds);
  return new Map(
    rewarded.flatMap(({ row, reward: value }, index) => {
      const model = models[index];
      return model === undefined ? [] : [[row.decisionId, { reward: value, model }] as const];
    }),
  );
}

function evaluateReward(reward: Reward, decided: readonly Decided[], known: ReadonlyMap<string, Known>, clipAt: number): RewardEvaluation {
  const samples = decided.flatMap(({ row, shares }): readonly Sample[] => {
    const its = known.get(row.decisionId);
    return its === undefined ? [] : [sampleOf(row, shares, its)];
  });
  const unratedCount = decided.length - samples.length;
  return {
    reward,
    estimates: estimate(samples, clipAt),
    rowCount: samples.length,
    unratedCount,
    auditedShare: auditedShareOf(reward, decided),
  };
}

function auditedShareOf(reward: Reward, decided: readonly Decided[]): number | undefined {
  let [audited, rated] = [0, 0];
  for (const { row } of decided) {
    const { outcome, keptShare } = row;
    if (reward !== "quality" || outcome.kind !== "complete" || rewardOf(reward, outcome) === undefined) continue;
    rated += 1 / keptShare;
    if (outcome.isAudited) audited += 1 / keptShare;
  }
  return rated === 0 ? undefined : audited / rated;
}

function sampleOf(row: LoggedDecision, shares: ReadonlyMap<string, number>, { reward, model }: Known): Sample {
  return {
    ratio: (shares.get(row.chosen) ?? 0) / row.propensity,
    reward,
    expected: ascending(shares).reduce((sum, [mcpId, share]) => sum + share * model(row, mcpId), 0),
    predicted: model(row, row.chosen),
    multiplicity: 1 / row.keptShare,
  };
}

/** Positive shares, always added in the same order. */
function ascending(shares: ReadonlyMap<string, number>): readonly (readonly [string, number])[] {
  return [...shares].filter(([, share]) => share > 0).sort(([a], [b]) => compareIds(a, b));
}

function checked(policyId: string, shares: ReadonlyMap<string, number>): ReadonlyMap<string, number> {
  const total = ascending(shares).reduce((sum, [, share]) => sum + share, 0);
  assert(Math.abs(total - 1) < 1e-6, `shares of ${policyId} sum to 1, not to ${total}`);
  return shares;
}

function coverageOf(decided: readonly Decided[]): number {
  let covered = 0;
  let total = 0;
  for (const { row, shares } of decided) {
    const possible = new Set(row.candidates.filter((candidate) => candidate.propensity > 0).map((candidate) => candidate.mcpId));
    for (const [mcpId, share] of ascending(shares)) if (possible.has(mcpId)) covered += share / row.keptShare;
    total += 1 / row.keptShare;
  }
  return total === 0 ? 0 : covered / total;
}

/** Not an estimate of latency: what the signals at hand predicted at each decision, for both policies alike. */
function tailOf(decided: readonly Decided[]): { readonly evaluated: number; readonly logged: number } | undefined {
  let evaluated = 0;
  let logged = 0;
  let total = 0;
  for (const { row, shares } of decided) {
    const tails = new Map(row.candidates.map((candidate) => [candidate.mcpId, candidate.signals?.tail]));
    const own = new Map(row.candidates.map((candidate) => [candidate.mcpId, candidate.propensity]));
    const [its, ours] = [expectedTail(shares, tails), expectedTail(own, tails)];
    if (its === undefined || ours === undefined) continue;
    evaluated += its / row.keptShare;
    logged += ours / row.keptShare;
    total += 1 / row.keptShare;
  }
  return total === 0 ? undefined : { evaluated: evaluated / total, logged: logged / total };
}

function expectedTail(shares: ReadonlyMap<string, number>, tails: ReadonlyMap<string, number | undefined>): number | undefined {
  let expected = 0;
  for (const [mcpId, share] of ascending(shares)) {
    const tail = tails.get(mcpId);
    if (tail === undefined || !Number.isFinite(tail)) return undefined;
    expected += share * tail;
  }
  return expected;
}
