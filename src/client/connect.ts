import { type DescMethodUnary, type DescService, fromBinary, type MessageShape, toBinary } from "@bufbuild/protobuf";
import { type CallOptions, Client, type ClientDuplexStream, credentials, Metadata, type ServiceError } from "@grpc/grpc-js";
import { InteractionService, type StreamInteractionsResponse } from "../../gen/mcp/coordinator/v1/interaction_service_pb.js";
import type { QueryService } from "../../gen/mcp/coordinator/v1/query_service_pb.js";
import type { RoutingService } from "../../gen/mcp/coordinator/v1/routing_service_pb.js";
import { CoordinatorError } from "../platform/errors.js";
import { limits } from "../platform/limits.js";
import { usableKey } from "./api-key.js";
import { parseTargets, targetFault } from "./target.js";
import { openTls, type Tls } from "./tls.js";
import { tlsFaultOfStream } from "./transports/explain.js";
import { decodeFrame, type EncodedFrame } from "./wire/frames.js";

/** Where a coordinator is and how to be let in. */
export type Endpoint = {
  /**
   * "host:port", or several with commas between them: coordinators on one store. A session goes to the next one each time its stream has ended, in
   * the order given, and begins again after the last; give clients different orders to spread them. Unary calls go to the first.
   * "https://host:port" speaks TLS and "http://host:port" does not, whatever `tls` is.
   */
  readonly target: string;
  /** Bearer key; undefined where the server runs without keys. */
  readonly key: string | undefined;
  /** TLS to targets that do not say by a scheme whether they want it; undefined means plain text to those, and what Node trusts to the others. */
  readonly tls?: Tls | undefined;
};

/** The stream of one session: encoded frames out, decoded frames in. */
export type SessionCall = ClientDuplexStream<EncodedFrame, StreamInteractionsResponse>;

/** One connection to a coordinator: never shared with another Connection, so that one paused stream cannot starve the others. */
export type Connection = {
  readonly openSession: () => SessionCall;
  /** Calls a unary method. Rejects with grpc-js's ServiceError; where there was no TLS to be had, its details name the fault and the next step. */
  readonly call: <M extends UnaryMethod>(
    method: M,
    request: MessageShape<M["input"]>,
    deadlineMs: number,
  ) => Promise<MessageShape<M["output"]>>;
  readonly close: () => void;
};

/** The unary methods that clients of ours call. */
export type UnaryMethod =
  | typeof InteractionService.method.verifyEvents
  | typeof QueryService.method.listInteractions
  | typeof RoutingService.method.selectMcp
  | typeof RoutingService.method.explainDecision
  | typeof RoutingService.method.listDecisions
  | typeof RoutingService.method.getRoutingConfig
  | typeof RoutingService.method.setRoutingConfig
  | typeof RoutingService.method.auditDecision
  | typeof RoutingService.method.getRoutes;

/** grpc-js settings of a client with long streams. Source: design of the protocol; reasons beside each. */
const channelOptions = {
  // Each Connection its own socket: HTTP/2's connection window is shared by all streams of a socket.
  "grpc.use_local_subchannel_pool": 1,
  // A retrying call keeps a copy of everything written (grpc-node issue 2371); sessions resend by themselves.
  "grpc.enable_retries": 0,
  "grpc.enable_channelz": 0,
  // Finds a half-open connection below the session's heartbeats; more often than 60 s some servers answer with GOAWAY.
  "grpc.keepalive_time_ms": 60_000,
  "grpc.keepalive_timeout_ms": 20_000,
  "grpc-node.flow_control_window": limits.http2StreamWindowBytes,
  "grpc.max_receive_message_length": limits.frameMaxBytes,
  // The session has its own backoff; the channel's must not add minutes to it.
  "grpc.initial_reconnect_backoff_ms": limits.reconnectBackoff.firstMs,
  "grpc.min_reconnect_backoff_ms": limits.reconnectBackoff.firstMs,
  "grpc.max_reconnect_backoff_ms": 1_000,
};

const streamPath = pathOf(InteractionService, InteractionService.method.streamInteractions.name);
const identity = (frame: EncodedFrame): Buffer => Buffer.from(frame.buffer, frame.byteOffset, frame.byteLength);

/** Whether a session that lost its coordinator has another one to go to. */
export const hasAlternatives = ({ target }: Endpoint): boolean => target.includes(",");

/**
 * Prepares a connection; nothing is sent before the first call. `turn` counts the connections of one owner, and chooses among several targets.
 * Errors: `invalid` FIELD_VIOLATION for a target that is none, and for a key that no header can carry: here, and not in the timer that opens a stream, where nobody could
 * catch it.
 */
export function createConnection(endpoint: Endpoint, turn = 0): Connection {
  const key = keyOf(endpoint);
  const client = openChannel(endpoint, turn);
  const metadata = () => {
    const made = new Metadata();
    if (key !== undefined) made.set("authorization", `Bearer ${key}`);
    return made;
  };
  return {
    // No deadline on purpose: a session lives as long as its process.
    openSession: () => client.makeBidiStreamRequest(streamPath, identity, decodeFrame, metadata()),
    call: (method, request, deadlineMs) => callUnary(client, method, request, metadata(), { deadline: Date.now() + deadlineMs }),
    close: () => client.close(),
  };
}

function keyOf({ key: text }: Endpoint): string | undefined {
  if (text === undefined || text.trim() === "") return undefined;
  const key = usableKey(text);
  if (key !== undefined) return key;
  const description = "must be one line of printable ASCII";
  throw new CoordinatorError("invalid", `the key ${description}`, {
    reason: "FIELD_VIOLATION",
    fields: [{ field: "key", reason: "UNSUPPORTED_CHARACTER", description }],
  });
}

function openChannel({ target: named, tls }: Endpoint, turn: number): Client {
  const targets = parseTargets(named);
  if (targets === undefined) throw noTarget(named);
  const { address, isSecure = tls !== undefined } = targets[turn % targets.length] ?? targets[0];
  if (!isSecure) return new Client(address, credentials.createInsecure(), channelOptions);
  const { context, serverName } = tls ?? openTls({});
  const naming = serverName === undefined ? {} : { "grpc.ssl_target_name_override": serverName, "grpc.default_authority": serverName };
  return new Client(address, credentials.createFromSecureContext(context), { ...channelOptions, ...naming });
}

function noTarget(named: string): CoordinatorError {
  const description = targetFault(named);
  const fields = [{ field: "target", reason: "MALFORMED", description }];
  return new CoordinatorError("invalid", `the target ${description}`, { reason: "FIELD_VIOLATION", fields });
}

function callUnary<M extends UnaryMethod>(
  client: Client,
  method: M,
  request: MessageShape<M["input"]>,
  metadata: Metadata,
  options: CallOptions,
): Promise<MessageShape<M["output"]>> {
  const description: DescMethodUnary = method;
  return new Promise((resolve, reject) => {
    client.makeUnaryRequest(
      pathOf(method.parent, method.name),
      (value: MessageShape<M["input"]>) => Buffer.from(toBinary(description.input, value)),
      // The descriptor of M's output decodes M's output; the generic link is lost by widening to DescMethodUnary.
      (bytes: Buffer) => fromBinary(description.output, bytes, { recursionLimit: limits.decodeMaxDepth }) as MessageShape<M["output"]>,
      request,
      metadata,
      options,
      (error: ServiceError | null, value?: MessageShape<M["output"]>) => {
        if (error !== null) reject(explained(error));
        else if (value === undefined) reject(new Error(`${method.name} answered OK without a message`));
        else resolve(value);
      },
    );
  });
}

/** A call that found no TLS says which fault it was and what to do, in place of the stack's words about connecting. */
function explained(error: ServiceError): ServiceError {
  const fault = tlsFaultOfStream(error);
  return fault === undefined ? error : Object.assign(error, { details: fault.why, message: fault.why });
}

function pathOf(service: DescService, method: string): string {
  return `/${service.typeName}/${method}`;
}
