import type { RidgeSums } from "../learn/ridge.js";
import type { SharedEffectSums } from "../learn/shared-effect.js";
import type { Memory } from "./memory.js";

/** What is known of requests, whoever serves them: the regression, and what those of a type and of a class have in common. Plain JSON. */
export type SharedKnowledge = RidgeSums & { readonly effects: readonly SharedEffectSums[] };

/** Effects of the `levelsMax` levels that were used last, as folded here. */
export function effectsIn(memory: Memory, nowMs: number, levelsMax: number): readonly SharedEffectSums[] {
  const known = [...memory.levels()].filter(({ key, shared }) => key !== "" && shared.count > 0);
  return (levelsMax > 0 ? known.slice(-levelsMax) : []).map(({ key, shared }) => ({
    key,
    sum: rounded(shared.sum),
    count: rounded(shared.count),
    ageMs: Math.round(nowMs - shared.atMs),
  }));
}

/** Replaces what other coordinators have told of effects by what they tell now. Their sums add up, as those of the regression do. */
export function adoptEffects(memory: Memory, others: readonly SharedKnowledge[], nowMs: number): void {
  for (const { shared } of memory.levels()) {
    shared.othersSum = 0;
    shared.othersCount = 0;
  }
  for (const { effects } of others) {
    for (const { key, sum, count } of effects) {
      const { shared } = memory.levelOf(key, nowMs);
      shared.othersSum += sum;
      shared.othersCount += count;
    }
  }
}

/** Replaces what was folded here by what was stored. */
export function restoreEffects(memory: Memory, effects: readonly SharedEffectSums[], nowMs: number): void {
  for (const { key, sum, count, ageMs } of effects) Object.assign(memory.levelOf(key, nowMs).shared, { sum, count, atMs: nowMs - ageMs });
}

const rounded = (value: number): number => Math.round(value * 10_000) / 10_000;
