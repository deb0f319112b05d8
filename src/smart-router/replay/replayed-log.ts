import type { LoggedDecision, LoggedOutcome } from "../evaluate/logged-decision.js";
import { compareIds } from "../order.js";
import type { PolicyFactory } from "../router.js";
import { PolicyReplay, type ReplayedRow } from "./policy-replay.js";
import { asItWas, differenceOf, type NotRecomputed, recompute, ruleOf, type WhatIf } from "./recompute.js";

/** What a replay of a log came to. */
export type ReplayReport = {
  readonly rows: number;
  /** Decisions of the policy itself, nothing changed: computed again, and how many came out bit for bit. */
  readonly recomputed: number;
  readonly identical: number;
  /** The first that did not. */
  readonly firstDifference: { readonly decisionId: string; readonly difference: string } | undefined;
  /** Decisions of others, or under changed conditions: asked about, and how many would have had the same MCP. */
  readonly asked: number;
  readonly agreed: number;
  /** Why others could not be computed or asked about. */
  readonly skipped: Readonly<Partial<Record<NotRecomputed, number>>>;
  /** How often each MCP was chosen, and would have been, over the rows that were computed or asked about. Ascending by mcpId. */
  readonly choices: readonly { readonly mcpId: string; readonly logged: number; readonly replayed: number }[];
  /** What the policy would have chosen with which probability, by decision, given its tier. Only where it can tell. */
  readonly shares: ReadonlyMap<string, ReadonlyMap<string, number>>;
};

/** What one row came to. */
type Outcome =
  | { readonly kind: "skipped"; readonly because: NotRecomputed }
  | { readonly kind: "recomputed"; readonly mcpId: string; readonly shares: Shares; readonly difference: string | undefined }
  | { readonly kind: "asked"; readonly mcpId: string; readonly shares: Shares };

type Shares = ReadonlyMap<string, number> | undefined;

/**
 * Runs a log again under a policy. Its own decisions are computed from what was logged and must come out bit for bit; of all others it tells what it would have chosen. A policy that
 * is no function of the logged situation is run by `factory` and learns from what really happened. Rows must come in the order of time.     Cost: O(rows × candidates).
 */
export function replayLog(
  rows: Iterable<ReplayedRow>,
  policyId: string,
  factory: PolicyFactory | undefined,
  whatIf: WhatIf = asItWas,
): ReplayReport {
  const ask = askerOf(policyId, factory, whatIf);
  const counts = { rows: 0, recomputed: 0, identical: 0, asked: 0, agreed: 0 };
  const skipped: Partial<Record<NotRecomputed, number>> = {};
  const choices = new Map<string, { logged: number; replayed: number }>();
  const shares = new Map<string, ReadonlyMap<string, number>>();
  let firstDifference: ReplayReport["firstDifference"];
  const count = (mcpId: string, which: "logged" | "replayed"): void => {
    const known = choices.get(mcpId) ?? { logged: 0, replayed: 0 };
    known[which] += 1;
    choices.set(mcpId, known);
  };
  for (const row of rows) {
    counts.rows += 1;
    const outcome = ask(row);
    if (outcome.kind === "skipped") {
      skipped[outcome.because] = (skipped[outcome.because] ?? 0) + 1;
      continue;
    }
    const { decisionId, chosen } = row.record;
    count(chosen, "logged");
    count(outcome.mcpId, "replayed");
    if (outcome.shares !== undefined) shares.set(decisionId, outcome.shares);
    if (outcome.kind === "asked") {
      counts.asked += 1;
      if (outcome.mcpId === chosen) counts.agreed += 1;
      continue;
    }
    counts.recomputed += 1;
    if (outcome.difference === undefined) counts.identical += 1;
    else firstDifference ??= { decisionId, difference: outcome.difference };
  }
  const sorted = [...choices].sort(([a], [b]) => compareIds(a, b)).map(([mcpId, both]) => ({ mcpId, ...both }));
  return { ...counts, firstDifference, skipped, choices: sorted, shares };
}

function askerOf(policyId: string, factory: PolicyFactory | undefined, whatIf: WhatIf): (row: ReplayedRow) => Outcome {
  const isChanged = whatIf.without.size > 0 || whatIf.maxConcurrent !== undefined;
  if (ruleOf(policyId) === undefined && factory !== undefined) {
    const replay = new PolicyReplay(factory, whatIf);
    return (row) => {
      const choice = replay.ask(row);
      if (typeof choice === "string") return { kind: "skipped", because: choice };
      return { kind: "asked", mcpId: choice.mcpId, shares: sharesOf(choice.scored, 1) };
    };
  }
  return ({ record }) => {
    const again = recompute(record, policyId, whatIf);
    if (typeof again === "string") return { kind: "skipped", because: again };
    const shares = sharesOf(again.scored, record.tierShare);
    if (isChanged || record.policyId !== policyId) return { kind: "asked", mcpId: again.chosen, shares };
    return { kind: "recomputed", mcpId: again.chosen, shares, difference: differenceOf(record, again) };
  };
}

/** Probabilities by MCP, given the tier; undefined where the policy cannot tell them. */
function sharesOf(scored: readonly { readonly mcpId: string; readonly propensity: number }[], tierShare: number): Shares {
  if (scored.length === 0 || scored.some(({ propensity }) => Number.isNaN(propensity))) return undefined;
  return new Map(scored.map(({ mcpId, propensity }) => [mcpId, propensity / tierShare]));
}

/** A row as the evaluation of policies reads it. Probabilities are given the tier: a policy chooses within one. */
export function loggedDecisionOf({ record, outcome }: ReplayedRow): LoggedDecision {
  const { tierShare, candidates = [] } = record;
  return {
    decisionId: record.decisionId,
    atMs: record.decidedAtMs,
    policyId: record.policyId,
    requestType: record.request.requestType,
    requestClass: record.requestClass,
    chosen: record.chosen,
    propensity: record.propensity / tierShare,
    regime: record.regime,
    isOpeEligible: record.isOpeEligible,
    candidates: candidates.map((candidate) => ({ ...candidate, propensity: candidate.propensity / tierShare })),
    keptShare: record.keptShare,
    shadow: record.shadow,
    outcome: loggedOutcomeOf(outcome, costOf(record)),
  };
}

/** What a request to the chosen MCP cost when it was decided; undefined where nothing cost anything, since then nobody had told a cost. */
function costOf({ candidates = [], chosen }: ReplayedRow["record"]): number | undefined {
  const isTold = candidates.some(({ signals }) => signals !== undefined && signals.cost > 0);
  return isTold ? candidates.find(({ mcpId }) => mcpId === chosen)?.signals?.cost : undefined;
}

function loggedOutcomeOf(outcome: ReplayedRow["outcome"], cost: number | undefined): LoggedOutcome {
  const observedMs = outcome?.observedMs ?? outcome?.durationMs;
  if (outcome?.state === undefined) return { kind: "open" };
  if (outcome.state === "censored" || observedMs === undefined) return { kind: "censored" };
  if (outcome.state === "error") return { kind: "error", cost, observedMs };
  const { auditedQuality, quality } = outcome;
  return { kind: "complete", quality: auditedQuality ?? quality, isAudited: auditedQuality !== undefined, cost, observedMs };
}
