import { create, toBinary } from "@bufbuild/protobuf";
import { type StreamInteractionsRequest, StreamInteractionsResponseSchema } from "../../gen/mcp/coordinator/v1/interaction_service_pb.js";
import type { RoutingUpdate } from "../../gen/mcp/coordinator/v1/routes_pb.js";
import {
  AckMode,
  Capability,
  DrainReason,
  type EventAckBatch,
  EventAckBatchSchema,
  type FlowControl,
  type Hello,
  Pressure,
  ResumeStatus,
  type SequenceRange,
  WelcomeSchema,
} from "../../gen/mcp/coordinator/v1/session_pb.js";
import type { Draft } from "../interaction/event.js";
import type { McpConfigAnswer } from "../interaction/mcp-config.js";
import { unreachable } from "../platform/assert.js";
import type { AppliedRoutes, ObservedShare, RoutingAck } from "../smart-router/table.js";
import { type AckView, ackToProto, statusToProto } from "./ack.js";
import { encodedOf, messageField, setEncoded } from "./encoded.js";
import { draftFromProto, draftsFromProto } from "./event.js";
import { mcpConfigAnswerFromProto } from "./mcp-config.js";
import { appliedFromProto, observedFromProto, routingAckFromProto } from "./routes.js";
import { respond, type ServerFrame } from "./server-frame.js";
import {
  type ConfigAck,
  configAckFromProto,
  type LoadReport,
  loadReportFromProto,
  type SessionSettings,
  settingsToProto,
} from "./session-terms.js";
import { durationFromMs, timestampFromMs } from "./time.js";

/** What a Hello says, in domain words. Empty strings mean absent. */
export type Greeting = {
  readonly minVersion: number;
  readonly maxVersion: number;
  readonly mcpId: string;
  readonly producerId: string;
  readonly instanceVersion: string;
  readonly capabilities: ReadonlySet<CapabilityName>;
  readonly ackMode: "each" | "coalesced";
  readonly firstUnackedSequence: bigint;
  readonly labels: Readonly<Record<string, string>>;
  readonly resumeSessionId: string;
};

export type CapabilityName = "heartbeat" | "flow_control" | "routing" | "config" | "drain" | "load_report" | "mcp_config";

/** One frame from a client. `unknown` is an empty oneof, which is also what a member looks like that we do not know yet. */
export type ClientFrame =
  | { readonly kind: "hello"; readonly greeting: Greeting }
  | { readonly kind: "events"; readonly drafts: readonly Draft[] }
  | {
      readonly kind: "heartbeat";
      readonly id: bigint;
      /** The routing table in force at the client; undefined when it told none. */
      readonly applied?: AppliedRoutes | undefined;
      readonly observed?: readonly ObservedShare[];
    }
  | { readonly kind: "routing_ack"; readonly ack: RoutingAck }
  | { readonly kind: "config_ack"; readonly ack: ConfigAck }
  | { readonly kind: "credential_refresh"; readonly token: string }
  | { readonly kind: "load_report"; readonly report: LoadReport }
  | { readonly kind: "mcp_config_ack"; readonly answer: McpConfigAnswer }
  | { readonly kind: "unknown" };

/** Reads a decoded frame. `bytes` is its encoded length. */
export function parseClientFrame(request: StreamInteractionsRequest, bytes: number): ClientFrame {
  const { frame } = request;
  switch (frame.case) {
    case "hello":
      return { kind: "hello", greeting: parseHello(frame.value) };
    case "event":
      return { kind: "events", drafts: [draftFromProto(frame.value, bytes)] };
    case "eventBatch":
      return { kind: "events", drafts: draftsFromProto(frame.value.events, bytes) };
    case "heartbeat":
      return {
        kind: "heartbeat",
        id: frame.value.id,
        applied: appliedFromProto(frame.value.applied),
        observed: observedFromProto(frame.value.observed),
      };
    case "routingAck":
      return parseRoutingAck(routingAckFromProto(frame.value));
    case "configAck":
      return parseConfigAck(configAckFromProto(frame.value));
    case "credentialRefresh":
      return { kind: "credential_refresh", token: frame.value.token };
    case "loadReport":
      return { kind: "load_report", report: loadReportFromProto(frame.value) };
    case "mcpConfigAck":
      return parseMcpConfigAck(mcpConfigAnswerFromProto(frame.value));
    case undefined:
      return { kind: "unknown" };
    default:
      return unreachable(frame);
  }
}

/** An ack with a status that is not known here is a frame that is not known here. */
function parseRoutingAck(ack: RoutingAck | undefined): ClientFrame {
  return ack === undefined ? { kind: "unknown" } : { kind: "routing_ack", ack };
}

function parseConfigAck(ack: ConfigAck | undefined): ClientFrame {
  return ack === undefined ? { kind: "unknown" } : { kind: "config_ack", ack };
}

function parseMcpConfigAck(answer: McpConfigAnswer | undefined): ClientFrame {
  return answer === undefined ? { kind: "unknown" } : { kind: "mcp_config_ack", answer };
}

const capabilityNames = {
  [Capability.UNSPECIFIED]: undefined,
  [Capability.HEARTBEAT]: "heartbeat",
  [Capability.FLOW_CONTROL]: "flow_control",
  [Capability.ROUTING]: "routing",
  [Capability.CONFIG]: "config",
  [Capability.DRAIN]: "drain",
  [Capability.LOAD_REPORT]: "load_report",
  [Capability.MCP_CONFIG]: "mcp_config",
} as const satisfies Record<Capability, CapabilityName | undefined>;

const capabilitiesToProto = {
  heartbeat: Capability.HEARTBEAT,
  flow_control: Capability.FLOW_CONTROL,
  routing: Capability.ROUTING,
  config: Capability.CONFIG,
  drain: Capability.DRAIN,
  load_report: Capability.LOAD_REPORT,
  mcp_config: Capability.MCP_CONFIG,
} as const satisfies Record<CapabilityName, Capability>;

function parseHello(hello: Hello): Greeting {
  const capabilities = new Set<CapabilityName>();
  for (const capability of hello.capabilities) {
    const name = capabilityNames[capability]; // undefined too for one that a newer client names
    if (name !== undefined) capabilities.add(name);
  }
  return {
    minVersion: hello.minProtocolVersion === 0 ? 1 : hello.minProtocolVersion,
    maxVersion: hello.maxProtocolVersion === 0 ? 1 : hello.maxProtocolVersion,
    mcpId: hello.mcpId,
    producerId: hello.producerId,
    instanceVersion: hello.instanceVersion,
    capabilities,
    ackMode: hello.ackMode === AckMode.COALESCED ? "coalesced" : "each",
    firstUnackedSequence: hello.firstUnackedSequence,
    labels: hello.labels,
    resumeSessionId: hello.resumeSessionId,
  };
}

/** Why a window is what it is. */
export type PressureName = "none" | "busy" | "storage_unavailable" | "memory";

export const pressureToProto = {
  none: Pressure.NONE,
  busy: Pressure.BUSY,
  storage_unavailable: Pressure.STORAGE_UNAVAILABLE,
  memory: Pressure.MEMORY,
} as const satisfies Record<PressureName, Pressure>;

/** A window. Absolute values. */
export type Window = { readonly version: number; readonly maxEvents: number; readonly maxBytes: number; readonly pressure: PressureName };

/** What a Welcome says, in domain words. */
export type Welcome = {
  readonly sessionId: string;
  readonly coordinatorId: string;
  readonly producerEpoch: number;
  readonly resumeAfterSequence: bigint;
  readonly resumeStatus: "none" | "new" | "resumed" | "too_old" | "unknown_producer";
  readonly capabilities: ReadonlySet<CapabilityName>;
  readonly settings: SessionSettings;
  readonly window: Window;
  readonly routing: RoutingUpdate | undefined;
  readonly serverTimeMs: number;
  readonly authenticatedMcpId: string;
};

const resumeStatusToProto = {
  none: ResumeStatus.UNSPECIFIED,
  new: ResumeStatus.NEW,
  resumed: ResumeStatus.RESUMED,
  too_old: ResumeStatus.TOO_OLD,
  unknown_producer: ResumeStatus.UNKNOWN_PRODUCER,
} as const satisfies Record<Welcome["resumeStatus"], ResumeStatus>;

/** Why a stream is drained. */
export type DrainReasonName = "shutdown" | "session_age" | "credential_expiry" | "fenced";

const drainReasonToProto = {
  shutdown: DrainReason.SHUTDOWN,
  session_age: DrainReason.SESSION_AGE,
  credential_expiry: DrainReason.CREDENTIAL_EXPIRY,
  fenced: DrainReason.FENCED,
} as const satisfies Record<DrainReasonName, DrainReason>;

export function welcomeFrame(welcome: Welcome): ServerFrame {
  const message = create(WelcomeSchema, {
    protocolVersion: 1,
    sessionId: welcome.sessionId,
    coordinatorId: welcome.coordinatorId,
    producerEpoch: BigInt(welcome.producerEpoch),
    resumeAfterSequence: welcome.resumeAfterSequence,
    resumeStatus: resumeStatusToProto[welcome.resumeStatus],
    capabilities: [...welcome.capabilities].map((name) => capabilitiesToProto[name]),
    config: settingsToProto(welcome.settings),
    flowControl: windowToProto(welcome.window),
    serverTime: timestampFromMs(welcome.serverTimeMs),
    authenticatedMcpId: welcome.authenticatedMcpId,
  });
  const frame = respond({ case: "welcome", value: message });
  if (welcome.routing === undefined) return frame;
  // A fleet that reconnects gets the same table a thousand times: it is not encoded again.
  const routing = encodedOf(welcome.routing);
  if (routing !== undefined) {
    const parts = [toBinary(WelcomeSchema, message), messageField(WelcomeSchema.field.routing.number, [routing])];
    setEncoded(frame, messageField(StreamInteractionsResponseSchema.field.welcome.number, parts));
  }
  message.routing = welcome.routing;
  return frame;
}

export function eventAckFrame(ack: AckView): ServerFrame {
  return respond({ case: "eventAck", value: ackToProto(ack) });
}

/** Acks of a coalescing session. `timing` in milliseconds. */
export type AckBatchView = {
  readonly resolvedThrough: bigint;
  readonly ranges: readonly { readonly first: bigint; readonly last: bigint; readonly status: AckView["status"] }[];
  readonly exceptions: readonly AckView[];
  readonly timing: { readonly queueWaitMs: number; readonly commitMs: number; readonly batchEvents: number } | undefined;
};

/** Built by hand and not by init objects: this is the one frame that is written tens of thousands of times a second. */
export function ackBatchFrame(view: AckBatchView): ServerFrame {
  const batch: EventAckBatch = create(EventAckBatchSchema);
  batch.resolvedThroughSequence = view.resolvedThrough;
  for (const range of view.ranges) {
    const message: SequenceRange = {
      $typeName: "mcp.coordinator.v1.SequenceRange",
      first: range.first,
      last: range.last,
      status: statusToProto[range.status],
    };
    batch.ranges.push(message);
  }
  for (const exception of view.exceptions) batch.exceptions.push(ackToProto(exception));
  if (view.timing !== undefined) {
    batch.timing = {
      $typeName: "mcp.coordinator.v1.AckTiming",
      queueWait: durationFromMs(Math.max(0, view.timing.queueWaitMs)),
      commitTime: durationFromMs(Math.max(0, view.timing.commitMs)),
      batchEvents: view.timing.batchEvents,
    };
  }
  return respond({ case: "eventAckBatch", value: batch });
}

export function flowControlFrame(window: Window): ServerFrame {
  return respond({ case: "flowControl", value: windowToProto(window) });
}

export function routingUpdateFrame(update: RoutingUpdate): ServerFrame {
  const frame = respond({ case: "routingUpdate", value: update });
  const encoded = encodedOf(update);
  if (encoded !== undefined) setEncoded(frame, messageField(StreamInteractionsResponseSchema.field.routingUpdate.number, [encoded]));
  return frame;
}

/** `isConnectionRetired`: the connection takes no more streams, so the client must reconnect on another. */
export function drainNoticeFrame(
  reason: DrainReasonName,
  deadlineMs: number,
  reconnectDelayMs: number,
  isConnectionRetired: boolean,
): ServerFrame {
  return respond({
    case: "drainNotice",
    value: {
      reason: drainReasonToProto[reason],
      deadline: durationFromMs(Math.max(0, deadlineMs)),
      reconnectDelay: durationFromMs(reconnectDelayMs),
      newConnection: isConnectionRetired,
    },
  });
}

/** Repeats the newest state of a session. */
export type HeartbeatAnswer = {
  readonly id: bigint;
  readonly receivedAtMs: number;
  readonly resolvedThrough: bigint;
  readonly window: Window;
  readonly routingVersion: number;
  readonly configVersion: number;
};

export function heartbeatAckFrame(answer: HeartbeatAnswer): ServerFrame {
  return respond({
    case: "heartbeatAck",
    value: {
      id: answer.id,
      receivedAt: timestampFromMs(answer.receivedAtMs),
      resolvedThroughSequence: answer.resolvedThrough,
      flowControl: windowToProto(answer.window),
      routingVersion: BigInt(answer.routingVersion),
      configVersion: BigInt(answer.configVersion),
    },
  });
}

export type NoticeCode = "UNKNOWN_FRAME" | "DEADLINE_ON_STREAM" | "ACK_IGNORED" | "LOAD_IGNORED";

export function noticeFrame(code: NoticeCode, message: string): ServerFrame {
  return respond({ case: "serverNotice", value: { code, message } });
}

function windowToProto(window: Window): FlowControl {
  return {
    $typeName: "mcp.coordinator.v1.FlowControl",
    version: BigInt(window.version),
    maxUnackedEvents: window.maxEvents,
    maxUnackedBytes: BigInt(window.maxBytes),
    pressure: pressureToProto[window.pressure],
  };
}
