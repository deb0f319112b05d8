import { create } from "@bufbuild/protobuf";
import {
  type FleetRoutingConfig,
  GetRoutingConfigRequestSchema,
  RoutingService,
  SetRoutingConfigRequestSchema,
} from "../../gen/mcp/coordinator/v1/routing_service_pb.js";
import type { Connection } from "./connect.js";
import { msOf } from "./wire/time.js";

/** What an operator says of one MCP; undefined: nothing. */
export type McpSettings = {
  readonly mcpId: string;
  readonly priority: number | undefined;
  readonly weight: number | undefined;
  readonly maxConcurrent: number | undefined;
  /** In the operator's unit. */
  readonly costPerRequest: number | undefined;
  readonly drain: boolean | undefined;
};

/** The routing configuration in force. Times in ms since the Unix epoch. */
export type RoutingConfigView = {
  readonly version: number;
  readonly policyId: string;
  readonly shadowPolicyIds: readonly string[];
  readonly mcps: readonly McpSettings[];
  readonly changedAtMs: number | undefined;
  readonly changedBy: string;
};

export type RoutingChangeView = {
  readonly version: number;
  readonly changedAtMs: number;
  readonly changedBy: string;
  readonly coordinatorId: string;
  readonly reason: string;
  readonly settings: readonly { readonly setting: string; readonly oldValue: string; readonly newValue: string }[];
};

export type RoutingConfigReport = {
  readonly config: RoutingConfigView;
  readonly knownPolicyIds: readonly string[];
  readonly shadows: readonly { readonly policyId: string; readonly decisions: number; readonly agreed: number }[];
  /** Newest first. */
  readonly changes: readonly RoutingChangeView[];
};

/** What to change; undefined leaves it. */
export type RoutingConfigChange = {
  readonly mcps: readonly McpSettings[];
  readonly reset: readonly string[];
  readonly policyId: string | undefined;
  readonly shadowPolicyIds: readonly string[] | undefined;
  /** Undefined: whatever is in force. */
  readonly ifVersion: number | undefined;
  readonly reason: string;
};

/** The configuration in force, and its `maxChanges` latest changes.     Errors: rejects with grpc-js's ServiceError. */
export async function getRoutingConfig(connection: Connection, maxChanges: number, deadlineMs: number): Promise<RoutingConfigReport> {
  const request = create(GetRoutingConfigRequestSchema, { maxChanges });
  const response = await connection.call(RoutingService.method.getRoutingConfig, request, deadlineMs);
  return {
    config: configView(response.config),
    knownPolicyIds: response.knownPolicyIds,
    shadows: response.shadows.map(({ policyId, decisions, agreed }) => ({
      policyId,
      decisions: Number(decisions),
      agreed: Number(agreed),
    })),
    changes: response.changes.map(({ version, changedAt, changedBy, coordinatorId, reason, settings }) => ({
      version: Number(version),
      changedAtMs: msOf(changedAt, 0),
      changedBy,
      coordinatorId,
      reason,
      settings: settings.map(({ setting, oldValue, newValue }) => ({ setting, oldValue, newValue })),
    })),
  };
}

/** Stores a change and gives the whole configuration as it is then.     Errors: rejects with grpc-js's ServiceError. */
export async function setRoutingConfig(
  connection: Connection,
  change: RoutingConfigChange,
  deadlineMs: number,
): Promise<RoutingConfigView> {
  const { mcps, reset, policyId, shadowPolicyIds, ifVersion, reason } = change;
  const request = create(SetRoutingConfigRequestSchema, {
    mcps: mcps.map(({ mcpId, priority, weight, maxConcurrent, costPerRequest, drain }) => ({
      mcpId,
      ...(priority === undefined ? {} : { priority }),
      ...(weight === undefined ? {} : { weight }),
      ...(maxConcurrent === undefined ? {} : { maxConcurrentRequests: maxConcurrent }),
      ...(drain === undefined ? {} : { drain }),
      ...(costPerRequest === undefined ? {} : { costPerRequest }),
    })),
    resetMcpIds: [...reset],
    policyId: policyId ?? "",
    ...(shadowPolicyIds === undefined ? {} : { shadowPolicies: { policyIds: [...shadowPolicyIds] } }),
    ifVersion: BigInt(ifVersion ?? 0),
    reason,
  });
  const { config } = await connection.call(RoutingService.method.setRoutingConfig, request, deadlineMs);
  return configView(config);
}

function configView(config: FleetRoutingConfig | undefined): RoutingConfigView {
  return {
    version: Number(config?.version ?? 0n),
    policyId: config?.policyId ?? "",
    shadowPolicyIds: config?.shadowPolicyIds ?? [],
    mcps: (config?.mcps ?? []).map(({ mcpId, priority, weight, maxConcurrentRequests, costPerRequest, drain }) => ({
      mcpId,
      priority,
      weight,
      maxConcurrent: maxConcurrentRequests,
      costPerRequest,
      drain,
    })),
    changedAtMs: config?.changedAt === undefined ? undefined : msOf(config.changedAt, 0),
    changedBy: config?.changedBy ?? "",
  };
}
