import { unreachable } from "../../platform/assert.js";
import { CoordinatorError } from "../../platform/errors.js";
import type { LoggedOutcome } from "./logged-decision.js";

/** What an outcome is worth. Quality wants to be high; errors and costs low. */
export type Reward = "quality" | "error" | "cost";

const rewards: readonly Reward[] = ["quality", "error", "cost"];

/**
 * The reward of this name.
 * Errors: `invalid` for any other, and for "latency" on purpose. The estimators of this folder assume that what a request meets does not depend on whom earlier
 * requests were given to. For the quality, failure and price of one answer that holds well enough. For latency it does not: a policy that sends more to an MCP
 * makes its queue longer, and the log only ever saw the queues of the policy that wrote it. Reweighting such a log gave useful figures for machine health and
 * useless ones for load balancing (Lecuyer et al., "Harvesting Randomness to Optimize Distributed Systems", HotNets 2017). Use `simulate` or a switchback test.
 */
export function parseReward(name: string): Reward {
  const reward = rewards.find((known) => known === name);
  if (reward !== undefined) return reward;
  const isLatency = /latency|duration|tail|queue|wait/i.test(name);
  const why = isLatency
    ? "latency cannot be evaluated from a log, because another policy would have met other queues; use simulate or a switchback test"
    : `must be one of ${rewards.join(", ")}`;
  throw new CoordinatorError("invalid", `reward "${name}": ${why}`, {
    reason: "FIELD_VIOLATION",
    fields: [{ field: "reward", reason: isLatency ? "NOT_EVALUABLE" : "UNKNOWN", description: why }],
  });
}

/**
 * What an outcome is worth; undefined when it does not tell. A failed request has served no quality at all: 0, as in the rule (1 − e)·Q of the router.
 * Units: quality 0 to 1; error 0 or 1; cost in the operator's unit.
 */
export function rewardOf(reward: Reward, outcome: LoggedOutcome): number | undefined {
  if (outcome.kind === "censored" || outcome.kind === "open") return undefined;
  switch (reward) {
    case "quality":
      return outcome.kind === "error" ? 0 : usable(outcome.quality);
    case "error":
      return outcome.kind === "error" ? 1 : 0;
    case "cost":
      return usable(outcome.cost);
    default:
      return unreachable(reward);
  }
}

function usable(value: number | undefined): number | undefined {
  return value !== undefined && Number.isFinite(value) ? value : undefined;
}
