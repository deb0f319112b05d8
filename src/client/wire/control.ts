import { create } from "@bufbuild/protobuf";
import { type McpConfig, McpConfigAckSchema } from "../../../gen/mcp/coordinator/v1/mcp_config_pb.js";
import {
  type AppliedRoutes,
  AppliedRoutesSchema,
  ApplyStatus,
  RoutingAckSchema,
  RoutingRejection,
} from "../../../gen/mcp/coordinator/v1/routes_pb.js";
import {
  AckMode,
  Capability,
  ConfigAckSchema,
  CredentialRefreshSchema,
  HeartbeatSchema,
  HelloSchema,
  LoadReportSchema,
} from "../../../gen/mcp/coordinator/v1/session_pb.js";
import type { ObservedShare } from "../local-router.js";
import type { ClientRoutes, TargetVerdict } from "../routes.js";
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

/** A sign of life. `sentAtMs` is wall time; `observed` is where requests went since the one before. */
export function heartbeatFrame(
  id: bigint,
  sentAtMs: number,
  heldEvents: number,
  routes: ClientRoutes | undefined,
  observed: readonly ObservedShare[],
): EncodedFrame {
  const applied = appliedOf(routes);
  const base = {
    id,
    outboxEvents: heldEvents,
    sentAt: timestampOf(sentAtMs),
    observed: observed.map(({ mcpId, share, requests }) => ({ mcpId, share, requests: BigInt(requests) })),
  };
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

const rejections = {
  content: RoutingRejection.CONTENT,
  out_of_sync: RoutingRejection.OUT_OF_SYNC,
  stale_epoch: RoutingRejection.STALE_EPOCH,
} as const satisfies Record<string, RoutingRejection>;

/** What a client did with an update. */
export type RoutingAnswer =
  | { readonly status: "applied" | "expired" }
  | { readonly status: "rejected"; readonly rejection: keyof typeof rejections; readonly verdicts: readonly TargetVerdict[] };

/** What became of a routing update. `routes` is the table in force now. */
export function routingAckFrame(nonce: string, answer: RoutingAnswer, routes: ClientRoutes | undefined, applyMs: number): EncodedFrame {
  const applied = appliedOf(routes);
  const base = { nonce, status: applyStatuses[answer.status], applyTime: durationOf(applyMs) };
  const refusal =
    answer.status === "rejected"
      ? { rejection: rejections[answer.rejection], rejected: answer.verdicts.map(({ mcpId, reason }) => ({ mcpId, reason })) }
      : {};
  const value = create(RoutingAckSchema, applied === undefined ? { ...base, ...refusal } : { ...base, ...refusal, applied });
  return encodeControlFrame({ case: "routingAck", value });
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
