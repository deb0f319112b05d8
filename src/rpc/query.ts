import { create, type MessageInitShape } from "@bufbuild/protobuf";
import {
  type CoordinatorStats,
  CoordinatorStatsSchema,
  type GetPerformanceMetricsResponse,
  GetPerformanceMetricsResponseSchema,
  type GetStatsResponse,
  GetStatsResponseSchema,
  type ListInteractionsRequest,
  ListInteractionsResponseSchema,
  type QueryService,
  type SessionStatsSchema,
} from "../../gen/mcp/coordinator/v1/query_service_pb.js";
import { boundMcpId, type Principal, scopeTo } from "../auth/principal.js";
import type { FleetFigures } from "../hub/figures.js";
import type { TimeRange } from "../interaction/time-word.js";
import type { Clock } from "../platform/clock.js";
import { limits } from "../platform/limits.js";
import type { InteractionCounts, InteractionFilter, PerformanceMetrics, Store } from "../store/store.js";
import { statusToProto } from "../wire/ack.js";
import { pressureToProto } from "../wire/frame.js";
import { interactionToProto, parseState } from "../wire/interaction.js";
import { durationFromMs, timestampFromMs } from "../wire/time.js";
import type { Handlers } from "./adapt-grpc.js";
import { faultsOfText, fieldsError, refuseFaults } from "./field-faults.js";
import { formatPageToken, parsePageToken } from "./page-token.js";
import { type RoutingFigures, routingStats } from "./routing-stats.js";
import { parseTimeRange } from "./time-range.js";

/** What this process has done since it started; compose reads it from where it is counted. */
export type CoordinatorFigures = {
  readonly coordinatorId: string;
  readonly startedAtMs: number;
  readonly openStreams: number;
  readonly pendingEvents: number;
  readonly pendingBytes: number;
  readonly storeAvailable: boolean;
  /** Verdicts given, by status; a status that was never given may be absent. */
  readonly events: Readonly<Partial<Record<keyof typeof statusToProto, number>>>;
  readonly deadLetters: number;
  readonly sessions: FleetFigures;
  /** Absent where routing is switched off. */
  readonly routing?: RoutingFigures;
};

export type QueryDeps = {
  readonly store: Pick<Store, "listInteractions" | "readPerformance" | "countInteractions">;
  readonly readCoordinator: () => CoordinatorFigures;
  readonly clock: Clock;
};

/** QueryService over the store. Every reader sees only what its credential may see. */
export function createQueryHandlers(deps: QueryDeps): Handlers<typeof QueryService> {
  return {
    listInteractions: async (request, context) => {
      const filter = parseFilter(request, context.principal);
      const cursor = parsePageToken(filter, request.pageToken);
      const pageSize = request.pageSize === 0 ? limits.pageDefaultCount : request.pageSize;
      // One more than the page tells whether there is another.
      const rows = await deps.store.listInteractions(filter, pageSize + 1, cursor, context.signal);
      const page = rows.slice(0, pageSize);
      const last = rows.length > pageSize ? page.at(-1) : undefined;
      return create(ListInteractionsResponseSchema, {
        interactions: page.map(interactionToProto),
        nextPageToken: last === undefined ? "" : formatPageToken(filter, last),
      });
    },
    getPerformanceMetrics: async (request, context) => {
      const nowMs = deps.clock.nowMs();
      const parsed = parseTimeRange(request, nowMs);
      const faults = [...faultsOfText("mcp_id", request.mcpId), ...(parsed.kind === "faults" ? parsed.faults : [])];
      if (parsed.kind === "faults" || faults.length > 0) throw fieldsError(faults);
      const mcpId = scopeTo(context.principal, request.mcpId);
      const { startMs, endMs } = parsed.range;
      const metrics = await deps.store.readPerformance(mcpId, startMs, endMs, context.signal);
      return metricsToProto(metrics, parsed.range, nowMs);
    },
    getStats: async (request, context) => {
      refuseFaults(faultsOfText("mcp_id", request.mcpId));
      const counts = await deps.store.countInteractions(scopeTo(context.principal, request.mcpId), context.signal);
      const figures = boundMcpId(context.principal) === undefined ? deps.readCoordinator() : undefined;
      return statsToProto(counts, figures, deps.clock.nowMs());
    },
  };
}

/** What a list is about. Throws all faults of the request at once. */
function parseFilter(request: ListInteractionsRequest, who: Principal): InteractionFilter {
  const faults = [
    ...faultsOfText("mcp_id", request.mcpId),
    ...faultsOfText("request_type", request.requestType),
    ...faultsOfText("session_id", request.sessionId),
  ];
  const state = parseState(request.state);
  if (state === "unknown") faults.push({ field: "state", reason: "OUT_OF_RANGE", description: "is no state that this coordinator knows" });
  if (request.pageSize > limits.pageMaxCount) {
    faults.push({
      field: "page_size",
      reason: "OUT_OF_RANGE",
      description: `must be 1 to ${limits.pageMaxCount}, or 0 for ${limits.pageDefaultCount}`,
    });
  }
  refuseFaults(faults);
  return {
    mcpId: scopeTo(who, request.mcpId),
    state: state === "any" || state === "unknown" ? undefined : state,
    requestType: request.requestType === "" ? undefined : request.requestType,
    sessionId: request.sessionId === "" ? undefined : request.sessionId,
  };
}

/** Durations are absent when no interaction reported one: no data is not zero. */
function metricsToProto(metrics: PerformanceMetrics, range: TimeRange, nowMs: number): GetPerformanceMetricsResponse {
  const response = create(GetPerformanceMetricsResponseSchema, {
    totalInteractions: BigInt(metrics.total),
    successRate: share(metrics.completed, metrics.total),
    errorRate: share(metrics.failed, metrics.total),
    timestamp: timestampFromMs(nowMs),
    startTime: timestampFromMs(range.startMs),
    endTime: timestampFromMs(range.endMs),
  });
  if (metrics.avgMs !== undefined) response.avgProcessingTime = durationFromMs(metrics.avgMs);
  if (metrics.minMs !== undefined) response.minProcessingTime = durationFromMs(metrics.minMs);
  if (metrics.maxMs !== undefined) response.maxProcessingTime = durationFromMs(metrics.maxMs);
  if (metrics.p50Ms !== undefined) response.p50ProcessingTime = durationFromMs(metrics.p50Ms);
  if (metrics.p95Ms !== undefined) response.p95ProcessingTime = durationFromMs(metrics.p95Ms);
  if (metrics.p99Ms !== undefined) response.p99ProcessingTime = durationFromMs(metrics.p99Ms);
  return response;
}

function share(part: number, whole: number): number {
  return whole === 0 ? 0 : part / whole;
}

function statsToProto(counts: InteractionCounts, figures: CoordinatorFigures | undefined, nowMs: number): GetStatsResponse {
  const response = create(GetStatsResponseSchema, {
    totalInteractions: BigInt(counts.total),
    activeInteractions: BigInt(counts.active),
    completedInteractions: BigInt(counts.completed),
    failedInteractions: BigInt(counts.failed),
    timestamp: timestampFromMs(nowMs),
  });
  if (counts.averageMs !== undefined) response.averageProcessingTime = durationFromMs(counts.averageMs);
  if (figures !== undefined) response.coordinator = figuresToProto(figures);
  return response;
}

function figuresToProto(figures: CoordinatorFigures): CoordinatorStats {
  const names = Object.keys(statusToProto) as (keyof typeof statusToProto)[]; // keys of a constant object
  return create(CoordinatorStatsSchema, {
    coordinatorId: figures.coordinatorId,
    startedAt: timestampFromMs(figures.startedAtMs),
    openStreams: figures.openStreams,
    pendingEvents: figures.pendingEvents,
    pendingBytes: BigInt(figures.pendingBytes),
    storeAvailable: figures.storeAvailable,
    events: names
      .flatMap((name) => ({ status: statusToProto[name], count: BigInt(figures.events[name] ?? 0) }))
      .filter(({ count }) => count > 0n),
    deadLetters: BigInt(figures.deadLetters),
    sessions: sessionsToProto(figures.sessions),
    ...(figures.routing === undefined ? {} : { routing: routingStats(figures.routing) }),
  });
}

function sessionsToProto({ grant, configVersion, loads, ...counts }: FleetFigures): MessageInitShape<typeof SessionStatsSchema> {
  return {
    ...counts,
    pressure: pressureToProto[grant.pressure],
    windowMaxEvents: grant.maxEvents,
    configVersion: BigInt(configVersion),
    loads: loads.map(({ mcpId, sessionCount, inFlight, queued, utilization }) => ({
      mcpId,
      sessions: sessionCount,
      inFlight: BigInt(inFlight),
      queued: BigInt(queued),
      utilization,
    })),
  };
}
