import { create } from "@bufbuild/protobuf";
import {
  type ReleaseDecisionRequest,
  type ReleaseDecisionResponse,
  ReleaseDecisionResponseSchema,
  type SelectMcpRequest,
  type SelectMcpResponse,
  SelectMcpResponseSchema,
} from "../../gen/mcp/coordinator/v1/routing_service_pb.js";
import { mayActFor, type Principal } from "../auth/principal.js";
import type { Clock } from "../platform/clock.js";
import { CoordinatorError, type FieldFault } from "../platform/errors.js";
import { parseUuidV7 } from "../platform/uuid-v7.js";
import type { Decision } from "../smart-router/decision.js";
import type { DecisionLog } from "../smart-router/log/decision-log.js";
import type { DecisionContext } from "../smart-router/log/decision-record.js";
import type { MadeDecisions } from "../smart-router/log/made-decisions.js";
import type { ShadowTally } from "../smart-router/log/shadow-tally.js";
import type { Router } from "../smart-router/router.js";
import { durationFromMs } from "../wire/time.js";
import type { UnaryHandler } from "./context.js";
import { candidateMessage, regimeNumbers } from "./decision-messages.js";
import { fieldsError } from "./field-faults.js";
import { parseRouteRequest } from "./select-request.js";

export type SelectDeps = {
  readonly router: Pick<Router, "select" | "release">;
  readonly made: MadeDecisions;
  readonly log: Pick<DecisionLog, "add">;
  readonly tally: Pick<ShadowTally, "add">;
  /** What is in force now besides the policy. */
  readonly context: () => Omit<DecisionContext, "keyId">;
  readonly clock: Pick<Clock, "monotonicMs">;
};

export type SelectHandlers = {
  readonly selectMcp: UnaryHandler<SelectMcpRequest, SelectMcpResponse>;
  readonly releaseDecision: UnaryHandler<ReleaseDecisionRequest, ReleaseDecisionResponse>;
};

/** The decision plane: nothing here waits for the store. */
export function createSelectHandlers(deps: SelectDeps): SelectHandlers {
  return {
    selectMcp: async (request, { principal }) => {
      const selection = deps.router.select(parseRouteRequest(request.request), deps.clock.monotonicMs());
      if (selection.kind === "refused") throw selection.error;
      const { decision } = selection;
      const keyId = keyIdOf(principal);
      deps.made.add(decision.decisionId, { mcpId: decision.chosen, keyId });
      deps.tally.add(decision);
      deps.log.add(decision, { ...deps.context(), keyId }, request.keepCandidates);
      return selectedMessage(decision, request.keepCandidates);
    },
    releaseDecision: async (request, { principal }) => {
      const decisionId = parseDecisionId(request.decisionId);
      const made = deps.made.find(decisionId);
      if (made === undefined) throw unknownDecision(decisionId);
      refuseForeign(principal, made.keyId, made.mcpId);
      const released = deps.router.release(decisionId, made.mcpId, deps.clock.monotonicMs());
      return create(ReleaseDecisionResponseSchema, { released });
    },
  };
}

/** Whose decisions a credential makes; empty where the server runs without keys. */
export function keyIdOf(principal: Principal): string {
  return principal.kind === "key" ? principal.keyId : "";
}

/** The canonical form of a decision's id. Throws `invalid` for what is none. */
export function parseDecisionId(text: string): string {
  const decisionId = parseUuidV7(text);
  if (decisionId !== undefined) return decisionId;
  throw fieldsError([decisionIdFault(text)]);
}

/** Why a text names no decision. */
export function decisionIdFault(text: string): FieldFault {
  const reason = text === "" ? "REQUIRED" : "MALFORMED";
  return { field: "decision_id", reason, description: "must be a UUID version 7 in text form, as SelectMcp gave it" };
}

export function unknownDecision(decisionId: string): CoordinatorError {
  return new CoordinatorError("not_found", `decision "${decisionId}" is not known here`, {
    reason: "DECISION_UNKNOWN",
    metadata: { decision_id: decisionId },
  });
}

/** Throws unless the decision was made for this key, or names an MCP that the key may act for. */
export function refuseForeign(principal: Principal, keyId: string, mcpId: string): void {
  if (keyIdOf(principal) === keyId || mayActFor(principal, mcpId)) return;
  throw new CoordinatorError("forbidden", "the decision was made for another key and names another MCP than this key's", {
    reason: "DECISION_FOREIGN",
  });
}

function selectedMessage(decision: Decision, showsCandidates: boolean): SelectMcpResponse {
  const candidates = decision.candidates();
  const chosen = candidates.find(({ mcpId }) => mcpId === decision.chosen);
  const isScored = chosen !== undefined && !Number.isNaN(chosen.score);
  return create(SelectMcpResponseSchema, {
    mcpId: decision.chosen,
    decisionId: decision.decisionId,
    propensity: decision.propensity,
    lease: durationFromMs(decision.leaseMs),
    why: {
      policyId: decision.policyId,
      regime: regimeNumbers[decision.regime],
      exploration: decision.isExploration,
      requestClass: decision.requestClass,
      ...(isScored ? { score: chosen.score } : {}),
      factors: chosen?.factors.map(({ name, contribution }) => ({ name, contribution })) ?? [],
      candidateCount: candidates.length,
      drawableCount: candidates.filter(({ propensity }) => propensity > 0).length,
    },
    candidates: showsCandidates ? candidates.map(candidateMessage) : [],
  });
}
