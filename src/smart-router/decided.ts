import { createHash } from "node:crypto";
import type { Candidate, Decision, DecisionFeatures, ShadowChoice } from "./decision.js";
import type { Offer } from "./offer.js";
import { compareIds } from "./order.js";
import type { Choice, Policy, Scored, Target } from "./policy.js";
import type { RouteRequest } from "./request.js";

/** 16 hex digits that stand for a policy and all its parameters. */
export function policyHashOf({ id, parameters }: Policy): string {
  const sorted = Object.entries(parameters ?? {}).sort(([a], [b]) => compareIds(a, b));
  return createHash("sha256")
    .update(JSON.stringify([id, sorted]))
    .digest("hex")
    .slice(0, 16);
}

/** What a decision is made of. */
export type Making = {
  readonly decisionId: string;
  readonly atMs: number;
  readonly atMonoMs: number;
  readonly policyId: string;
  readonly policyHash: string;
  readonly request: RouteRequest;
  readonly requestClass: string;
  readonly seed: number;
  readonly offer: Offer;
  readonly choice: Choice;
  readonly shadow: readonly ShadowChoice[];
  readonly leaseMs: number;
};

/** The decision. Its candidates are put together when they are asked for. */
export function decisionOf(making: Making): Decision {
  const { choice, offer, request } = making;
  const propensity = choice.propensity * offer.tierShare;
  let candidates: readonly Candidate[] | undefined;
  return {
    decisionId: making.decisionId,
    atMs: making.atMs,
    atMonoMs: making.atMonoMs,
    policyId: making.policyId,
    policyHash: making.policyHash,
    request,
    requestClass: making.requestClass,
    features: featuresOf(request, choice),
    chosen: choice.mcpId,
    propensity,
    tierShare: offer.tierShare,
    epsilon: choice.epsilon,
    regime: choice.regime,
    isExploration: choice.isExploration,
    seed: making.seed,
    isOpeEligible: isOpeEligible(choice, propensity),
    shadow: making.shadow,
    leaseMs: making.leaseMs,
    leaseExpiresAtMs: making.atMonoMs + making.leaseMs,
    candidates: () => {
      candidates ??= candidatesOf(offer, choice);
      return candidates;
    },
  };
}

function featuresOf(request: RouteRequest, { classSignals }: Choice): DecisionFeatures {
  const { requestType, inputBytes, qualityLevel, privacyLevel, format, noExplore, isIdempotent } = request;
  return {
    requestType,
    inputBytes,
    qualityLevel,
    privacyLevel,
    format,
    noExplore,
    isIdempotent,
    deadlineMs: request.deadlineMs,
    classSignals,
  };
}

/** A certain choice tells nothing about others, unless it was certain under a rule that lets others be chosen. */
function isOpeEligible({ regime }: Choice, propensity: number): boolean {
  if (!(propensity > 0)) return false;
  if (regime === "probe") return false;
  return regime === "normal" || regime === "cold_start" || propensity < 1;
}

function candidatesOf(offer: Offer, choice: Choice): readonly Candidate[] {
  const scored = new Map(choice.scored.map((one) => [one.mcpId, one]));
  const offered = offer.targets.map((target) => {
    const one = scored.get(target.mcpId);
    return candidateOf(target, one, (one?.propensity ?? Number.NaN) * offer.tierShare, one?.excludedBecause);
  });
  const excluded = offer.excluded.map(({ target, because }) => candidateOf(target, undefined, 0, because));
  return [...offered, ...excluded].sort((a, b) => compareIds(a.mcpId, b.mcpId));
}

function candidateOf(target: Target, scored: Scored | undefined, propensity: number, excludedBecause: string | undefined): Candidate {
  return {
    ...target,
    signals: scored?.signals,
    rho: target.inFlight / target.capacity,
    score: scored?.score ?? Number.NaN,
    factors: scored?.factors ?? [],
    isHot: scored?.isHot ?? false,
    isExplorable: scored?.isExplorable ?? false,
    propensity,
    excludedBecause,
  };
}
