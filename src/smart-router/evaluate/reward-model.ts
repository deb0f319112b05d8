import { compareIds } from "../order.js";
import type { LoggedDecision } from "./logged-decision.js";

/** A row whose reward is known. */
export type Rewarded = { readonly row: LoggedDecision; readonly reward: number };

/** r̂(x, a): the reward to expect when `mcpId` gets a request like that of `row`. */
export type RewardModel = (row: LoggedDecision, mcpId: string) => number;

/** Rows as good as this many of the next coarser level: ten observations of a class count as much as the level above it. */
const shrinkage = 10;

/** Shrunk means of what is left, by key. */
class Means {
  readonly #tallies = new Map<string, { sum: number; count: number }>();

  add(key: string, value: number): void {
    const tally = this.#tallies.get(key);
    if (tally === undefined) this.#tallies.set(key, { sum: value, count: 1 });
    else {
      tally.sum += value;
      tally.count += 1;
    }
  }

  /** Towards 0 by `shrinkage` rows; 0 for a key that was never seen. */
  of(key: string): number {
    const tally = this.#tallies.get(key);
    return tally === undefined ? 0 : tally.sum / (tally.count + shrinkage);
  }
}

/**
 * Mean of all + what a type has in common + what an MCP has + what the pair has + what MCP and class have, each the shrunk mean of what those before leave. The type comes
 * before the MCP: a log in which an MCP got the easy types must not make it look good at the hard ones. A table and not a regression: it needs no features that the log does
 * not have and cannot extrapolate; the correction of DR takes care of what it misses.
 * Bound: O(rows) to build, four look-ups to ask.
 */
export function learnRewards(rows: readonly Rewarded[]): RewardModel {
  const mean = rows.length === 0 ? 0 : rows.reduce((sum, { reward }) => sum + reward, 0) / rows.length;
  const levels = keyings.map(() => new Means());
  const upTo = (depth: number, row: LoggedDecision, mcpId: string): number =>
    keyings.slice(0, depth).reduce((sum, keyOf, level) => sum + (levels[level]?.of(keyOf(row, mcpId)) ?? 0), mean);
  for (const [depth, keyOf] of keyings.entries()) {
    for (const { row, reward } of rows) levels[depth]?.add(keyOf(row, row.chosen), reward - upTo(depth, row, row.chosen));
  }
  return (row, mcpId) => upTo(keyings.length, row, mcpId);
}

/** From the coarsest to the finest. JSON separates what could contain a separator. */
const keyings: readonly ((row: LoggedDecision, mcpId: string) => string)[] = [
  (row) => row.requestType,
  (_row, mcpId) => mcpId,
  (row, mcpId) => JSON.stringify([mcpId, row.requestType]),
  (row, mcpId) => JSON.stringify([mcpId, row.requestClass]),
];

/**
 * For each row the model that was learnt from all other folds: a model that has seen a row's own reward would explain its noise away, and DR would be too sure of
 * itself. Folds go round robin over the order of decision ids, so they do not depend on the order of `rows`.
 * Shape: one per row, in the order of `rows`.     Units: `folds` ≥ 2.
 */
export function crossFit(rows: readonly Rewarded[], folds: number): readonly RewardModel[] {
  const order = rows.map((_, index) => index).sort((a, b) => compareIds(rows[a]?.row.decisionId ?? "", rows[b]?.row.decisionId ?? ""));
  const foldOf = new Map(order.map((index, position) => [index, position % folds]));
  const models = Array.from({ length: folds }, (_, fold) =>
    learnRewards(order.filter((index) => foldOf.get(index) !== fold).flatMap((index) => rows[index] ?? [])),
  );
  return rows.map((_, index) => models[foldOf.get(index) ?? 0] ?? nothingLearnt);
}

const nothingLearnt: RewardModel = () => 0;
