import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { connectNodeAdapter } from "@connectrpc/connect-node";
import type { HttpTransport } from "../intake/http/http-transport.js";
import type { Clock } from "../platform/clock.js";
import { hostPort } from "../platform/host-port.js";
import { limits } from "../platform/limits.js";
import type { WebService } from "./adapt-web.js";
import { bindError } from "./address.js";
import type { CallDeps } from "./call.js";
import { decodeOptions } from "./grpc-definition.js";
import { createHealthReporter, type HealthCheck } from "./health-check.js";
import { refuseCallers } from "./refuse-caller.js";
import { pathsOf, refuseStream } from "./refuse-stream.js";
import { refuseUnparsed } from "./unparsed-request.js";

export type WebServerDeps = Omit<CallDeps, "authenticate"> & {
  /** From `webService`. */
  readonly services: readonly WebService[];
  /** By the name that GET /health shows, for example `database`. */
  readonly checks: Readonly<Record<string, HealthCheck>>;
  /** The HTTP API. Absent: its paths are 404. */
  readonly http?: Pick<HttpTransport, "serves" | "serve">;
  readonly clock: Clock;
};

/** The web port: Connect and gRPC-Web over HTTP/1.1, the HTTP API, and GET /health. */
export type WebServer = AsyncDisposable & {
  /** Listens; gives the port, which differs from `port` when that is 0. Errors: `failed_precondition` when the address cannot be had. */
  readonly start: (host: string, port: number) => Promise<number>;
  /** Stops within `graceMs`: no new connections, server streams end with UNAVAILABLE, requests may finish; what is left then is cut. Idempotent. */
  readonly drain: (graceMs: number) => Promise<void>;
  /** Stops at once. Idempotent. */
  readonly close: () => Promise<void>;
};

/** How often Node looks for requests that take too long: with its own 30 s a bound of 10 s would be one of 40. */
const timeoutCheckMs = 1_000;

/** Builds the web server of a coordinator. Listens only after `start`. */
export function createWebServer(deps: WebServerDeps): WebServer {
  const options = {
    maxHeaderSize: limits.webHeaderMaxBytes,
    headersTimeout: limits.webHeadersMaxMs,
    requestTimeout: limits.webRequestMaxMs,
    connectionsCheckingInterval: timeoutCheckMs,
    keepAliveTimeout: limits.webKeepAliveMs,
  };
  const server = createServer(options, createListener(deps));
  server.maxConnections = limits.webConnectionsMax;
  refuseUnparsed(server, deps.clock);
  const closeIdle = closeIdleWhenDraining(server, deps.lifetime.draining);
  let ended: Promise<void> | undefined;
  const drain = (graceMs: number): Promise<void> => {
    ended ??= shutDown(server, closeIdle, deps, graceMs);
    return ended;
  };
  const close = async (): Promise<void> => {
    deps.lifetime.stop();
    server.closeAllConnections(); // also hurries a drain that is under way
    await drain(0);
  };
  return { start: (host, port) => bind(server, host, port), drain, close, [Symbol.asyncDispose]: close };
}

/** For whoever looks at the port with a browser, or has mistyped a path. */
const whatIsServed = "there are /health, /metrics, /api/v2/openapi.json, and POST /mcp.coordinator.v1.<Service>/<Method> with JSON";

/** The HTTP API, health, the RPCs that this port cannot carry, those that it can, and 404 for the rest. */
function createListener(deps: WebServerDeps): (request: IncomingMessage, response: ServerResponse) => void {
  const report = createHealthReporter(deps, deps.checks);
  const services = deps.services.map((served) => served.service);
  const streamPaths = pathsOf(services, ["bidi_streaming"]);
  const rpcPaths = pathsOf(services, ["unary", "server_streaming"]);
  const refuse = refuseCallers(deps.services);
  const rpc = connectNodeAdapter({
    routes: (router) => {
      for (const served of deps.services) served.route(router);
    },
    grpc: false, // over HTTP/1.1 there are no trailers; the gRPC port serves it
    readMaxBytes: limits.frameMaxBytes,
    writeMaxBytes: limits.frameMaxBytes,
    maxTimeoutMs: limits.timerMaxMs,
    binaryOptions: decodeOptions,
    jsonOptions: decodeOptions,
  });
  return (request, response) => {
    const path = (request.url ?? "").split("?", 1)[0] ?? "";
    if (deps.http?.serves(path)) deps.http.serve(request, response);
    else if (path === "/health") {
      void report().then((health) => sendHealth(request, response, health.status === "healthy" ? 200 : 503, health));
    } else if (streamPaths.has(path)) refuseStream(request, response, path);
    else if (!rpcPaths.has(path))
      sendJson(response, 404, { code: "not_found", message: `nothing is served at ${path.slice(0, limits.idMaxBytes)}; ${whatIsServed}` });
    else if (!refuse(request, response, path)) rpc(request, response);
  };
}

function sendHealth(request: IncomingMessage, response: ServerResponse, status: number, body: unknown): void {
  if (request.method !== "GET" && request.method !== "HEAD") {
    sendJson(response.setHeader("allow", "GET, HEAD"), 405, { code: "method_not_allowed", message: "use GET" });
    return;
  }
  sendJson(response.setHeader("cache-control", "no-store"), status, body);
}

function sendJson(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
}

function bind(server: Server, host: string, port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    const onError = (error: Error) => reject(bindError(hostPort(host, port), error));
    server.once("error", onError);
    server.listen(port, host, () => {
      server.off("error", onError);
      const address = server.address();
      resolve(typeof address === "object" && address !== null ? address.port : port);
    });
  });
}

async function shutDown(server: Server, closeIdle: () => void, deps: WebServerDeps, graceMs: number): Promise<void> {
  deps.lifetime.drain();
  await new Promise<void>((resolve) => {
    const cancelTimer = deps.clock.after(graceMs, () => {
      deps.lifetime.stop();
      // Lets the calls that were just given up write their status.
      setImmediate(() => server.closeAllConnections());
    });
    server.close(() => {
      cancelTimer();
      resolve();
    });
    closeIdle();
  });
}

/**
 * Gives how to close the connections without a request under way; those that become so after a drain began are closed by themselves. Node's
 * closeIdleConnections overlooks both them and connections that never sent anything, such as a browser opens in advance.
 */
function closeIdleWhenDraining(server: Server, draining: AbortSignal): () => void {
  const idle = new Set<Socket>();
  server.on("connection", (socket: Socket) => {
    idle.add(socket);
    socket.once("close", () => idle.delete(socket));
  });
  server.on("request", (request, response) => {
    const { socket } = request;
    idle.delete(socket);
    response.once("close", () => {
      if (draining.aborted) socket.destroySoon();
      else if (!socket.destroyed) idle.add(socket);
    });
  });
  return () => {
    for (const socket of idle) socket.destroy();
  };
}
