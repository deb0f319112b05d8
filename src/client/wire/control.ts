import { create } from "@bufbuild/protobuf";
import { type McpConfig, McpConfigAckSchema } from "../../../gen/mcp/coordinator/v1/mcp_config_pb.js";
import { type AppliedRoutes, AppliedRoutesSchema, ApplyStatus, RoutingAckSchema } from "../../../gen/mcp/coordinator/v1/routes_pb.js";
import {
  AckMode,
  Capability,
  ConfigAckSchema,
  CredentialRefreshSchema,
  HeartbeatSchema,
  HelloSchema,
  LoadReportSchema,
} from "../../../gen/mcp/coordinator/v1/session_pb.js";
import type { ClientRoutes } from "../routes.js";
import { type EncodedFrame, encodeControlFrame } from "./frames.js";
import { durationOf, timestampOf } from "./time.js";

/** What a session says of itself when it opens a stream. */
export type Greeting = {
  readonly mcpId: string;
  readonly producerId: string;
  readonly instanceVersion: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly ackMode: "each" | "coalesced";
  /** Oldest sequence still held. */
  readonly firstHeldSequence: number;
  /** The session before this one; empty without. */
  readonly resumeSessionId: string;
  readonly reportsLoad: boolean;
  readonly takesMcpConfig: boolean;
};

/** What the MCP has to do: interactions being worked on, interactions waiting inside of it, and the share of its capacity in use. */
export type ClientLoad = { readonly inFlight: number; readonly queued: number; readonly utilization: number };

/** The configuration of the MCP. Intervals in seconds; `progressSampleRatio` 0 to 1. */
export type ClientMcpConfig = {
  readonly version: number;
  readonly heartbeatInterval: number;
  readonly dataReportInterval: number;
  readonly priority: number;
  readonly weight: number;
  readonly maxConcurrentRequests: number;
  readonly draining: boolean;
  readonly progressSampleRatio: number;
  readonly dropFields: readonly string[];
};

/** Everything this client understands. */
const capabilities = [Capability.HEARTBEAT, Capability.FLOW_CONTROL, Capability.ROUTING, Capability.CONFIG, Capability.DRAIN];

const applyStatuses = {
  applied: ApplyStatus.APPLIED,
  rejected: ApplyStatus.REJECTED,
  expired: ApplyStatus.EXPIRED,
} as const satisfies Record<string, ApplyStatus>;

/** The first frame of a stream. */
export function helloFrame(greeting: Greeting): EncodedFrame {
  const value = create(HelloSchema, {
    minProtocolVersion: 1,
    maxProtocolVersion: 1,
    mcpId: greeting.mcpId,
    producerId: greeting.producerId,
    instanceVersion: greeting.instanceVersion,
    labels: { ...greeting.labels },
    capabilities: [
      ...capabilities,
      ...(greeting.reportsLoad ? [Capability.LOAD_REPORT] : []),
      ...(greeting.takesMcpConfig ? [Capability.MCP_CONFIG] : []),
    ],
    ackMode: greeting.ackMode === "each" ? AckMode.EACH : AckMode.COALESCED,
    firstUnackedSequence: BigInt(greeting.firstHeldSequence),
    resumeSessionId: greeting.resumeSessionId,
  });
  return encodeControlFrame({ case: "hello", value });
}

/** A sign of life. `sentAtMs` is wall time. */
export function heartbeatFrame(id: bigint, sentAtMs: number, heldEvents: number, routes: ClientRoutes | undefined): EncodedFrame {
  const applied = appliedOf(routes);
  const base = { id, outboxEvents: heldEvents, sentAt: timestampOf(sentAtMs) };
  return encodeControlFrame({ case: "heartbeat", value: create(HeartbeatSchema, applied === undefined ? base : { ...base, applied }) });
}

/** What became of new settings. `version` is that of the settings in force now; `reason` is for people and only for a rejection. */
export function configAckFrame(nonce: string, status: "applied" | "rejected", version: bigint, reason: string): EncodedFrame {
  return encodeControlFrame({
    case: "configAck",
    value: create(ConfigAckSchema, { nonce, version, status: applyStatuses[status], detail: reason }),
  });
}

/** A new key for the session. */
export function credentialRefreshFrame(token: string): EncodedFrame {
  return encodeControlFrame({ case: "credentialRefresh", value: create(CredentialRefreshSchema, { token }) });
}

/** What the MCP has to do. */
export function loadReportFrame(load: ClientLoad): EncodedFrame {
  return encodeControlFrame({ case: "loadReport", value: create(LoadReportSchema, load) });
}

/** What became of a routing update. `routes` is the table in force now; `reason` is for people and only for a rejection. */
export function routingAckFrame(
  nonce: string,
  status: keyof typeof applyStatuses,
  routes: ClientRoutes | undefined,
  reason: string,
  applyMs: number,
): EncodedFrame {
  const applied = appliedOf(routes);
  const base = {
    nonce,
    status: applyStatuses[status],
    applyTime: durationOf(applyMs),
    rejected: status === "rejected" ? [{ mcpId: "", reason }] : [],
  };
  return encodeControlFrame({ case: "routingAck", value: create(RoutingAckSchema, applied === undefined ? base : { ...base, applied }) });
}

function appliedOf(routes: ClientRoutes | undefined): AppliedRoutes | undefined {
  if (routes === undefined) return undefined;
  return create(AppliedRoutesSchema, { term: routes.term, version: routes.version, digest: routes.digest });
}

/** The configuration in a message; members that are absent are what the contract says they mean. */
export function mcpConfigOf(config: McpConfig): ClientMcpConfig {
  const { routing, collectionRules } = config;
  return {
    version: Number(config.version),
    heartbeatInterval: config.heartbeatInterval,
    dataReportInterval: config.dataReportInterval,
    priority: routing?.priority ?? 0,
    weight: routing?.weight ?? 0,
    maxConcurrentRequests: routing?.maxConcurrentRequests ?? 0,
    draining: routing?.draining ?? false,
    progressSampleRatio: collectionRules?.progressSampleRatio ?? 1,
    dropFields: collectionRules?.dropFields ?? [],
  };
}

/** `version` is what is in force now; `fault` undefined means that this is the one that was sent. */
export function mcpConfigAckFrame(nonce: string, version: number, fault: string | undefined): EncodedFrame {
  const status = fault === undefined ? ApplyStatus.APPLIED : ApplyStatus.REJECTED;
  const value = create(McpConfigAckSchema, { nonce, version: BigInt(version), status, detail: fault ?? "" });
  return encodeControlFrame({ case: "mcpConfigAck", value });
}
