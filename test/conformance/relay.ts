import { randomUUID } from "node:crypto";
import { constants } from "node:http2";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { Client, type ClientDuplexStream, credentials, Metadata, status } from "@grpc/grpc-js";
import {
  type StreamInteractionsRequest,
  StreamInteractionsRequestSchema,
  type StreamInteractionsResponse,
  StreamInteractionsResponseSchema,
} from "../../gen/mcp/coordinator/v1/interaction_service_pb.js";
import { http2StreamOf } from "../../src/rpc/http2-stream-of.js";
import { type ServedStream, startStreamServer, streamPath } from "../support/stream-server.js";

export type UpFrame = StreamInteractionsRequest["frame"];
export type DownFrame = StreamInteractionsResponse["frame"];
/** Who ended a stream first. */
export type EndedBy = "client" | "coordinator" | "relay";

/** One stream between a client and a coordinator, seen from between. */
export type RelayedStream = {
  /** 0 for the first stream of the relay. */
  readonly index: number;
  /** The same for two streams on one connection of the client. */
  readonly connection: string;
  readonly authorization: string;
  readonly toClient: (frame: DownFrame) => void;
  readonly toCoordinator: (frame: UpFrame) => void;
  /** Tells the client's connection to take no more streams, as a coordinator does that drains. */
  readonly retireConnection: () => void;
};

/** What is done with a frame instead of passing it on: nothing comes of an empty list. */
export type Bend = {
  /** Everything from the coordinator, the end too, arrives so much later. Default 0. */
  readonly downDelayMs?: number;
  readonly opened?: (stream: RelayedStream) => void;
  readonly up?: (stream: RelayedStream, frame: UpFrame) => readonly UpFrame[];
  readonly down?: (stream: RelayedStream, frame: DownFrame) => readonly DownFrame[];
  readonly halfClosed?: (stream: RelayedStream) => void;
  readonly ended?: (stream: RelayedStream, by: EndedBy, code: number) => void;
};

export type Relay = { readonly port: number; readonly stop: () => void };

/**
 * A real gRPC server that brings each stream to a coordinator, frame by frame, through `bend`. `upstream` is asked at every stream; without one the
 * stream ends with UNAVAILABLE, as behind a load balancer whose servers are gone.     Errors: when no port is to be had.
 */
export function startRelay(upstream: () => string | undefined, bend: Bend): Promise<Relay> {
  return startStreamServer((call, index) => relayStream(call, index, upstream(), bend));
}

type CoordinatorSide = ClientDuplexStream<StreamInteractionsRequest, StreamInteractionsResponse>;

function relayStream(call: ServedStream, index: number, upstream: string | undefined, bend: Bend): void {
  const authorization = String(call.metadata.get("authorization")[0] ?? "");
  let far: { readonly call: CoordinatorSide; readonly close: () => void } | undefined;
  let isOver = false;
  const stream: RelayedStream = {
    index,
    connection: connectionOf(call),
    authorization,
    toClient: (frame) => {
      if (!isOver) call.write(create(StreamInteractionsResponseSchema, { frame }));
    },
    toCoordinator: (frame) => {
      if (!isOver) far?.call.write(create(StreamInteractionsRequestSchema, { frame }));
    },
    retireConnection: () => http2StreamOf(call)?.session?.goaway(constants.NGHTTP2_NO_ERROR),
  };
  const end = (by: EndedBy, code: number, tellClient: () => void): void => {
    if (isOver) return;
    isOver = true;
    tellClient();
    far?.close();
    bend.ended?.(stream, by, code);
  };
  call.on("error", () => {}); // "cancelled" tells
  bend.opened?.(stream);
  if (upstream === undefined) {
    const error = { code: status.UNAVAILABLE, details: "no coordinator behind the relay" };
    end("relay", status.UNAVAILABLE, () => call.emit("error", error));
    return;
  }
  far = openFarSide(upstream, authorization);
  call.sendMetadata(new Metadata()); // a client that waits for headers must have them before the first frame
  call.on("data", (request: StreamInteractionsRequest) => {
    for (const frame of bend.up?.(stream, request.frame) ?? [request.frame]) stream.toCoordinator(frame);
  });
  call.on("end", () => {
    bend.halfClosed?.(stream);
    far?.call.end();
  });
  call.on("cancelled", () => end("client", status.CANCELLED, () => {}));
  // Timers of one delay run in the order in which they were set.
  const later = (task: () => void): void => void setTimeout(task, bend.downDelayMs ?? 0);
  far.call.on("data", ({ frame: sent }: StreamInteractionsResponse) =>
    later(() => {
      if (!isOver) for (const frame of bend.down?.(stream, sent) ?? [sent]) stream.toClient(frame);
    }),
  );
  far.call.on("error", () => {}); // "status" tells
  far.call.on("status", ({ code, details, metadata }) =>
    later(() =>
      end("coordinator", code, () => {
        if (code === status.OK) call.end();
        else call.emit("error", { code, details, metadata });
      }),
    ),
  );
}

function openFarSide(target: string, authorization: string): { readonly call: CoordinatorSide; readonly close: () => void } {
  const client = new Client(target, credentials.createInsecure(), { "grpc.use_local_subchannel_pool": 1, "grpc.enable_retries": 0 });
  const metadata = new Metadata();
  if (authorization !== "") metadata.set("authorization", authorization);
  const call = client.makeBidiStreamRequest(
    streamPath,
    (value: StreamInteractionsRequest) => Buffer.from(toBinary(StreamInteractionsRequestSchema, value)),
    (bytes: Buffer) => fromBinary(StreamInteractionsResponseSchema, bytes),
    metadata,
  );
  return {
    call,
    close: () => {
      call.cancel();
      client.close();
    },
  };
}

const connections = new WeakMap<object, string>();

/** A name for the HTTP/2 connection of a call. */
function connectionOf(call: ServedStream): string {
  const session = http2StreamOf(call)?.session;
  if (session === undefined) return randomUUID();
  const known = connections.get(session) ?? randomUUID();
  connections.set(session, known);
  return known;
}
