import type { MessageInitShape } from "@bufbuild/protobuf";
import {
  HealthState,
  LeaseState,
  type McpConfigStandingSchema,
  type McpFilter as McpFilterMessage,
  type McpHistoryEntrySchema,
  type McpSchema,
  RegistrationSource,
} from "../../gen/mcp/coordinator/v1/registry_service_pb.js";
import { ApplyStatus } from "../../gen/mcp/coordinator/v1/routes_pb.js";
import { checkText } from "../interaction/check.js";
import type { FieldFault } from "../platform/errors.js";
import type { McpFilter } from "../registry/filter.js";
import type * as rows from "../store/registry-rows.js";
import { mcpConfigToProto } from "../wire/mcp-config.js";
import { timestampFromMs } from "../wire/time.js";

export const leaseStateToProto = {
  alive: LeaseState.ALIVE,
  suspect: LeaseState.SUSPECT,
  dead: LeaseState.DEAD,
  deregistered: LeaseState.DEREGISTERED,
} as const satisfies Record<rows.LeaseState, LeaseState>;

const healthToProto = {
  unknown: HealthState.UNKNOWN,
  healthy: HealthState.HEALTHY,
  unhealthy: HealthState.UNHEALTHY,
} as const satisfies Record<rows.Health, HealthState>;

const sourceToProto = {
  register: RegistrationSource.REGISTER,
  hello: RegistrationSource.HELLO,
} as const satisfies Record<rows.RegistrationSource, RegistrationSource>;

const statusToProto = {
  received: ApplyStatus.RECEIVED,
  applied: ApplyStatus.APPLIED,
  rejected: ApplyStatus.REJECTED,
  expired: ApplyStatus.EXPIRED,
} as const satisfies Record<rows.McpConfigAck["status"], ApplyStatus>;

/** A registration as a message. Holds nothing of its key. */
export function mcpToProto(mcp: rows.StoredMcp): MessageInitShape<typeof McpSchema> {
  const { profile } = mcp;
  return {
    mcpId: mcp.mcpId,
    name: mcp.name,
    version: mcp.version,
    instance: mcp.instance,
    type: profile.type,
    capabilities: [...profile.capabilities],
    supportedFormats: [...profile.formats],
    resourceRequirements: { minMemory: profile.minMemory, minCpu: profile.minCpu, gpuRequired: profile.gpuRequired },
    minMemoryBytes: BigInt(profile.minMemoryBytes),
    minCpuCores: profile.minCpuCores,
    endpoints: { healthCheck: profile.healthCheck, process: profile.process, status: profile.status, baseUrl: profile.baseUrl },
    source: sourceToProto[mcp.source],
    leaseState: leaseStateToProto[mcp.lease.state],
    healthState: healthToProto[mcp.health],
    registeredAt: timestampFromMs(mcp.registeredAtMs),
    config: mcpConfigToProto({ version: mcp.configVersion, config: mcp.config }),
    revision: BigInt(mcp.revision),
  };
}

export function standingToProto(ack: rows.McpConfigAck, versionInForce: number): MessageInitShape<typeof McpConfigStandingSchema> {
  return {
    producerId: ack.producerId,
    version: BigInt(ack.version),
    status: statusToProto[ack.status],
    detail: ack.detail,
    ackedAt: timestampFromMs(ack.ackedAtMs),
    drifts: ack.version !== versionInForce,
  };
}

export function historyToProto({ revision, atMs, kind, detail }: rows.McpHistoryRow): MessageInitShape<typeof McpHistoryEntrySchema> {
  return { revision: BigInt(revision), at: timestampFromMs(atMs), kind, detail };
}

/** The filter, or its faults. */
export function filterFromProto(message: McpFilterMessage | undefined): {
  readonly filter: McpFilter;
  readonly faults: readonly FieldFault[];
} {
  const faults: FieldFault[] = [];
  const text = (value: string | undefined, field: string): string | undefined => {
    checkText(value ?? "", `filter.${field}`, (place, reason, description) => faults.push({ field: place, reason, description }));
    return value === "" ? undefined : value;
  };
  const leaseState = nameIn(leaseStateToProto, message?.leaseState ?? LeaseState.UNSPECIFIED);
  const health = nameIn(healthToProto, message?.healthState ?? HealthState.UNSPECIFIED);
  for (const [field, name] of [["lease_state", leaseState] as const, ["health_state", health] as const]) {
    if (name === "unknown number")
      faults.push({ field: `filter.${field}`, reason: "OUT_OF_RANGE", description: "is none that this coordinator knows" });
  }
  const filter: McpFilter = {
    name: text(message?.name, "name"),
    capability: text(message?.capability, "capability"),
    type: text(message?.type, "type"),
    format: text(message?.format, "format"),
    leaseState: leaseState === "unknown number" ? undefined : leaseState,
    health: health === "unknown number" ? undefined : health,
  };
  return { filter, faults };
}

/** Undefined for the unspecified number 0. */
function nameIn<N extends string>(numbers: Readonly<Record<N, number>>, number: number): N | "unknown number" | undefined {
  if (number === 0) return undefined;
  const found = Object.entries<number>(numbers).find(([, known]) => known === number);
  return found === undefined ? "unknown number" : (found[0] as N); // a key of a record by N
}
