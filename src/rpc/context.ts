import type { Principal } from "../auth/principal.js";

/** What every handler knows about its call, whatever protocol brought it. */
export type CallContext = {
  readonly principal: Principal;
  /** Aborts when the caller goes away, its deadline passes, or the coordinator stops. */
  readonly signal: AbortSignal;
  /** From `x-request-id`, or minted. */
  readonly requestId: string;
  /** Milliseconds left until the caller's deadline when the call began; undefined without one. */
  readonly timeoutMs: number | undefined;
};

/** A unary RPC, written once for gRPC, Connect and gRPC-Web. Throws CoordinatorError. */
export type UnaryHandler<I, O> = (request: I, context: CallContext) => Promise<O>;

/** A server-streaming RPC, written once. Ends when `context.signal` aborts. Throws CoordinatorError. */
export type ServerStreamHandler<I, O> = (request: I, context: CallContext) => AsyncIterable<O>;
