import { compareIds } from "../order.js";
import type { LoggedDecision } from "./logged-decision.js";

/** A row whose reward is known. */
export type Rewarded = { readonly row: LoggedDecision; readonly reward: number };

/** r̂(x, a): the reward to expect when `mcpId` gets a request like that of `row`. */
export type RewardModel = (row: LoggedDecision, mcpId: string) => number;

/** Rows as good as this many of the next coarser level: ten observations of a class count as much as the level above it. */
const shrinkage = 10;

type Tally = { sum: number; count: number };

/**
 * Mean rewards by (MCP, class), shrunk to those by (MCP, type), to those of the MCP, to that of all. A table and not a regression: it needs no features that
 * the log does not have, it cannot extrapolate beyond what was seen, and the correction of DR takes care of what it misses.
 * Bound: O(rows) to build, four look-ups to ask.
 */
export function learnRewards(rows: readonly Rewarded[]): RewardModel {
  const levels = [new Map<string, Tally>(), new Map<string, Tally>(), new Map<string, Tally>(), new Map<string, Tally>()];
  for (const { row, reward } of rows) {
    for (const [depth, key] of keysOf(row, row.chosen).entries()) {
      const level = levels[depth];
      const tally = level?.get(key);
      if (tally === undefined) level?.set(key, { sum: reward, count: 1 });
      else {
        tally.sum += reward;
        tally.count += 1;
      }
    }
  }
  return (row, mcpId) => {
    let mean = 0;
    for (const [depth, key] of keysOf(row, mcpId).entries()) {
      const tally = levels[depth]?.get(key);
      if (tally === undefined) continue;
      mean = depth === 0 ? tally.sum / tally.count : (tally.sum + shrinkage * mean) / (tally.count + shrinkage);
    }
    return mean;
  };
}

/** From the coarsest to the finest. JSON separates what could contain a separator. */
function keysOf(row: LoggedDecision, mcpId: string): readonly [string, string, string, string] {
  return ["", mcpId, JSON.stringify([mcpId, row.requestType]), JSON.stringify([mcpId, row.requestClass])];
}

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
