import { seededRng } from "../../platform/rng.js";
import { ablations, qualityTailLoadId } from "../decide/quality-tail-load.js";
import { createRanking, type Situation } from "../decide/rank.js";
import { draw, explain } from "../decide/rule.js";
import { type RuleSettings, ruleDefaults } from "../decide/settings.js";
import { policyHashOf } from "../decided.js";
import type { Candidate } from "../decision.js";
import type { DecisionRecord } from "../log/decision-record.js";
import type { Scored, Target } from "../policy.js";
import type { TargetSignals } from "../signal-book.js";

/** The rule that policies of this family follow, by their id; undefined for policies that are no function of what the log keeps. */
export function ruleOf(policyId: string): RuleSettings | undefined {
  if (policyId === qualityTailLoadId) return ruleDefaults;
  const changed = ablations[policyId];
  return changed === undefined ? undefined : { ...ruleDefaults, ...changed };
}

/** What the rule makes of the logged situation. `propensity` has the tier in it, like that of the record. */
export type Recomputed = {
  readonly chosen: string;
  readonly propensity: number;
  readonly epsilon: number;
  readonly regime: DecisionRecord["regime"];
  readonly isExploration: boolean;
  /** All that could have been drawn, in the order of the record; `propensity` with the tier in it. */
  readonly scored: readonly Scored[];
};

/** Why a decision cannot be computed again. */
export type NotRecomputed = "no_candidates" | "other_settings" | "not_a_rule" | "probe" | "nobody_left";

/** What to change before computing again. */
export type WhatIf = {
  /** These MCPs are not there. */
  readonly without: ReadonlySet<string>;
  /** Every MCP may have at most so many requests at once; undefined leaves their limits. */
  readonly maxConcurrent: number | undefined;
};

export const asItWas: WhatIf = { without: new Set(), maxConcurrent: undefined };

/**
 * Computes a decision again from what was logged of it and its seed. With the policy that made it and nothing changed, the result is the logged one bit for bit.
 * Under the rule `policyId`; the logged one unless said otherwise. Pure.
 */
export function recompute(
  record: DecisionRecord,
  policyId: string = record.policyId,
  whatIf: WhatIf = asItWas,
): Recomputed | NotRecomputed {
  if (record.regime === "probe") return "probe";
  const settings = ruleOf(policyId);
  if (settings === undefined) return "not_a_rule";
  if (policyId === record.policyId && policyHashOf({ id: policyId, parameters: settings }) !== record.policyHash) return "other_settings";
  const situation = situationOf(record, whatIf);
  if (situation === undefined) return "no_candidates";
  if (situation.targets.length === 0) return "nobody_left";
  const drawn = draw(situation, settings, seededRng(record.seed), createRanking());
  const chosen = situation.targets[drawn.at]?.mcpId ?? "";
  const scored = explain(situation, settings).map((one) => ({ ...one, propensity: one.propensity * record.tierShare }));
  return {
    chosen,
    propensity: drawn.propensity * record.tierShare,
    epsilon: drawn.epsilon,
    regime: drawn.regime,
    isExploration: drawn.isExploration,
    scored,
  };
}

/** The first thing in which a decision computed again differs from the logged one; undefined when both are the same bit for bit. */
export function differenceOf(record: DecisionRecord, again: Recomputed): string | undefined {
  const figures = [
    ["chosen", record.chosen, again.chosen],
    ["propensity", record.propensity, again.propensity],
    ["epsilon", record.epsilon, again.epsilon],
    ["regime", record.regime, again.regime],
    ["exploration", record.isExploration, again.isExploration],
  ] as const;
  for (const [name, logged, computed] of figures) if (!Object.is(logged, computed)) return sentence(name, logged, computed);
  const byId = new Map(again.scored.map((one) => [one.mcpId, one]));
  for (const candidate of record.candidates ?? []) {
    const one = byId.get(candidate.mcpId);
    const difference = one === undefined ? undefined : candidateDifference(candidate, one);
    if (difference !== undefined) return difference;
  }
  return undefined;
}

/** The sum of the factors of a candidate, in their order, as its score was computed. */
export function sumOfFactors({ factors }: Pick<Candidate, "factors">): number {
  return factors.reduce((sum, { contribution }) => sum + contribution, 0);
}

/** The candidates that were offered to the policy, as it saw them. An MCP that was excluded before has no signals. Undefined where they were not kept. */
export function situationOf(
  { candidates, request, classSignals }: DecisionRecord,
  { without, maxConcurrent }: WhatIf,
): Situation | undefined {
  if (candidates === undefined || classSignals === undefined || candidates.every(({ signals }) => signals === undefined)) return undefined;
  const targets: Target[] = [];
  const signals: TargetSignals[] = [];
  const explorable: boolean[] = [];
  for (const candidate of candidates) {
    if (candidate.signals === undefined || without.has(candidate.mcpId)) continue;
    const capacity = maxConcurrent === undefined ? candidate.capacity : Math.min(candidate.capacity, maxConcurrent);
    if (maxConcurrent !== undefined && candidate.inFlight >= capacity) continue;
    const { mcpId, state, inFlight, slowStart, weight } = candidate;
    targets.push({ mcpId, state, inFlight, capacity, slowStart, weight });
    signals.push(candidate.signals);
    explorable.push(candidate.isExplorable);
  }
  return { targets, signals, explorable, deadlineMs: request.deadlineMs ?? classSignals.deadlineMs };
}

function candidateDifference(candidate: Candidate, one: Scored): string | undefined {
  const at = (name: string) => `${candidate.mcpId}.${name}`;
  if (!Object.is(candidate.score, one.score)) return sentence(at("score"), candidate.score, one.score);
  if (!Object.is(candidate.propensity, one.propensity)) return sentence(at("propensity"), candidate.propensity, one.propensity);
  if (candidate.isHot !== one.isHot) return sentence(at("hot"), candidate.isHot, one.isHot);
  for (const [index, { name, contribution }] of one.factors.entries()) {
    const logged = candidate.factors[index];
    if (logged?.name !== name || !Object.is(logged.contribution, contribution)) {
      return sentence(at(name), logged?.contribution, contribution);
    }
  }
  return undefined;
}

function sentence(name: string, logged: unknown, computed: unknown): string {
  return `${name}: logged ${String(logged)}, computed ${String(computed)}`;
}
