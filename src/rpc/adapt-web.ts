import type { DescMethodServerStreaming, DescMethodUnary, DescService } from "@bufbuild/protobuf";
import type { ConnectRouter, HandlerContext } from "@connectrpc/connect";
import { assert } from "../platform/assert.js";
import type { Handlers } from "./adapt-grpc.js";
import { type Call, type CallDeps, openCall, untilAborted } from "./call.js";
import type { ServerStreamHandler, UnaryHandler } from "./context.js";
import { drainingError } from "./lifetime.js";
import { toConnectError } from "./status.js";

/** A service ready for `createWebServer`. */
export type WebService = {
  readonly service: DescService;
  /** Adds its unary and server-streaming RPCs. */
  readonly route: (router: ConnectRouter) => void;
  /** Of CallDeps. */
  readonly authenticate: CallDeps["authenticate"];
};

/** Adapts the handlers of a service to Connect and gRPC-Web: each call is authenticated, gets a request id, and hears errors with google.rpc details. */
export function webService<S extends DescService>(deps: CallDeps, service: S, handlers: Handlers<S>): WebService {
  // Handlers<S> ties each handler to its method; by name and at run time they are looked up without it.
  const byName = handlers as unknown as Readonly<Record<string, unknown>>;
  const route = (router: ConnectRouter) => {
    for (const method of service.methods) {
      const handler = byName[method.localName];
      switch (method.methodKind) {
        case "unary":
          assert(handler !== undefined, `${service.typeName}/${method.name} has a handler`);
          router.rpc(method as DescMethodUnary, unaryToWeb(deps, handler as UnaryHandler<unknown, never>)); // by Handlers<S>
          break;
        case "server_streaming":
          assert(handler !== undefined, `${service.typeName}/${method.name} has a handler`);
          router.rpc(method as DescMethodServerStreaming, serverStreamToWeb(deps, handler as ServerStreamHandler<unknown, never>)); // by Handlers<S>
          break;
        default:
          break; // bidirectional: refused before the router, see refuse-stream.ts
      }
    }
  };
  return { service, route, authenticate: deps.authenticate };
}

function unaryToWeb<I, O>(deps: CallDeps, handler: UnaryHandler<I, O>): (request: I, web: HandlerContext) => Promise<O> {
  return async (request, web) => {
    const call = openWebCall(deps, web, deps.lifetime.stopping);
    const answer = async () => handler(request, call.admit());
    try {
      const response = await untilAborted(answer(), call.signal);
      tagResponse(deps, web, call);
      return response;
    } catch (thrown) {
      throw toConnectError(call.refuse(thrown), call.requestId);
    } finally {
      call.release();
    }
  };
}

/** Connect itself awaits the socket before it asks for the next message. */
function serverStreamToWeb<I, O>(
  deps: CallDeps,
  handler: ServerStreamHandler<I, O>,
): (request: I, web: HandlerContext) => AsyncIterable<O> {
  return async function* (request, web) {
    const call = openWebCall(deps, web, deps.lifetime.draining);
    try {
      const messages = handler(request, call.admitStream());
      tagResponse(deps, web, call);
      yield* messages;
      call.throwIfRefused();
      if (deps.lifetime.draining.aborted) throw drainingError();
    } catch (thrown) {
      throw toConnectError(call.refuse(thrown), call.requestId);
    } finally {
      call.release();
    }
  };
}

function openWebCall(deps: CallDeps, web: HandlerContext, endedBy: AbortSignal): Call {
  const start = {
    rpc: `/${web.service.typeName}/${web.method.name}`,
    authorization: web.requestHeader.get("authorization") ?? undefined,
    requestId: web.requestHeader.get("x-request-id") ?? undefined,
    timeoutMs: web.timeoutMs(),
  };
  const call = openCall(deps, start, endedBy);
  if (web.signal.aborted) call.cancel();
  else web.signal.addEventListener("abort", call.cancel, { once: true }); // the signal lives as long as the call
  return call;
}

function tagResponse(deps: CallDeps, web: HandlerContext, call: Call): void {
  web.responseHeader.set("x-request-id", call.requestId);
  web.responseHeader.set("x-coordinator-node", deps.coordinatorId);
}
