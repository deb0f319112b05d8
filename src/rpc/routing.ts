import { create } from "@bufbuild/protobuf";
import {
  type GetRoutesRequest,
  type GetRoutesResponse,
  GetRoutesResponseSchema,
  type WatchRoutesRequest,
  type WatchRoutesResponse,
  WatchRoutesResponseSchema,
} from "../../gen/mcp/coordinator/v1/routing_service_pb.js";
import { boundMcpId, mayActFor } from "../auth/principal.js";
import type { WeightPlaneFigures } from "../hub/weight-plane.js";
import { CoordinatorError } from "../platform/errors.js";
import { limits } from "../platform/limits.js";
import type { PublishedRoutes, RouteBook } from "../smart-router/table.js";
import { type ProducerAck, producerRoutesToProto, publishedRoutesToProto } from "../wire/routes.js";
import type { ServerStreamHandler, UnaryHandler } from "./context.js";
import { tooManyWatchers } from "./too-many-watchers.js";
import { weightPlaneToProto } from "./weight-plane.js";

export type RoutingDeps = {
  readonly book: RouteBook;
  /** The last ack of each producer, newest first, at most `maxCount`. Throws StoreFault. */
  readonly listAcks: (maxCount: number) => Promise<readonly ProducerAck[]>;
  /** How tables reach the streams of this process. */
  readonly readPlane: () => WeightPlaneFigures;
};

export type RoutingHandlers = {
  readonly getRoutes: UnaryHandler<GetRoutesRequest, GetRoutesResponse>;
  readonly watchRoutes: ServerStreamHandler<WatchRoutesRequest, WatchRoutesResponse>;
};

/**
 * RoutingService. The table is for everyone with a valid key; acks are shown only for MCPs that the key may act for, and the figures of the process, which name MCPs,
 * only to keys that may act for any.
 * Errors: WatchRoutes ends with `busy` WATCHERS_EXHAUSTED above `limits.routeWatchersMax` watchers in the process.
 */
export function createRoutingHandlers(deps: RoutingDeps): RoutingHandlers {
  let watcherCount = 0;
  return {
    getRoutes: async (request, { principal }) => {
      const acks = request.includeApplied ? await deps.listAcks(limits.pageMaxCount) : [];
      const routes = deps.book.current();
      const seesPlane = request.includeApplied && boundMcpId(principal) === undefined;
      return create(GetRoutesResponseSchema, {
        applied: acks.filter((ack) => mayActFor(principal, ack.mcpId)).map(producerRoutesToProto),
        ...(routes === undefined ? {} : { routes: publishedRoutesToProto(routes) }),
        ...(seesPlane ? { plane: weightPlaneToProto(deps.readPlane()) } : {}),
      });
    },
    watchRoutes: async function* (_request, { signal }) {
      if (watcherCount >= limits.routeWatchersMax) throw tooManyWatchers("the routing table", limits.routeWatchersMax);
      watcherCount += 1;
      try {
        for await (const routes of newestRoutes(deps.book, signal)) {
          yield create(WatchRoutesResponseSchema, { routes: publishedRoutesToProto(routes) });
        }
      } finally {
        watcherCount -= 1;
      }
    },
  };
}

/**
 * The table in force, then newer ones: one slot, so that a slow reader skips to the newest and costs no memory.
 * Ends when `signal` aborts; throws its reason when that is a refusal that the caller should hear.
 */
async function* newestRoutes(book: RouteBook, signal: AbortSignal): AsyncGenerator<PublishedRoutes> {
  let slot = book.current();
  let wake = (): void => {};
  const unsubscribe = book.subscribe((routes) => {
    slot = routes;
    wake();
  });
  const onAbort = (): void => wake();
  signal.addEventListener("abort", onAbort);
  try {
    while (!signal.aborted) {
      if (slot === undefined) {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      } else {
        const routes = slot;
        slot = undefined;
        yield routes;
      }
    }
    if (signal.reason instanceof CoordinatorError) throw signal.reason;
  } finally {
    signal.removeEventListener("abort", onAbort);
    unsubscribe();
  }
}
