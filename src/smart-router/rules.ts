import { createQualityRule } from "./quality-rule.js";
import type { RouterSettings } from "./settings.js";
import { createA58, type WeightRule } from "./weigh.js";

/** Rules that an operator can choose (`routing.weight_policy`); the default first. */
export const weightRuleIds = ["quality-tail-load/1", "a58-wrr/1"] as const;

export type WeightRuleId = (typeof weightRuleIds)[number];

/** One of each rule. */
export function createWeightRules(settings: RouterSettings): Readonly<Record<WeightRuleId, WeightRule>> {
  return { "quality-tail-load/1": createQualityRule(settings), "a58-wrr/1": createA58(settings) };
}
