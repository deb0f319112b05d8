import { create } from "@bufbuild/protobuf";
import {
  Health,
  type HealthCheckResponse,
  type HealthCheckResponse_ServingStatus,
  HealthCheckResponseSchema,
  HealthListResponseSchema,
  HealthCheckResponse_ServingStatus as ServingStatus,
} from "../../gen/grpc/health/v1/health_pb.js";
import { InteractionService } from "../../gen/mcp/coordinator/v1/interaction_service_pb.js";
import { QueryService } from "../../gen/mcp/coordinator/v1/query_service_pb.js";
import { CoordinatorError } from "../platform/errors.js";
import { limits } from "../platform/limits.js";
import { type GrpcService, grpcService, type Handlers } from "./adapt-grpc.js";
import type { CallDeps } from "./call.js";

/** The full name of the health service. */
export const healthTypeName: string = Health.typeName;

/** Names the whole server in the health protocol. */
export const wholeServer = "";

/** Services that cannot work without the store. All others, and the whole server, keep serving while it is away. */
export const storeBoundServices: readonly string[] = [InteractionService.typeName, QueryService.typeName];

/** What is serving, for probes and for clients. */
export type HealthBook = {
  /** Sets a service; one that was never set is unknown. Ignored after `shutDown`. */
  readonly setServing: (typeName: string, isServing: boolean) => void;
  /** Sets the services that follow the store. */
  readonly setStoreAvailable: (isAvailable: boolean) => void;
  /** Nothing serves from now on, whatever is set later. */
  readonly shutDown: () => void;
  /** By name, ascending. */
  readonly snapshot: () => ReadonlyMap<string, boolean>;
  /** Calls `changed` after every change. Returns how to stop. */
  readonly subscribe: (changed: () => void) => () => void;
};

/** A book in which `typeNames` and the whole server are serving. */
export function createHealthBook(typeNames: readonly string[]): HealthBook {
  const serving = new Map<string, boolean>([wholeServer, ...typeNames].sort().map((name) => [name, true]));
  const subscribers = new Set<() => void>();
  let isShutDown = false;
  const set = (name: string, isServing: boolean) => {
    if (isShutDown || serving.get(name) === isServing) return;
    serving.set(name, isServing);
    for (const changed of subscribers) changed();
  };
  return {
    setServing: set,
    setStoreAvailable: (isAvailable) => {
      for (const name of storeBoundServices) if (serving.has(name)) set(name, isAvailable);
    },
    shutDown: () => {
      for (const name of serving.keys()) set(name, false);
      isShutDown = true;
    },
    snapshot: () => serving,
    subscribe: (changed) => {
      subscribers.add(changed);
      return () => subscribers.delete(changed);
    },
  };
}

/** grpc.health.v1.Health over a book. Unauthenticated: probes carry no key, and names of services are no secret. */
export function healthService(deps: Omit<CallDeps, "authenticate">, book: HealthBook): GrpcService {
  return grpcService({ ...deps, authenticate: () => ({ kind: "anyone" }) }, Health, healthHandlers(book));
}

/** The three RPCs of the health protocol. Source: grpc/doc/health-checking.md and the comments of health.proto. */
export function healthHandlers(book: HealthBook): Handlers<typeof Health> {
  let watcherCount = 0;
  return {
    check: async (request) => {
      const isServing = book.snapshot().get(request.service);
      if (isServing === undefined) {
        throw new CoordinatorError("not_found", `no service "${request.service}" is served`, { reason: "SERVICE_UNKNOWN" });
      }
      return answerOf(isServing);
    },
    list: async () => {
      const statuses = Object.fromEntries([...book.snapshot()].map(([name, isServing]) => [name, answerOf(isServing)]));
      return create(HealthListResponseSchema, { statuses });
    },
    watch: async function* (request, context) {
      if (watcherCount >= limits.healthWatchersMax) {
        throw new CoordinatorError("busy", `at most ${limits.healthWatchersMax} health watchers`, {
          reason: "WATCHERS_EXHAUSTED",
          retryAfterMs: 10_000,
        });
      }
      watcherCount += 1;
      try {
        yield* changesOf(book, request.service, context.signal);
      } finally {
        watcherCount -= 1;
      }
    },
  };
}

/** The state of one service at once, then each time it is different when the reader comes back: a slow reader skips states, never the last one. */
async function* changesOf(book: HealthBook, name: string, signal: AbortSignal): AsyncGenerator<HealthCheckResponse> {
  let wake: () => void = () => {};
  const nudge = () => wake();
  const unsubscribe = book.subscribe(nudge);
  signal.addEventListener("abort", nudge, { once: true });
  try {
    let told: HealthCheckResponse_ServingStatus | undefined;
    for (;;) {
      const answer = answerOf(book.snapshot().get(name));
      if (answer.status !== told) {
        told = answer.status;
        yield answer;
        continue; // it may have changed while the reader was busy
      }
      if (signal.aborted) return;
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
  } finally {
    unsubscribe();
    signal.removeEventListener("abort", nudge);
  }
}

function answerOf(isServing: boolean | undefined): HealthCheckResponse {
  const status = isServing === undefined ? ServingStatus.SERVICE_UNKNOWN : isServing ? ServingStatus.SERVING : ServingStatus.NOT_SERVING;
  return create(HealthCheckResponseSchema, { status });
}
