import type { Candidate, Decision, ShadowChoice } from "../decision.js";
import type { RouteRequest } from "../request.js";
import type { ClassSignals } from "../signal-book.js";

/** What else was so when a decision was made. */
export type DecisionContext = {
  readonly coordinatorId: string;
  /** Whom it was made for; empty where the server runs without keys. */
  readonly keyId: string;
  readonly configVersion: number;
  /** The table of weights in force; zeros before the first one. */
  readonly weightsTerm: number;
  readonly weightsVersion: number;
};

/** A decision as the log knows it: everything from which it can be explained and computed again. */
export type DecisionRecord = DecisionContext &
  Pick<
    Decision,
    | "decisionId"
    | "policyId"
    | "policyHash"
    | "request"
    | "requestClass"
    | "chosen"
    | "propensity"
    | "tierShare"
    | "epsilon"
    | "regime"
    | "isExploration"
    | "seed"
    | "isOpeEligible"
    | "leaseMs"
    | "shadow"
  > & {
    /** Ms since the Unix epoch. */
    readonly decidedAtMs: number;
    /** Undefined under policies that read no signals. */
    readonly classSignals: ClassSignals | undefined;
    /** Undefined where only the choice is kept. */
    readonly candidates: readonly Candidate[] | undefined;
    /** Probability with which the log keeps the candidates of a decision like this. */
    readonly keptShare: number;
  };

/** A decision as it is stored; the same shape as `StoredDecision` of store/, which this room does not import. */
export type DecisionRow = Omit<DecisionRecord, "request" | "classSignals" | "candidates" | "shadow"> & {
  readonly features: unknown;
  readonly candidates: unknown;
  readonly shadow: unknown;
};

/** What the log keeps of a decision. `candidates`: all of them, or undefined to keep the choice only. */
export function recordOf(
  decision: Decision,
  context: DecisionContext,
  candidates: readonly Candidate[] | undefined,
  keptShare: number,
): DecisionRecord {
  const { decisionId, policyId, policyHash, request, requestClass, chosen, propensity, tierShare, epsilon, regime } = decision;
  const { isExploration, seed, isOpeEligible, leaseMs, shadow, atMs, features } = decision;
  return {
    ...context,
    decisionId,
    decidedAtMs: atMs,
    policyId,
    policyHash,
    request,
    requestClass,
    classSignals: features.classSignals,
    chosen,
    propensity,
    tierShare,
    epsilon,
    regime,
    isExploration,
    seed,
    isOpeEligible,
    leaseMs,
    shadow,
    candidates,
    keptShare,
  };
}

/** The row of a record. Exact: `recordOfRow` gives the same record back, to the last bit of every number. */
export function rowOf({ request, classSignals, candidates, shadow, ...rest }: DecisionRecord): DecisionRow {
  const features = { request: { ...request, exclude: [...request.exclude].sort() }, classSignals };
  return {
    ...rest,
    features: toJson(features),
    candidates: candidates === undefined ? undefined : toJson(candidates),
    shadow: toJson(shadow),
  };
}

/** The record of a row. Only `rowOf` makes rows, so that their JSON has the shape that is asserted here. */
export function recordOfRow({ features, candidates, shadow, ...rest }: DecisionRow): DecisionRecord {
  const { request, classSignals } = fromJson(features) as {
    readonly request: Omit<RouteRequest, "exclude"> & { readonly exclude: readonly string[] };
    readonly classSignals?: ClassSignals;
  };
  return {
    ...rest,
    request: { ...request, deadlineMs: request.deadlineMs, exclude: new Set(request.exclude) },
    classSignals,
    candidates: candidates === undefined ? undefined : (fromJson(candidates) as readonly Candidate[]).map(whole),
    shadow: fromJson(shadow) as readonly ShadowChoice[],
  };
}

/** JSON leaves out members that are undefined; a candidate has them. */
function whole(candidate: Candidate): Candidate {
  return { ...candidate, signals: candidate.signals, excludedBecause: candidate.excludedBecause };
}

/** Numbers that JSON has no form for are written as `{"number":"NaN"}`; nothing else in a record is an object with that one member. */
function toJson(value: unknown): unknown {
  if (typeof value === "number")
    return Number.isFinite(value) && !Object.is(value, -0) ? value : { number: Object.is(value, -0) ? "-0" : String(value) };
  if (Array.isArray(value)) return value.map(toJson);
  if (typeof value === "object" && value !== null) {
    return Object.fromEntries(Object.entries(value).flatMap(([name, member]) => (member === undefined ? [] : [[name, toJson(member)]])));
  }
  return value;
}

function fromJson(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(fromJson);
  if (typeof value !== "object" || value === null) return value;
  const entries = Object.entries(value);
  const [only] = entries;
  if (entries.length === 1 && only?.[0] === "number") return Number(only[1]);
  return Object.fromEntries(entries.map(([name, member]) => [name, fromJson(member)]));
}
