import { createQualityTailLoad } from "../smart-router/decide/quality-tail-load.js";
import type { RuleSettings } from "../smart-router/decide/settings.js";
import type { Policy } from "../smart-router/policy.js";
import { createSignalBook } from "../smart-router/signals/book.js";
import { type SignalBookSettings, signalDefaults } from "../smart-router/signals/settings.js";

/** What an operator may have set otherwise. */
export type RuleChanges = {
  readonly rule?: Partial<RuleSettings>;
  readonly signals?: Partial<SignalBookSettings>;
};

/**
 * Our rule with the signals that it decides on, as one policy: the production code of both, without the leases, tiers and health states of the router around them,
 * which the quality scenarios do not touch.
 */
export function createRuleWithSignals({ rule = {}, signals = {} }: RuleChanges = {}): Policy {
  const book = createSignalBook({ ...signalDefaults, ...signals });
  const policy = createQualityTailLoad(book, rule);
  return {
    ...policy,
    assigned: (assigned) => {
      book.assigned(assigned);
      policy.assigned(assigned);
    },
    ended: (ended) => {
      book.ended(ended);
      policy.ended(ended);
    },
    tick: (nowMs) => {
      book.tick(nowMs);
      policy.tick(nowMs);
    },
  };
}
