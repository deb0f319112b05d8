import { compareIds } from "../order.js";
import type { EvaluatedPolicy, LoggedCandidate, LoggedDecision } from "./logged-decision.js";

/** Those who could have been drawn: known probability above 0. */
function drawable(row: LoggedDecision): readonly LoggedCandidate[] {
  return row.candidates.filter((candidate) => candidate.propensity > 0);
}

/** The policy that wrote the log: its value is the mean reward, and every weight is 1. */
export function asLogged(): EvaluatedPolicy {
  return { id: "as-logged", shares: (row) => new Map(drawable(row).map(({ mcpId, propensity }) => [mcpId, propensity])) };
}

/** Every MCP that could have been drawn, equally. */
export function uniform(): EvaluatedPolicy {
  return {
    id: "uniform",
    shares: (row) => {
      const open = drawable(row);
      return open.length === 0 ? undefined : new Map(open.map(({ mcpId }) => [mcpId, 1 / open.length]));
    },
  };
}

/** Always this MCP, also where it could not be drawn: such rows lower the coverage. */
export function always(mcpId: string): EvaluatedPolicy {
  return { id: `always:${mcpId}`, shares: () => new Map([[mcpId, 1]]) };
}

/** In proportion to fixed weights, among those who could have been drawn: what a static table would do. Shape: weights ≥ 0 by mcpId; others have none. */
export function staticWeights(id: string, weights: ReadonlyMap<string, number>): EvaluatedPolicy {
  return {
    id,
    shares: (row) => {
      const open = drawable(row).map(({ mcpId }) => ({ mcpId, weight: weights.get(mcpId) ?? 0 }));
      const total = open.reduce((sum, { weight }) => sum + weight, 0);
      return total === 0 ? undefined : new Map(open.map(({ mcpId, weight }) => [mcpId, weight / total]));
    },
  };
}

/**
 * A shadow, by what it answered when it was asked. It drew one choice; that it was this one has the right expectation (its share), so the estimate stays unbiased and is only
 * noisier than with all its shares. Undefined where it was not asked.
 */
export function shadow(policyId: string): EvaluatedPolicy {
  return {
    id: `shadow:${policyId}`,
    shares: (row) => {
      const asked = row.shadow.find((choice) => choice.policyId === policyId);
      return asked === undefined ? undefined : new Map([[asked.mcpId, 1]]);
    },
  };
}

/** Every shadow that any row names, ascending by id. */
export function shadowsOf(rows: readonly LoggedDecision[]): readonly EvaluatedPolicy[] {
  const ids = new Set(rows.flatMap((row) => row.shadow.map((choice) => choice.policyId)));
  return [...ids].sort(compareIds).map(shadow);
}

/** Mostly one policy, now and then another: a canary. Units: `share` of `other`, 0 to 1. */
export function mixed(one: EvaluatedPolicy, other: EvaluatedPolicy, share: number): EvaluatedPolicy {
  return {
    id: `${one.id}+${share}*${other.id}`,
    shares: (row) => {
      const [mostly, sometimes] = [one.shares(row), other.shares(row)];
      if (mostly === undefined || sometimes === undefined) return undefined;
      const names = new Set([...mostly.keys(), ...sometimes.keys()]);
      return new Map([...names].map((mcpId) => [mcpId, (1 - share) * (mostly.get(mcpId) ?? 0) + share * (sometimes.get(mcpId) ?? 0)]));
    },
  };
}
