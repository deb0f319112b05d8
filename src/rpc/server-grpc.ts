import { type ChannelOptions, Server, ServerCredentials } from "@grpc/grpc-js";
import type { Clock } from "../platform/clock.js";
import { hostPort } from "../platform/host-port.js";
import { limits } from "../platform/limits.js";
import type { GrpcService } from "./adapt-grpc.js";
import { bindError } from "./address.js";
import type { CallDeps } from "./call.js";
import type { ConnectionBound } from "./connection-bound.js";
import { guardConnections } from "./connection-conduct.js";
import { judgeCallers } from "./front-door.js";
import { createHealthBook, type HealthBook, healthService, healthTypeName } from "./health.js";
import { type CutConnections, raiseReceiveWindows, trackConnections } from "./http2-windows.js";
import { shortenLongDeadlines } from "./long-deadlines.js";
import { reflectionServices, reflectionTypeNames } from "./reflection.js";

/** Source: node-grpc.md, "Starting settings" and rows 8, 14, 16, 18. No connection age (row 7): sessions retire their connections by their own age, hub/SPEC.md. */
const serverOptions = {
  "grpc.max_receive_message_length": limits.frameMaxBytes,
  "grpc.max_send_message_length": limits.frameMaxBytes,
  "grpc.max_concurrent_streams": limits.streamsPerConnectionMax,
  "grpc.keepalive_time_ms": limits.keepaliveTimeMs,
  "grpc.keepalive_timeout_ms": limits.keepaliveTimeoutMs,
  "grpc.enable_channelz": 0,
} as const satisfies ChannelOptions;

export type GrpcServerDeps = Omit<CallDeps, "authenticate"> & {
  /** From `grpcService`. Health and reflection are added. */
  readonly services: readonly GrpcService[];
  /** From `readImage`. */
  readonly image: Uint8Array;
  /** How many connections there may be; without it as many as come. */
  readonly connections?: ConnectionBound;
  readonly clock: Clock;
};

/** The gRPC port. */
export type GrpcServer = AsyncDisposable & {
  /** What the health service tells; set it as the store comes and goes. */
  readonly health: HealthBook;
  /** Listens; gives the port, which differs from `port` when that is 0. Errors: `failed_precondition` when the address cannot be had. */
  readonly start: (host: string, port: number) => Promise<number>;
  /**
   * Stops within `graceMs`: NOT_SERVING to probes and watchers, no new connections or calls, server streams end with UNAVAILABLE, unary calls and
   * sessions may finish; what is left then is cut. The sessions' own drain notices are the hub's business, before or during this. Idempotent.
   */
  readonly drain: (graceMs: number) => Promise<void>;
  /** Stops at once. Idempotent. */
  readonly close: () => Promise<void>;
};

/** Builds the gRPC server of a coordinator. Listens only after `start`. */
export function createGrpcServer(deps: GrpcServerDeps): GrpcServer {
  const server = new Server(serverOptions);
  raiseReceiveWindows(server);
  shortenLongDeadlines(server);
  deps.connections?.keep(server);
  const cutConnections = trackConnections(server);
  const typeNames = deps.services.map((service) => service.typeName);
  const health = createHealthBook([...typeNames, healthTypeName, ...reflectionTypeNames]);
  const listed = [...typeNames, healthTypeName, ...reflectionTypeNames];
  const services = [...deps.services, healthService(deps, health), ...reflectionServices(deps, deps.image, listed)];
  guardConnections(server, deps.clock, deps.log, judgeCallers(services));
  for (const service of services) {
    server.addService(service.definition, service.implementation);
  }
  let ended: Promise<void> | undefined;
  const drain = (graceMs: number): Promise<void> => {
    ended ??= shutDown(server, cutConnections, deps, health, graceMs);
    return ended;
  };
  const close = async (): Promise<void> => {
    deps.lifetime.stop();
    cutConnections(); // also hurries a drain that is under way
    await drain(0);
  };
  return { health, start: (host, port) => bind(server, host, port), drain, close, [Symbol.asyncDispose]: close };
}

function bind(server: Server, host: string, port: number): Promise<number> {
  const address = hostPort(host, port);
  return new Promise((resolve, reject) => {
    server.bindAsync(address, ServerCredentials.createInsecure(), (error, boundPort) => {
      if (error === null) resolve(boundPort);
      else reject(bindError(address, error));
    });
  });
}

/** tryShutdown alone would wait for the last stream for ever, so it races a timer. Source: node-grpc.md row 6. */
async function shutDown(
  server: Server,
  cutConnections: CutConnections,
  deps: GrpcServerDeps,
  health: HealthBook,
  graceMs: number,
): Promise<void> {
  health.shutDown();
  deps.lifetime.drain();
  const isGraceOver = await new Promise<boolean>((resolve) => {
    const cancelTimer = deps.clock.after(graceMs, () => resolve(true));
    server.tryShutdown(() => {
      cancelTimer();
      resolve(false);
    });
  });
  // When this port is done early, the calls of the other one, which share the lifetime, keep their time.
  if (isGraceOver) deps.lifetime.stop();
  await new Promise(setImmediate); // lets the calls that were just given up write their status
  cutConnections();
  server.forceShutdown();
}
