import { type DescMethodUnary, type DescService, fromBinary, type MessageShape, toBinary } from "@bufbuild/protobuf";
import { type CallOptions, Client, type ClientDuplexStream, credentials, Metadata, type ServiceError } from "@grpc/grpc-js";
import { InteractionService, type StreamInteractionsResponse } from "../../gen/mcp/coordinator/v1/interaction_service_pb.js";
import type { QueryService } from "../../gen/mcp/coordinator/v1/query_service_pb.js";
import type { RoutingService } from "../../gen/mcp/coordinator/v1/routing_service_pb.js";
import { CoordinatorError } from "../platform/errors.js";
import { limits } from "../platform/limits.js";
import { parseBearerKey } from "./bearer-key.js";
import { decodeFrame, type EncodedFrame } from "./wire/frames.js";

/** Where a coordinator is and how to be let in. */
export type Endpoint = {
  /**
   * "host:port", or several with commas between them: coordinators on one store. A session goes to the next one each time its stream has ended, in
   * the order given, and begins again after the last; give clients different orders to spread them. Unary calls go to the first.
   */
  readonly target: string;
  /** Bearer key; undefined where the server runs without keys. */
  readonly key: string | undefined;
  /** PEM of the authorities to trust; undefined means plaintext. */
  readonly caPem?: string | undefined;
};

/** The stream of one session: encoded frames out, decoded frames in. */
export type SessionCall = ClientDuplexStream<EncodedFrame, StreamInteractionsResponse>;

/** One connection to a coordinator: never shared with another Connection, so that one paused stream cannot starve the others. */
export type Connection = {
  readonly openSession: () => SessionCall;
  /** Calls a unary method. Rejects with grpc-js's ServiceError. */
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

/** The targets of an endpoint; a comma too many names none. */
const targetsOf = ({ target }: Endpoint): readonly string[] =>
  target
    .split(",")
    .map((one) => one.trim())
    .filter((one) => one !== "");

/** Whether a session that lost its coordinator has another one to go to. */
export const hasAlternatives = (endpoint: Endpoint): boolean => targetsOf(endpoint).length > 1;

/**
 * Prepares a connection; nothing is sent before the first call. `turn` counts the connections of one owner, and chooses among several targets.
 * Errors: `invalid` for a key that no header can carry: here, and not in the timer that opens a stream, where nobody could catch it.
 */
export function createConnection(endpoint: Endpoint, turn = 0): Connection {
  const targets = targetsOf(endpoint);
  const target = targets[turn % targets.length] ?? endpoint.target;
  const security = endpoint.caPem === undefined ? credentials.createInsecure() : credentials.createSsl(Buffer.from(endpoint.caPem));
  const client = new Client(target, security, channelOptions);
  const key = keyOf(endpoint);
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
  if (text === undefined) return undefined;
  const key = parseBearerKey(text);
  if (key !== undefined) return key;
  const description = "must be one line of visible ASCII characters";
  throw new CoordinatorError("invalid", `the key ${description}`, {
    reason: "FIELD_VIOLATION",
    fields: [{ field: "key", reason: "UNSUPPORTED_CHARACTER", description }],
  });
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
        if (error !== null) reject(error);
        else if (value === undefined) reject(new Error(`${method.name} answered OK without a message`));
        else resolve(value);
      },
    );
  });
}

function pathOf(service: DescService, method: string): string {
  return `/${service.typeName}/${method}`;
}
