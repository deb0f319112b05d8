import { create } from "@bufbuild/protobuf";
import {
  type DecisionCandidate,
  type DecisionOutcome,
  DecisionOutcomeState,
  DecisionRegime,
  type LoggedDecision,
  type RequestFeatures,
} from "../../gen/mcp/coordinator/v1/decisions_pb.js";
import {
  AuditDecisionRequestSchema,
  ExplainDecisionRequestSchema,
  ListDecisionsRequestSchema,
  RoutingService,
  SelectMcpRequestSchema,
} from "../../gen/mcp/coordinator/v1/routing_service_pb.js";
import { limits } from "../platform/limits.js";
import type { Connection } from "./connect.js";
import { durationOf, msOf, timestampOf } from "./wire/time.js";

/** One signed contribution to a score. */
type FactorView = { readonly name: string; readonly contribution: number };

/** One MCP as a decision saw it. Numbers as they were computed; the score is NaN when it was not scored. */
export type CandidateView = {
  readonly mcpId: string;
  readonly state: string;
  readonly inFlight: number;
  readonly capacity: number;
  readonly slowStart: number;
  readonly weight: number;
  readonly signals: SignalsView | undefined;
  readonly rho: number;
  readonly score: number;
  readonly factors: readonly FactorView[];
  readonly isHot: boolean;
  readonly isExplorable: boolean;
  readonly propensity: number;
  readonly excludedBecause: string | undefined;
};

type SignalsView = {
  readonly mcpId: string;
  readonly latencyMs: number;
  readonly latencyFrom: string;
  readonly tail: number;
  readonly errorRate: number;
  readonly quality: number;
  readonly qualitySigma: number;
  readonly cost: number;
  readonly recent: number;
  readonly samples: number;
  readonly selfFactor?: number | undefined;
};

type ClassView = {
  readonly p50Ms: number;
  readonly p90Ms: number;
  readonly p95Ms: number;
  readonly errorRate: number;
  readonly quality: number;
  readonly deadlineMs: number;
};

/** What was asked. */
export type RequestView = {
  readonly requestType: string;
  readonly inputBytes: number;
  readonly qualityLevel: string;
  readonly privacyLevel: string;
  readonly format: string;
  readonly capabilities: readonly string[];
  readonly tenant: string;
  readonly deadlineMs: number | undefined;
  readonly exclude: ReadonlySet<string>;
  readonly isIdempotent: boolean;
  readonly isSheddable: boolean;
  readonly noExplore: boolean;
};

export type RegimeView = "normal" | "cold_start" | "all_hot" | "panic" | "probe";

/** How a decision ended; `state` undefined: not yet. */
export type OutcomeView = {
  readonly state: "complete" | "error" | "censored" | undefined;
  readonly censoredBecause: string;
  readonly interactionId: string;
  readonly observedMs: number | undefined;
  readonly durationMs: number | undefined;
  readonly quality: number | undefined;
  readonly errorCode: string;
  readonly isLate: boolean;
  /** What an independent judge made of it, and who that was. */
  readonly auditedQuality: number | undefined;
  readonly auditor: string;
};

/** A logged decision. Times in ms since the Unix epoch; `candidates` undefined where only the choice is kept. */
export type DecisionView = {
  readonly decisionId: string;
  readonly decidedAtMs: number;
  readonly coordinatorId: string;
  readonly keyId: string;
  readonly request: RequestView;
  readonly requestClass: string;
  readonly classSignals: ClassView | undefined;
  readonly policyId: string;
  readonly policyHash: string;
  readonly chosen: string;
  readonly propensity: number;
  readonly tierShare: number;
  readonly epsilon: number;
  readonly regime: RegimeView;
  readonly isExploration: boolean;
  readonly seed: number;
  readonly isOpeEligible: boolean;
  readonly leaseMs: number;
  readonly candidates: readonly CandidateView[] | undefined;
  readonly keptShare: number;
  readonly shadow: readonly { readonly policyId: string; readonly mcpId: string; readonly propensity: number }[];
  readonly outcome: OutcomeView;
  readonly configVersion: number;
  readonly weightsTerm: number;
  readonly weightsVersion: number;
};

/** What SelectMcp answers. */
export type SelectedView = {
  readonly mcpId: string;
  readonly decisionId: string;
  readonly propensity: number;
  readonly leaseMs: number;
  readonly policyId: string;
  readonly regime: RegimeView;
  readonly isExploration: boolean;
  readonly requestClass: string;
  readonly score: number | undefined;
  readonly factors: readonly FactorView[];
  readonly candidateCount: number;
  readonly drawableCount: number;
};

/** What to ask for; what is left out is not specified. */
export type SelectAsk = Partial<Omit<RequestView, "exclude">> & { readonly exclude?: readonly string[]; readonly keepCandidates?: boolean };

/** Asks for an MCP, and reserves a place there.     Errors: rejects with grpc-js's ServiceError. */
export async function selectMcp(connection: Connection, ask: SelectAsk, deadlineMs: number): Promise<SelectedView> {
  const { keepCandidates = false, exclude = [], inputBytes = 0, deadlineMs: usefulMs, isIdempotent, isSheddable, ...rest } = ask;
  const request = create(SelectMcpRequestSchema, {
    keepCandidates,
    request: {
      ...rest,
      capabilities: [...(ask.capabilities ?? [])],
      inputBytes: BigInt(inputBytes),
      excludeMcpIds: [...exclude],
      idempotent: isIdempotent ?? false,
      sheddable: isSheddable ?? false,
      ...(usefulMs === undefined ? {} : { deadline: durationOf(usefulMs) }),
    },
  });
  const { mcpId, decisionId, propensity, lease, why } = await connection.call(RoutingService.method.selectMcp, request, deadlineMs);
  return {
    mcpId,
    decisionId,
    propensity,
    leaseMs: msOf(lease, 0),
    policyId: why?.policyId ?? "",
    regime: regimeOf(why?.regime),
    isExploration: why?.exploration ?? false,
    requestClass: why?.requestClass ?? "",
    score: why?.score,
    factors: (why?.factors ?? []).map(factorView),
    candidateCount: why?.candidateCount ?? 0,
    drawableCount: why?.drawableCount ?? 0,
  };
}

/** One decision; undefined when the answer holds none, which no coordinator of ours sends.     Errors: rejects with grpc-js's ServiceError. */
export async function explainDecision(connection: Connection, decisionId: string, deadlineMs: number): Promise<DecisionView | undefined> {
  const request = create(ExplainDecisionRequestSchema, { decisionId });
  const { decision } = await connection.call(RoutingService.method.explainDecision, request, deadlineMs);
  return decision === undefined ? undefined : decisionView(decision);
}

/**
 * Tells what an independent judge makes of the answer to a decision, 0 to 1. `counted` is false when it repeats the audit that counts.
 * Errors: rejects with grpc-js's ServiceError; ALREADY_EXISTS when another quality counts.
 */
export async function auditDecision(
  connection: Connection,
  audit: { readonly decisionId: string; readonly quality: number; readonly auditor: string },
  deadlineMs: number,
): Promise<{ readonly mcpId: string; readonly counted: boolean }> {
  const { mcpId, counted } = await connection.call(
    RoutingService.method.auditDecision,
    create(AuditDecisionRequestSchema, audit),
    deadlineMs,
  );
  return { mcpId, counted };
}

/** The decisions of a time range, oldest first, page by page.     Errors: rejects with grpc-js's ServiceError. */
export async function* listDecisions(
  connection: Connection,
  range: { readonly startMs: number | undefined; readonly endMs: number },
  deadlineMs: number,
): AsyncGenerator<DecisionView> {
  let pageToken = "";
  do {
    const request = create(ListDecisionsRequestSchema, {
      ...(range.startMs === undefined ? {} : { startTime: timestampOf(range.startMs) }),
      endTime: timestampOf(range.endMs),
      pageSize: limits.pageMaxCount,
      pageToken,
    });
    const page = await connection.call(RoutingService.method.listDecisions, request, deadlineMs);
    for (const decision of page.decisions) yield decisionView(decision);
    pageToken = page.nextPageToken;
  } while (pageToken !== "");
}

const regimes: Readonly<Record<number, RegimeView>> = {
  [DecisionRegime.NORMAL]: "normal",
  [DecisionRegime.COLD_START]: "cold_start",
  [DecisionRegime.ALL_HOT]: "all_hot",
  [DecisionRegime.PANIC]: "panic",
  [DecisionRegime.PROBE]: "probe",
};

const outcomeStates: Readonly<Record<number, OutcomeView["state"]>> = {
  [DecisionOutcomeState.COMPLETE]: "complete",
  [DecisionOutcomeState.ERROR]: "error",
  [DecisionOutcomeState.CENSORED]: "censored",
};

/** A regime of a newer coordinator counts as one in which nothing can be said. */
function regimeOf(regime: DecisionRegime | undefined): RegimeView {
  return regimes[regime ?? 0] ?? "probe";
}

function decisionView(decision: LoggedDecision): DecisionView {
  const { policyId, policyHash, decisionId, coordinatorId, keyId, requestClass, propensity, tierShare, epsilon, keptShare } = decision;
  return {
    decisionId,
    decidedAtMs: msOf(decision.decidedAt, 0),
    coordinatorId,
    keyId,
    request: requestView(decision.request),
    requestClass,
    classSignals: decision.classSignals === undefined ? undefined : withoutType(decision.classSignals),
    policyId,
    policyHash,
    chosen: decision.mcpId,
    propensity,
    tierShare,
    epsilon,
    regime: regimeOf(decision.regime),
    isExploration: decision.exploration,
    seed: Number(decision.seed),
    isOpeEligible: decision.opeEligible,
    leaseMs: msOf(decision.lease, 0),
    candidates: decision.candidates.length === 0 ? undefined : decision.candidates.map(candidateView),
    keptShare,
    shadow: decision.shadows.map(({ policyId, mcpId, propensity }) => ({ policyId, mcpId, propensity })),
    outcome: outcomeView(decision.outcome),
    configVersion: Number(decision.configVersion),
    weightsTerm: Number(decision.weightsTerm),
    weightsVersion: Number(decision.weightsVersion),
  };
}

function requestView(request: RequestFeatures | undefined): RequestView {
  return {
    requestType: request?.requestType ?? "",
    inputBytes: Number(request?.inputBytes ?? 0n),
    qualityLevel: request?.qualityLevel ?? "",
    privacyLevel: request?.privacyLevel ?? "",
    format: request?.format ?? "",
    capabilities: request?.capabilities ?? [],
    tenant: request?.tenant ?? "",
    deadlineMs: request?.deadline === undefined ? undefined : msOf(request.deadline, 0),
    exclude: new Set(request?.excludeMcpIds ?? []),
    isIdempotent: request?.idempotent ?? false,
    isSheddable: request?.sheddable ?? false,
    noExplore: request?.noExplore ?? false,
  };
}

function candidateView(candidate: DecisionCandidate): CandidateView {
  const { mcpId, state, inFlight, capacity, slowStart, weight, signals, rho, score, hot, explorable, propensity } = candidate;
  return {
    mcpId,
    state,
    inFlight,
    capacity,
    slowStart,
    weight,
    signals: signals === undefined ? undefined : { mcpId, ...withoutType(signals) },
    rho,
    score: score ?? Number.NaN,
    factors: candidate.factors.map(factorView),
    isHot: hot,
    isExplorable: explorable,
    propensity,
    excludedBecause: candidate.excludedBecause === "" ? undefined : candidate.excludedBecause,
  };
}

function outcomeView(outcome: DecisionOutcome | undefined): OutcomeView {
  return {
    state: outcomeStates[outcome?.state ?? 0],
    censoredBecause: outcome?.censoredBecause ?? "",
    interactionId: outcome?.interactionId ?? "",
    observedMs: outcome?.observed === undefined ? undefined : msOf(outcome.observed, 0),
    durationMs: outcome?.processingTime === undefined ? undefined : msOf(outcome.processingTime, 0),
    quality: outcome?.qualityScore,
    errorCode: outcome?.errorCode ?? "",
    isLate: outcome?.late ?? false,
    auditedQuality: outcome?.auditedQuality,
    auditor: outcome?.auditor ?? "",
  };
}

function factorView({ name, contribution }: FactorView): FactorView {
  return { name, contribution };
}

/** The members of a message without those that the library adds. */
function withoutType<T extends { readonly $typeName: string; readonly $unknown?: unknown }>(message: T): Omit<T, "$typeName" | "$unknown"> {
  const { $typeName: _, $unknown: __, ...members } = message;
  return members;
}
