import { create, type MessageInitShape } from "@bufbuild/protobuf";
import {
  type DecisionCandidateSchema,
  type DecisionOutcomeSchema,
  DecisionOutcomeState,
  DecisionRegime,
  type LoggedDecision,
  LoggedDecisionSchema,
  type RequestFeaturesSchema,
} from "../../gen/mcp/coordinator/v1/decisions_pb.js";
import type { Candidate, OutcomeState } from "../smart-router/decision.js";
import type { DecisionRecord } from "../smart-router/log/decision-record.js";
import type { OutcomeRow } from "../smart-router/log/outcome-row.js";
import type { Regime } from "../smart-router/policy.js";
import type { RouteRequest } from "../smart-router/request.js";
import { durationFromMs, timestampFromMs } from "../wire/time.js";

export const regimeNumbers = {
  normal: DecisionRegime.NORMAL,
  cold_start: DecisionRegime.COLD_START,
  all_hot: DecisionRegime.ALL_HOT,
  panic: DecisionRegime.PANIC,
  probe: DecisionRegime.PROBE,
} as const satisfies Record<Regime, DecisionRegime>;

const outcomeNumbers = {
  complete: DecisionOutcomeState.COMPLETE,
  error: DecisionOutcomeState.ERROR,
  censored: DecisionOutcomeState.CENSORED,
} as const satisfies Record<OutcomeState, DecisionOutcomeState>;

/** A decision with what became of it. Every number as it was computed. */
export function loggedDecision(record: DecisionRecord, outcome: OutcomeRow | undefined): LoggedDecision {
  return create(LoggedDecisionSchema, {
    decisionId: record.decisionId,
    decidedAt: timestampFromMs(record.decidedAtMs),
    coordinatorId: record.coordinatorId,
    keyId: record.keyId,
    request: requestMessage(record.request),
    requestClass: record.requestClass,
    ...(record.classSignals === undefined ? {} : { classSignals: record.classSignals }),
    policyId: record.policyId,
    policyHash: record.policyHash,
    mcpId: record.chosen,
    propensity: record.propensity,
    tierShare: record.tierShare,
    epsilon: record.epsilon,
    regime: regimeNumbers[record.regime],
    exploration: record.isExploration,
    seed: BigInt(record.seed),
    opeEligible: record.isOpeEligible,
    lease: durationFromMs(record.leaseMs),
    candidates: (record.candidates ?? []).map(candidateMessage),
    shadows: record.shadow.map(({ policyId, mcpId, propensity }) => ({ policyId, mcpId, propensity })),
    outcome: outcomeMessage(outcome),
    keptShare: record.keptShare,
    configVersion: BigInt(record.configVersion),
    weightsTerm: BigInt(record.weightsTerm),
    weightsVersion: BigInt(record.weightsVersion),
  });
}

/** One MCP as a decision saw it. What was not scored has no score. */
export function candidateMessage(candidate: Candidate): MessageInitShape<typeof DecisionCandidateSchema> {
  const { score, signals, excludedBecause, isHot, isExplorable, factors, ...rest } = candidate;
  return {
    ...rest,
    ...(Number.isNaN(score) ? {} : { score }),
    ...(signals === undefined ? {} : { signals }),
    factors: factors.map(({ name, contribution }) => ({ name, contribution })),
    hot: isHot,
    explorable: isExplorable,
    excludedBecause: excludedBecause ?? "",
  };
}

function requestMessage(request: RouteRequest): MessageInitShape<typeof RequestFeaturesSchema> {
  return {
    requestType: request.requestType,
    inputBytes: BigInt(request.inputBytes),
    qualityLevel: request.qualityLevel,
    privacyLevel: request.privacyLevel,
    format: request.format,
    capabilities: [...request.capabilities],
    tenant: request.tenant,
    ...(request.deadlineMs === undefined ? {} : { deadline: durationFromMs(request.deadlineMs) }),
    excludeMcpIds: [...request.exclude].sort(),
    idempotent: request.isIdempotent,
    sheddable: request.isSheddable,
    noExplore: request.noExplore,
  };
}

function outcomeMessage(outcome: OutcomeRow | undefined): MessageInitShape<typeof DecisionOutcomeSchema> {
  if (outcome === undefined) return { state: DecisionOutcomeState.OPEN };
  const { state, observedMs, durationMs, quality, auditedQuality } = outcome;
  return {
    state: state === undefined ? DecisionOutcomeState.OPEN : outcomeNumbers[state],
    censoredBecause: outcome.censoredBecause,
    interactionId: outcome.interactionId,
    ...(observedMs === undefined ? {} : { observed: durationFromMs(observedMs) }),
    ...(durationMs === undefined ? {} : { processingTime: durationFromMs(durationMs) }),
    ...(quality === undefined ? {} : { qualityScore: quality }),
    errorCode: outcome.errorCode,
    late: outcome.isLate,
    ...(auditedQuality === undefined ? {} : { auditedQuality }),
    auditor: outcome.auditor,
  };
}
