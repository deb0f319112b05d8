import type {
  DescMethod,
  DescMethodBiDiStreaming,
  DescMethodServerStreaming,
  DescMethodUnary,
  DescService,
  MessageShape,
} from "@bufbuild/protobuf";
import {
  type handleBidiStreamingCall,
  type handleServerStreamingCall,
  type handleUnaryCall,
  Metadata,
  type ServerDuplexStream,
  type ServerWritableStream,
  type UntypedServiceImplementation,
} from "@grpc/grpc-js";
import { assert } from "../platform/assert.js";
import { AnswersInHand } from "./answers-in-hand.js";
import { type Call, type CallDeps, openCall, untilAborted } from "./call.js";
import type { CallContext, ServerStreamHandler, UnaryHandler } from "./context.js";
import { type Decoded, type GrpcDefinition, grpcDefinition } from "./grpc-definition.js";
import { http2StreamOf } from "./http2-stream-of.js";
import { drainingError } from "./lifetime.js";
import { isQuery } from "./queries.js";
import { toGrpcStatus, undecodableError } from "./status.js";
import { createUndecodableLog, type UndecodableLog } from "./undecodable-log.js";

/**
 * A bidirectional RPC; grpc-js only. The call is authenticated and its response headers are sent. The handler owns the call from then on: it reads,
 * writes and ends it. `context.signal` aborts when the call is over for any reason, or when the grace period of a shutdown is.
 */
export type BidiHandler<I, O> = (call: ServerDuplexStream<Decoded<I>, O>, context: CallContext) => void;

type HandlerOf<M> =
  M extends DescMethodUnary<infer I, infer O>
    ? UnaryHandler<MessageShape<I>, MessageShape<O>>
    : M extends DescMethodServerStreaming<infer I, infer O>
      ? ServerStreamHandler<MessageShape<I>, MessageShape<O>>
      : never;

type BidiHandlerOf<M> = M extends DescMethodBiDiStreaming<infer I, infer O> ? BidiHandler<MessageShape<I>, MessageShape<O>> : never;

type BidiMethod<S extends DescService> = {
  [K in keyof S["method"]]: S["method"][K] extends DescMethodBiDiStreaming ? K : never;
}[keyof S["method"]];

/** Handlers of all unary and server-streaming RPCs of a service: what every port serves. A missing one does not compile. */
export type Handlers<S extends DescService> = { readonly [K in Exclude<keyof S["method"], BidiMethod<S>>]: HandlerOf<S["method"][K]> };

/** Handlers of the bidirectional RPCs of a service: what the gRPC port serves besides. */
export type BidiHandlers<S extends DescService> = { readonly [K in BidiMethod<S>]: BidiHandlerOf<S["method"][K]> };

/** A service ready for `createGrpcServer`. */
export type GrpcService = {
  readonly typeName: string;
  readonly definition: GrpcDefinition;
  readonly implementation: UntypedServiceImplementation;
  /** Of CallDeps. */
  readonly authenticate: CallDeps["authenticate"];
};

/**
 * Adapts the handlers of a service to grpc-js: each call is authenticated, gets a request id, and hears errors with google.rpc details.
 * `answers`: bounds the queries of one connection that are without an answer, over all services that share it.
 */
export function grpcService<S extends DescService>(
  deps: CallDeps,
  service: S,
  handlers: Handlers<S> & BidiHandlers<S>,
  answers: AnswersInHand = new AnswersInHand(Number.POSITIVE_INFINITY),
): GrpcService {
  // The types above tie each handler to its method; by name and at run time they are looked up without them.
  const byName = handlers as unknown as Readonly<Record<string, (...args: never[]) => unknown>>;
  const adapter: Adapter = { ...deps, logUndecodable: createUndecodableLog(deps.log), answers };
  const implementation: UntypedServiceImplementation = {};
  for (const method of service.methods) {
    const handler = byName[method.localName];
    assert(handler !== undefined, `${service.typeName}/${method.name} has a handler`);
    implementation[method.name] = adapt(adapter, method, handler);
  }
  return { typeName: service.typeName, definition: grpcDefinition(service), implementation, authenticate: deps.authenticate };
}

function adapt(adapter: Adapter, method: DescMethod, handler: unknown): UntypedServiceImplementation[string] {
  const rpc = `/${method.parent.typeName}/${method.name}`;
  switch (method.methodKind) {
    case "unary":
      return unaryToGrpc(adapter, rpc, isQuery(method), handler as UnaryHandler<unknown, unknown>); // by Handlers<S>
    case "server_streaming":
      return serverStreamToGrpc(adapter, rpc, handler as ServerStreamHandler<unknown, unknown>); // by Handlers<S>
    case "bidi_streaming":
      return bidiToGrpc(adapter, rpc, handler as BidiHandler<unknown, unknown>); // by BidiHandlers<S>
    case "client_streaming":
      throw new Error(`the contract has no client-streaming RPC, but ${rpc} is one`);
  }
}

/** What the adapted RPCs of one service share. */
type Adapter = CallDeps & { readonly logUndecodable: UndecodableLog; readonly answers: AnswersInHand };

/** A unary handler for grpc-js. */
function unaryToGrpc<I, O>(adapter: Adapter, rpc: string, isQuery: boolean, handler: UnaryHandler<I, O>): handleUnaryCall<Decoded<I>, O> {
  return (grpcCall, callback) => {
    const call = openGrpcCall(adapter, rpc, grpcCall, adapter.lifetime.stopping);
    const answer = async () => {
      const request = messageOf(adapter, rpc, call, grpcCall.request);
      const context = call.admit();
      if (isQuery) adapter.answers.enter(http2StreamOf(grpcCall));
      return handler(request, context);
    };
    untilAborted(answer(), call.signal)
      .then((response) => {
        grpcCall.sendMetadata(responseHeaders(adapter, call));
        callback(null, response);
      })
      // Translates whatever the handler threw, or the answer to it: a rejection that nobody hears would end the process.
      .catch((thrown: unknown) => callback(toGrpcStatus(call.refuse(thrown), call.requestId)))
      .finally(call.release);
  };
}

/**
 * A server-streaming handler for grpc-js. A message is asked of the handler only after the one before has left for the socket, so a slow reader holds
 * one message and whatever the handler keeps.
 */
function serverStreamToGrpc<I, O>(
  adapter: Adapter,
  rpc: string,
  handler: ServerStreamHandler<I, O>,
): handleServerStreamingCall<Decoded<I>, O> {
  return (grpcCall) => {
    const call = openGrpcCall(adapter, rpc, grpcCall, adapter.lifetime.draining);
    const pump = async () => {
      const context = call.admitStream();
      const messages = handler(messageOf(adapter, rpc, call, grpcCall.request), context);
      grpcCall.sendMetadata(responseHeaders(adapter, call));
      for await (const message of messages) {
        if (grpcCall.cancelled) return;
        await written(grpcCall, message, call.signal);
        if (call.signal.aborted) break; // that was the last word, even of a handler that overlooks its signal
      }
      call.throwIfRefused();
      if (adapter.lifetime.draining.aborted) throw drainingError();
    };
    pump()
      .then(
        () => grpcCall.end(),
        // Translates whatever the handler threw; grpc-js takes the status of a stream from its error event.
        (thrown: unknown) => grpcCall.emit("error", toGrpcStatus(call.refuse(thrown), call.requestId)),
      )
      .finally(call.release);
  };
}

/** A bidirectional handler for grpc-js. Response headers go out at once: grpcurl prints nothing before it has them. */
function bidiToGrpc<I, O>(adapter: Adapter, rpc: string, handler: BidiHandler<I, O>): handleBidiStreamingCall<Decoded<I>, O> {
  return (grpcCall) => {
    const call = openGrpcCall(adapter, rpc, grpcCall, adapter.lifetime.stopping);
    grpcCall.once("cancelled", call.release); // emitted at the end of every call, however it ended
    try {
      const context = call.admit();
      grpcCall.sendMetadata(responseHeaders(adapter, call));
      handler(grpcCall, context);
    } catch (thrown) {
      // Translates a refused credential, or a bug in the handler.
      grpcCall.emit("error", toGrpcStatus(call.refuse(thrown), call.requestId));
      grpcCall.resume(); // what the peer still sends is dropped, so that the stream can end
    }
  };
}

/** What grpc-js's calls have in common. */
type GrpcCall = {
  readonly metadata: Metadata;
  readonly getDeadline: () => Date | number;
  readonly once: (event: "cancelled", listener: () => void) => unknown;
};

function openGrpcCall(adapter: Adapter, rpc: string, grpcCall: GrpcCall, endedBy: AbortSignal): Call {
  const deadlineAtMs = Number(grpcCall.getDeadline());
  const timeoutMs = Number.isFinite(deadlineAtMs) ? Math.max(0, deadlineAtMs - Date.now()) : undefined; // grpc-js made it from Date.now()
  const authorization = firstText(grpcCall.metadata, "authorization");
  const call = openCall(adapter, { rpc, authorization, requestId: firstText(grpcCall.metadata, "x-request-id"), timeoutMs }, endedBy);
  grpcCall.once("cancelled", call.cancel);
  return call;
}

function firstText(metadata: Metadata, name: string): string | undefined {
  const [value] = metadata.get(name);
  return typeof value === "string" ? value : undefined;
}

function responseHeaders(adapter: Adapter, call: Call): Metadata {
  const metadata = new Metadata();
  metadata.set("x-request-id", call.requestId);
  metadata.set("x-coordinator-node", adapter.coordinatorId);
  return metadata;
}

/** The request itself. Throws the refusal when the bytes are no message, and writes them down. */
function messageOf<I>(adapter: Adapter, rpc: string, call: Call, request: Decoded<I>): I {
  if (request.kind === "message") return request.message;
  adapter.logUndecodable(request, { rpc, requestId: call.requestId });
  throw undecodableError(request);
}

/**
 * Writes one message and waits until it has left for the socket, or until the call is over: after a cancellation grpc-js never calls back
 * (server-interceptors.ts, checkCancelled), and a wait on the callback alone would leak the call.
 */
function written<I, O>(grpcCall: ServerWritableStream<I, O>, message: O, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      signal.removeEventListener("abort", done);
      resolve();
    };
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", done, { once: true });
    grpcCall.write(message, done);
  });
}
