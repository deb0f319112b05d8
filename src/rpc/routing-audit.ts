import { create } from "@bufbuild/protobuf";
import {
  type AuditDecisionRequest,
  type AuditDecisionResponse,
  AuditDecisionResponseSchema,
} from "../../gen/mcp/coordinator/v1/routing_service_pb.js";
import { boundMcpId } from "../auth/principal.js";
import { checkText } from "../interaction/check.js";
import type { Clock } from "../platform/clock.js";
import { CoordinatorError, type FieldFault } from "../platform/errors.js";
import { parseUuidV7 } from "../platform/uuid-v7.js";
import type { DecisionLog } from "../smart-router/log/decision-log.js";
import type { Router } from "../smart-router/router.js";
import type { UnaryHandler } from "./context.js";
import { refuseFaults } from "./field-faults.js";
import { decisionIdFault, unknownDecision } from "./routing-select.js";

export type AuditDeps = {
  readonly router: Pick<Router, "audit">;
  readonly log: Pick<DecisionLog, "audited">;
  readonly clock: Pick<Clock, "monotonicMs">;
};

export type AuditHandlers = { readonly auditDecision: UnaryHandler<AuditDecisionRequest, AuditDecisionResponse> };

/** Independent judgements of answers. Only of keys for all MCPs: what an MCP says of itself is its `quality_score`. */
export function createAuditHandlers(deps: AuditDeps): AuditHandlers {
  return {
    auditDecision: async (request, { principal }) => {
      if (boundMcpId(principal) !== undefined) {
        throw new CoordinatorError("forbidden", "this key is bound to one MCP and may not judge answers", { reason: "OPERATOR_ONLY" });
      }
      const { decisionId, quality, auditor } = parseAudit(request);
      const verdict = deps.router.audit(decisionId, quality, deps.clock.monotonicMs());
      if (verdict === undefined) throw unknownDecision(decisionId);
      if (verdict.quality !== quality) throw alreadyAudited(decisionId, verdict.quality);
      if (verdict.isFirst) deps.log.audited(decisionId, verdict.mcpId, quality, auditor);
      return create(AuditDecisionResponseSchema, { mcpId: verdict.mcpId, counted: verdict.isFirst });
    },
  };
}

/** Throws `invalid` with every fault of the request. */
function parseAudit(request: AuditDecisionRequest): { readonly decisionId: string; readonly quality: number; readonly auditor: string } {
  const faults: FieldFault[] = [];
  const report = (field: string, reason: string, description: string) => void faults.push({ field, reason, description });
  const decisionId = parseUuidV7(request.decisionId);
  if (decisionId === undefined) faults.push(decisionIdFault(request.decisionId));
  const { quality = Number.NaN, auditor } = request;
  if (request.quality === undefined) report("quality", "REQUIRED", "must be set, from 0 to 1");
  else if (!(quality >= 0 && quality <= 1)) report("quality", "OUT_OF_RANGE", "must be a number from 0 to 1");
  checkText(auditor, "auditor", report);
  refuseFaults(faults);
  return { decisionId: decisionId ?? request.decisionId, quality, auditor };
}

function alreadyAudited(decisionId: string, quality: number): CoordinatorError {
  return new CoordinatorError("conflict", `decision "${decisionId}" was audited before: ${quality} counts`, {
    reason: "DECISION_AUDITED",
    metadata: { decision_id: decisionId, quality: String(quality) },
  });
}
