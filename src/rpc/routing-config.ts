import { create, type MessageInitShape } from "@bufbuild/protobuf";
import {
  type FleetRoutingConfigSchema,
  type GetRoutingConfigRequest,
  type GetRoutingConfigResponse,
  GetRoutingConfigResponseSchema,
  type McpRoutingConfig,
  type SetRoutingConfigRequest,
  type SetRoutingConfigResponse,
  SetRoutingConfigResponseSchema,
} from "../../gen/mcp/coordinator/v1/routing_service_pb.js";
import { boundMcpId, mayActFor, type Principal } from "../auth/principal.js";
import { checkText } from "../interaction/check.js";
import { CoordinatorError, type FieldFault } from "../platform/errors.js";
import { limits } from "../platform/limits.js";
import type { ConfigBook, ConfigInForce } from "../smart-router/control/config-book.js";
import type { McpOverride, OperatorChange } from "../smart-router/control/operator-config.js";
import type { ShadowTally } from "../smart-router/log/shadow-tally.js";
import type { Store } from "../store/store.js";
import { timestampFromMs } from "../wire/time.js";
import type { UnaryHandler } from "./context.js";
import { refuseFaults } from "./field-faults.js";
import { keyIdOf } from "./routing-select.js";
import { checkNames } from "./select-request.js";

export type ConfigDeps = {
  readonly book: Pick<ConfigBook, "current" | "change">;
  readonly tally: Pick<ShadowTally, "agreements">;
  readonly store: Pick<Store, "listRoutingChanges">;
  readonly knownPolicyIds: ReadonlySet<string>;
};

export type ConfigHandlers = {
  readonly setRoutingConfig: UnaryHandler<SetRoutingConfigRequest, SetRoutingConfigResponse>;
  readonly getRoutingConfig: UnaryHandler<GetRoutingConfigRequest, GetRoutingConfigResponse>;
};

/** The routing configuration. Keys for all MCPs change it; a key that is bound to one reads what concerns that one. */
export function createConfigHandlers(deps: ConfigDeps): ConfigHandlers {
  return {
    setRoutingConfig: async (request, { principal }) => {
      if (boundMcpId(principal) !== undefined) {
        throw new CoordinatorError("forbidden", "this key is bound to one MCP and may not change how requests are routed", {
          reason: "OPERATOR_ONLY",
        });
      }
      const change = parseChange(request, deps);
      const { ifVersion, reason } = request;
      const inForce = await deps.book.change({ change, changedBy: keyIdOf(principal), reason, ifVersion: Number(ifVersion) });
      return create(SetRoutingConfigResponseSchema, { config: configMessage(inForce, principal) });
    },
    getRoutingConfig: async (request, { principal }) => {
      const { maxChanges } = request;
      if (maxChanges > limits.pageMaxCount) {
        refuseFaults([{ field: "max_changes", reason: "OUT_OF_RANGE", description: `must be 0 to ${limits.pageMaxCount}` }]);
      }
      const isShown = maxChanges > 0 && boundMcpId(principal) === undefined;
      const changes = isShown ? await deps.store.listRoutingChanges(maxChanges) : [];
      return create(GetRoutingConfigResponseSchema, {
        config: configMessage(deps.book.current(), principal),
        knownPolicyIds: [...deps.knownPolicyIds].sort(),
        shadows: deps.tally
          .agreements()
          .map(({ policyId, decisions, agreed }) => ({ policyId, decisions: BigInt(decisions), agreed: BigInt(agreed) })),
        changes: changes.map((one) => ({
          version: BigInt(one.version),
          changedAt: timestampFromMs(one.changedAtMs),
          changedBy: one.changedBy,
          coordinatorId: one.coordinatorId,
          reason: one.reason,
          settings: one.changes.map(({ setting, oldValue, newValue }) => ({ setting, oldValue, newValue })),
        })),
      });
    },
  };
}

function configMessage(inForce: ConfigInForce, principal: Principal): MessageInitShape<typeof FleetRoutingConfigSchema> {
  const { version, config, policyId, shadowPolicyIds, changedAtMs, changedBy } = inForce;
  return {
    version: BigInt(Math.max(0, version)),
    policyId,
    shadowPolicyIds: [...shadowPolicyIds],
    mcps: config.mcps
      .filter(({ mcpId }) => mayActFor(principal, mcpId))
      .map(({ mcpId, priority, weight, maxConcurrent, costPerRequest, isDraining }) => ({
        mcpId,
        ...(priority === undefined ? {} : { priority }),
        ...(weight === undefined ? {} : { weight }),
        ...(maxConcurrent === undefined ? {} : { maxConcurrentRequests: maxConcurrent }),
        ...(isDraining === undefined ? {} : { drain: isDraining }),
        ...(costPerRequest === undefined ? {} : { costPerRequest }),
      })),
    ...(changedAtMs === undefined ? {} : { changedAt: timestampFromMs(changedAtMs) }),
    changedBy,
  };
}

type Report = (field: string, reason: string, description: string) => void;

/** What is to change. Throws all faults of the request at once. */
function parseChange(request: SetRoutingConfigRequest, deps: ConfigDeps): OperatorChange {
  const faults: FieldFault[] = [];
  const report: Report = (field, reason, description) => {
    if (faults.length < limits.violationMaxCount) faults.push({ field, reason, description });
  };
  const { mcps, resetMcpIds, policyId, shadowPolicies, ifVersion, reason } = request;
  if (mcps.length === 0 && resetMcpIds.length === 0 && policyId === "" && shadowPolicies === undefined) {
    report("mcps", "REQUIRED", "say what to change: mcps, reset_mcp_ids, policy_id or shadow_policies");
  }
  checkNames(resetMcpIds, "reset_mcp_ids", limits.routedMcpMax, report);
  checkNames(
    mcps.map(({ mcpId }) => mcpId),
    "mcps",
    limits.routedMcpMax,
    report,
  );
  for (const [index, mcp] of mcps.slice(0, limits.routedMcpMax).entries()) checkMcp(mcp, `mcps[${index}]`, report);
  if (policyId !== "") checkPolicy(policyId, "policy_id", deps.knownPolicyIds, report);
  checkNames(shadowPolicies?.policyIds ?? [], "shadow_policies.policy_ids", limits.shadowPoliciesMax, report);
  const inForce = policyId === "" ? deps.book.current().policyId : policyId;
  for (const [index, id] of (shadowPolicies?.policyIds ?? []).entries()) {
    const field = `shadow_policies.policy_ids[${index}]`;
    if (id === inForce) report(field, "CONFLICT", `"${id}" is the policy in force; it always agrees with itself`);
    else checkPolicy(id, field, deps.knownPolicyIds, report);
  }
  if (!Number.isSafeInteger(Number(ifVersion))) report("if_version", "OUT_OF_RANGE", "must be below 2^53");
  checkText(reason, "reason", report);
  refuseFaults(faults);
  return {
    policyId: policyId === "" ? undefined : policyId,
    shadowPolicyIds: shadowPolicies === undefined ? undefined : [...shadowPolicies.policyIds],
    mcps: mcps.map(overrideOf),
    reset: [...resetMcpIds],
  };
}

function checkMcp(mcp: McpRoutingConfig, field: string, report: Report): void {
  const check = (name: string, value: number | undefined, min: number, max: number) => {
    if (value !== undefined && !(value >= min && value <= max)) report(`${field}.${name}`, "OUT_OF_RANGE", `must be ${min} to ${max}`);
  };
  check("priority", mcp.priority, 0, limits.routingPriorityMax);
  check("weight", mcp.weight, 0, limits.routingWeightMax);
  check("max_concurrent_requests", mcp.maxConcurrentRequests, 1, limits.routingConcurrentMax);
  check("cost_per_request", mcp.costPerRequest, 0, limits.routingCostMax);
  const { priority, weight, maxConcurrentRequests, drain, costPerRequest } = mcp;
  if ([priority, weight, maxConcurrentRequests, drain, costPerRequest].every((value) => value === undefined)) {
    report(field, "REQUIRED", "say what to change of it: priority, weight, max_concurrent_requests, drain or cost_per_request");
  }
}

function checkPolicy(id: string, field: string, known: ReadonlySet<string>, report: Report): void {
  if (known.has(id)) return;
  const names = [...known].sort().map((name) => `"${name}"`);
  report(field, "UNKNOWN", `is no policy that this coordinator knows: ${names.join(", ")}`);
}

function overrideOf({ mcpId, priority, weight, maxConcurrentRequests, drain, costPerRequest }: McpRoutingConfig): McpOverride {
  return { mcpId, priority, weight, maxConcurrent: maxConcurrentRequests, costPerRequest, isDraining: drain };
}
