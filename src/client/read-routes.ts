import { create } from "@bufbuild/protobuf";
import type { Duration } from "@bufbuild/protobuf/wkt";
import { ApplyStatus, type PublishedRoutes, RoutingRejection } from "../../gen/mcp/coordinator/v1/routes_pb.js";
import {
  GetRoutesRequestSchema,
  type GetRoutesResponse,
  type ProducerRoutes,
  RoutingService,
  type WeightPlane,
} from "../../gen/mcp/coordinator/v1/routing_service_pb.js";
import type { Connection } from "./connect.js";
import { type ClientRouteState, stateNameOf } from "./routes.js";

/** One MCP of the published table, with what its raw weight is made of. */
export type RouteReport = {
  readonly mcpId: string;
  /** Basis points. */
  readonly weight: number;
  readonly state: ClientRouteState;
  readonly maxConcurrent: number;
  readonly priority: number;
  /** Natural logarithms that sum to that of the raw weight. */
  readonly why: readonly { readonly name: string; readonly contribution: number }[];
  /** Share of the requests that clients gave to it in the last minute, 0 to 1; undefined when nothing was observed. */
  readonly observedShare: number | undefined;
  readonly observedRequests: number;
};

/** Who has which table. */
export type ProducerReport = {
  readonly producerId: string;
  readonly mcpId: string;
  readonly status: "received" | "applied" | "rejected" | "expired" | "unknown";
  /** Version in force there, 0 for none, and how many it is behind the newest. */
  readonly version: number;
  readonly lag: number;
  /** Version of the update that it answered last. */
  readonly answered: number;
  readonly rejection: "content" | "out_of_sync" | "stale_epoch" | undefined;
  readonly verdicts: readonly { readonly mcpId: string; readonly reason: string }[];
  readonly applyMs: number | undefined;
  readonly ackDelayMs: number | undefined;
  readonly ackedAtMs: number;
};

/** How tables reach the streams of the coordinator that was asked. */
export type PlaneReport = {
  readonly streams: number;
  readonly streamsOnNewest: number;
  readonly versionLagMax: number;
  readonly appliedP50Ms: number | undefined;
  readonly appliedP99Ms: number | undefined;
  readonly updatesSent: number;
  readonly deltasSent: number;
  readonly acksIgnored: number;
  readonly outOfSync: number;
  readonly staleEpoch: number;
  readonly expired: number;
  readonly withheld: number;
  readonly rejected: readonly { readonly digest: string; readonly mcpId: string; readonly reason: string; readonly mcps: number }[];
  /** Nats; undefined when nothing was observed. */
  readonly observedDivergence: number | undefined;
};

/** The newest table and where it is in force. */
export type RoutesReport = {
  /** Undefined before the first publication. */
  readonly table:
    | {
        readonly term: number;
        readonly version: number;
        readonly digest: string;
        readonly policyId: string;
        readonly reason: string;
        readonly publishedAtMs: number;
        readonly routes: readonly RouteReport[];
      }
    | undefined;
  readonly producers: readonly ProducerReport[];
  /** Undefined when the key may not see it. */
  readonly plane: PlaneReport | undefined;
};

const statusNames = {
  [ApplyStatus.UNSPECIFIED]: "unknown",
  [ApplyStatus.RECEIVED]: "received",
  [ApplyStatus.APPLIED]: "applied",
  [ApplyStatus.REJECTED]: "rejected",
  [ApplyStatus.EXPIRED]: "expired",
} as const satisfies Record<ApplyStatus, ProducerReport["status"]>;

const rejectionNames = {
  [RoutingRejection.UNSPECIFIED]: undefined,
  [RoutingRejection.CONTENT]: "content",
  [RoutingRejection.OUT_OF_SYNC]: "out_of_sync",
  [RoutingRejection.STALE_EPOCH]: "stale_epoch",
} as const satisfies Record<RoutingRejection, ProducerReport["rejection"]>;

/** Asks for the table in force and for who has applied what.     Errors: rejects with grpc-js's ServiceError. */
export async function readRoutes(connection: Connection, deadlineMs: number): Promise<RoutesReport> {
  const response = await connection.call(
    RoutingService.method.getRoutes,
    create(GetRoutesRequestSchema, { includeApplied: true }),
    deadlineMs,
  );
  const newest = Number(response.routes?.version ?? 0n);
  return {
    table: response.routes && tableOf(response.routes, response),
    producers: response.applied.map((one) => producerOf(one, newest)),
    plane: response.plane && planeOf(response.plane),
  };
}

function tableOf(routes: PublishedRoutes, { plane }: GetRoutesResponse): NonNullable<RoutesReport["table"]> {
  const observed = new Map((plane?.observed ?? []).map((one) => [one.mcpId, one]));
  const hasObserved = observed.size > 0;
  return {
    term: Number(routes.term),
    version: Number(routes.version),
    digest: hex(routes.digest),
    policyId: routes.policyId,
    reason: routes.reason,
    publishedAtMs: Number(routes.publishedAt?.seconds ?? 0n) * 1_000,
    routes: (routes.table?.routes ?? []).map(({ mcpId, weight, state, maxConcurrent, priority, why }) => ({
      ...{ mcpId, weight, state: stateNameOf(state), maxConcurrent, priority },
      why: why.map(({ name, contribution }) => ({ name, contribution })),
      observedShare: hasObserved ? (observed.get(mcpId)?.share ?? 0) : undefined,
      observedRequests: Number(observed.get(mcpId)?.requests ?? 0n),
    })),
  };
}

function producerOf(one: ProducerRoutes, newest: number): ProducerReport {
  const version = Number(one.applied?.version ?? 0n);
  return {
    producerId: one.producerId,
    mcpId: one.mcpId,
    status: statusNames[one.status] ?? "unknown",
    version,
    lag: Math.max(0, newest - version),
    answered: Number(one.answered?.version ?? 0n),
    rejection: rejectionNames[one.rejection],
    verdicts: one.rejected.map(({ mcpId, reason }) => ({ mcpId, reason })),
    applyMs: msOfOptional(one.applyTime),
    ackDelayMs: msOfOptional(one.ackDelay),
    ackedAtMs: Number(one.ackedAt?.seconds ?? 0n) * 1_000,
  };
}

function planeOf(plane: WeightPlane): PlaneReport {
  return {
    streams: plane.streams,
    streamsOnNewest: plane.streamsOnNewest,
    versionLagMax: Number(plane.versionLagMax),
    appliedP50Ms: msOfOptional(plane.publishToAppliedP50),
    appliedP99Ms: msOfOptional(plane.publishToAppliedP99),
    updatesSent: Number(plane.updatesSent),
    deltasSent: Number(plane.deltasSent),
    acksIgnored: Number(plane.acksIgnored),
    outOfSync: Number(plane.outOfSync),
    staleEpoch: Number(plane.staleEpoch),
    expired: Number(plane.expired),
    withheld: Number(plane.withheld),
    rejected: plane.rejected.map(({ digest, mcpId, reason, mcps }) => ({ digest: hex(digest), mcpId, reason, mcps })),
    observedDivergence: plane.observedDivergence,
  };
}

function msOfOptional(duration: Duration | undefined): number | undefined {
  return duration === undefined ? undefined : Number(duration.seconds) * 1_000 + duration.nanos / 1_000_000;
}

function hex(digest: bigint): string {
  return digest.toString(16).padStart(16, "0");
}
