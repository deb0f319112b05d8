import { create } from "@bufbuild/protobuf";
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
};

/** What the MCP has to do: interactions being worked on, interactions waiting inside of it, and the share of its capacity in use. */
export type ClientLoad = { readonly inFlight: number; readonly queued: number; readonly utilization: number };

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
    capabilities: greeting.reportsLoad ? [...capabilities, Capability.LOAD_REPORT] : capabilities,
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
