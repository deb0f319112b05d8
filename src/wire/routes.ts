import { create, toBinary } from "@bufbuild/protobuf";
import type { Duration } from "@bufbuild/protobuf/wkt";
import {
  type AppliedRoutes as AppliedRoutesMessage,
  AppliedRoutesSchema,
  ApplyStatus as ApplyStatusNumber,
  type ObservedShare as ObservedShareMessage,
  type PublishedRoutes as PublishedRoutesMessage,
  PublishedRoutesSchema,
  RoutingRejection as RejectionNumber,
  type RouteDelta,
  RouteDeltaSchema,
  type Route as RouteMessage,
  RouteSchema,
  RouteState as RouteStateNumber,
  type RouteTable as RouteTableMessage,
  RouteTableSchema,
  type RoutingAck as RoutingAckMessage,
  type RoutingUpdate,
  RoutingUpdateSchema,
} from "../../gen/mcp/coordinator/v1/routes_pb.js";
import { type ProducerRoutes, ProducerRoutesSchema } from "../../gen/mcp/coordinator/v1/routing_service_pb.js";
import { limits } from "../platform/limits.js";
import type {
  AppliedRoutes,
  ApplyStatus,
  ObservedShare,
  PublishedRoutes,
  Rejection,
  Route,
  RouteVerdict,
  RoutingAck,
} from "../smart-router/table.js";
import { cutText } from "./cut-text.js";
import { setEncoded } from "./encoded.js";
import { durationFromMs, timestampFromMs } from "./time.js";

/** A table on its way to one stream. */
export type RoutingUpdateMessage = RoutingUpdate;

const stateNumbers = {
  active: RouteStateNumber.ACTIVE,
  warming: RouteStateNumber.WARMING,
  degraded: RouteStateNumber.DEGRADED,
  draining: RouteStateNumber.DRAINING,
  ejected: RouteStateNumber.EJECTED,
  disconnected: RouteStateNumber.DISCONNECTED,
} as const satisfies Record<Route["state"], RouteStateNumber>;

/** `undefined` where a number has no meaning here; a number that the contract gains does not compile until it has one. */
export const applyStatuses = {
  [ApplyStatusNumber.UNSPECIFIED]: undefined,
  [ApplyStatusNumber.RECEIVED]: "received",
  [ApplyStatusNumber.APPLIED]: "applied",
  [ApplyStatusNumber.REJECTED]: "rejected",
  [ApplyStatusNumber.EXPIRED]: "expired",
} as const satisfies Record<ApplyStatusNumber, ApplyStatus | undefined>;

const applyStatusNumbers = {
  received: ApplyStatusNumber.RECEIVED,
  applied: ApplyStatusNumber.APPLIED,
  rejected: ApplyStatusNumber.REJECTED,
  expired: ApplyStatusNumber.EXPIRED,
} as const satisfies Record<ApplyStatus, ApplyStatusNumber>;

const rejections = {
  [RejectionNumber.UNSPECIFIED]: "content",
  [RejectionNumber.CONTENT]: "content",
  [RejectionNumber.OUT_OF_SYNC]: "out_of_sync",
  [RejectionNumber.STALE_EPOCH]: "stale_epoch",
} as const satisfies Record<RejectionNumber, Rejection>;

const rejectionNumbers = {
  content: RejectionNumber.CONTENT,
  out_of_sync: RejectionNumber.OUT_OF_SYNC,
  stale_epoch: RejectionNumber.STALE_EPOCH,
} as const satisfies Record<Rejection, RejectionNumber>;

/** The last ack of one producer, as a list shows it. */
export type ProducerAck = AppliedRoutes & {
  readonly producerId: string;
  readonly mcpId: string;
  readonly status: ApplyStatus;
  readonly ackedAtMs: number;
  /** The update that it answered; a version of 0 in rows from before that was recorded. */
  readonly answered: AppliedRoutes;
  /** With "rejected". */
  readonly rejection: Rejection | undefined;
  readonly verdicts: readonly RouteVerdict[];
  readonly applyTimeMs: number | undefined;
  readonly ackDelayMs: number | undefined;
};

/** Tables already turned into messages: one publication goes to thousands of streams, and only the nonce differs. */
const tableMessages = new WeakMap<PublishedRoutes, RouteTableMessage>();

/** Deltas already made, by the table they lead to and the one they start from; undefined where the whole table is no larger. */
const deltaMessages = new WeakMap<PublishedRoutes, WeakMap<PublishedRoutes, { readonly delta: RouteDelta | undefined }>>();

/** Updates without a nonce, encoded: by the table or delta in them, which is that of one publication. */
const encodedBodies = new WeakMap<RouteTableMessage | RouteDelta, Uint8Array>();

/** A table as it is pushed: as a delta from `base`, which the client is known to have in force, where there is one and it is smaller. */
export function routingUpdateFromTable(routes: PublishedRoutes, nonce: string, base?: PublishedRoutes): RoutingUpdateMessage {
  const delta = base && smallerDelta(base, routes);
  const update = create(RoutingUpdateSchema, {
    nonce,
    term: BigInt(routes.term),
    version: BigInt(routes.version),
    body: delta === undefined ? { case: "full", value: toRouteTable(routes) } : { case: "delta", value: delta },
    digest: digestNumber(routes.digest),
    validFor: durationFromMs(routes.validForMs),
    policyId: routes.policyId,
    reason: routes.reason,
  });
  setEncoded(update, encodeUpdate(update));
  return update;
}

/** The bytes of an update to one stream: its nonce, and what is the same for all streams and encoded once. Ends as `toBinary` would. */
function encodeUpdate(update: RoutingUpdate): Uint8Array {
  const body = update.body.value;
  const known = body && encodedBodies.get(body);
  const rest = known ?? toBinary(RoutingUpdateSchema, { ...update, nonce: "" });
  if (body !== undefined && known === undefined) encodedBodies.set(body, rest);
  const nonce = toBinary(RoutingUpdateSchema, create(RoutingUpdateSchema, { nonce: update.nonce }));
  const bytes = new Uint8Array(nonce.byteLength + rest.byteLength);
  bytes.set(nonce);
  bytes.set(rest, nonce.byteLength);
  return bytes;
}

/** The delta from one table to another of the same term, or undefined when it saves nothing. Made once for all streams. */
function smallerDelta(base: PublishedRoutes, routes: PublishedRoutes): RouteDelta | undefined {
  if (base.term !== routes.term) return undefined;
  const known = deltaMessages.get(routes)?.get(base);
  if (known !== undefined) return known.delta;
  const made = makeDelta(base, routes);
  const isSmaller = toBinary(RouteDeltaSchema, made).byteLength < toBinary(RouteTableSchema, toRouteTable(routes)).byteLength;
  const delta = isSmaller ? made : undefined;
  const ofTable = deltaMessages.get(routes) ?? new WeakMap<PublishedRoutes, { readonly delta: RouteDelta | undefined }>();
  ofTable.set(base, { delta });
  deltaMessages.set(routes, ofTable);
  return delta;
}

function makeDelta(base: PublishedRoutes, routes: PublishedRoutes): RouteDelta {
  const before = new Map(base.table.map((route) => [route.mcpId, route]));
  const upsert = routes.table.filter((route) => !isSameRoute(route, before.get(route.mcpId)));
  const after = new Set(routes.table.map((route) => route.mcpId));
  const remove = base.table.map((route) => route.mcpId).filter((mcpId) => !after.has(mcpId));
  return create(RouteDeltaSchema, { baseVersion: BigInt(base.version), upsert: upsert.map(toRoute), remove });
}

/** `why` is no reason to send a route again: it changes with every look, and nobody acts on it. */
function isSameRoute(a: Route, b: Route | undefined): boolean {
  return (
    b !== undefined && a.weight === b.weight && a.state === b.state && a.maxConcurrent === b.maxConcurrent && a.priority === b.priority
  );
}

/** A table as it is shown to those who hold no session. */
export function publishedRoutesToProto(routes: PublishedRoutes): PublishedRoutesMessage {
  return create(PublishedRoutesSchema, {
    term: BigInt(routes.term),
    version: BigInt(routes.version),
    digest: digestNumber(routes.digest),
    table: toRouteTable(routes),
    policyId: routes.policyId,
    reason: routes.reason,
    publishedAt: timestampFromMs(routes.publishedAtMs),
    validFor: durationFromMs(routes.validForMs),
  });
}

export function producerRoutesToProto(ack: ProducerAck): ProducerRoutes {
  return create(ProducerRoutesSchema, {
    producerId: ack.producerId,
    mcpId: ack.mcpId,
    status: applyStatusNumbers[ack.status],
    applied: appliedToProto(ack),
    ackedAt: timestampFromMs(ack.ackedAtMs),
    answered: appliedToProto(ack.answered),
    rejection: ack.rejection === undefined ? RejectionNumber.UNSPECIFIED : rejectionNumbers[ack.rejection],
    rejected: ack.verdicts.map(({ mcpId, reason }) => ({ mcpId, reason })),
    ...(ack.applyTimeMs === undefined ? {} : { applyTime: durationFromMs(ack.applyTimeMs) }),
    ...(ack.ackDelayMs === undefined ? {} : { ackDelay: durationFromMs(ack.ackDelayMs) }),
  });
}

function appliedToProto({ term, version, digest }: AppliedRoutes): AppliedRoutesMessage {
  return create(AppliedRoutesSchema, { term: BigInt(term), version: BigInt(version), digest: digestNumber(digest) });
}

/**
 * A client's answer to an update, cut to its bounds and safe to store; undefined when its status is none that is known here: such an ack is ignored and
 * counted, like one with a wrong nonce.
 */
export function routingAckFromProto(ack: RoutingAckMessage): RoutingAck | undefined {
  // Numbers of a newer contract arrive as they are, whatever the generated type says.
  const status = (applyStatuses as Readonly<Record<number, ApplyStatus | undefined>>)[ack.status];
  if (status === undefined) return undefined;
  return {
    nonce: ack.nonce,
    status,
    applied: appliedFromProto(ack.applied),
    rejected: ack.rejected.slice(0, limits.routeVerdictMax).map((verdict) => ({
      mcpId: cutText(verdict.mcpId, limits.idMaxBytes),
      reason: cutText(verdict.reason, limits.routeVerdictReasonMaxBytes),
    })),
    applyTimeMs: parseLength(ack.applyTime),
    // A cause that a newer client names is no reason to send the same table again.
    rejection: (rejections as Readonly<Record<number, Rejection | undefined>>)[ack.rejection] ?? "content",
  };
}

/** Requests by MCP, as a heartbeat tells them: at most `limits.routedMcpMax`, each at most `limits.loadReportMax`. */
export function observedFromProto(observed: readonly ObservedShareMessage[]): readonly ObservedShare[] {
  return observed
    .slice(0, limits.routedMcpMax)
    .filter(({ requests, mcpId }) => requests > 0n && mcpId !== "")
    .map(({ mcpId, requests }) => ({
      mcpId: cutText(mcpId, limits.idMaxBytes),
      requests: Number(requests > BigInt(limits.loadReportMax) ? BigInt(limits.loadReportMax) : requests),
    }));
}

function toRouteTable(routes: PublishedRoutes): RouteTableMessage {
  const known = tableMessages.get(routes);
  if (known !== undefined) return known;
  const message = create(RouteTableSchema, { routes: routes.table.map(toRoute) });
  tableMessages.set(routes, message);
  return message;
}

function toRoute(route: Route): RouteMessage {
  return create(RouteSchema, {
    mcpId: route.mcpId,
    weight: route.weight,
    state: stateNumbers[route.state],
    maxConcurrent: route.maxConcurrent,
    priority: route.priority,
    why: route.why.map(({ name, contribution }) => ({ name, contribution })),
  });
}

/** Terms and versions of ours are safe integers; anything larger names no table of ours. */
export function appliedFromProto(applied: AppliedRoutesMessage | undefined): AppliedRoutes | undefined {
  if (applied === undefined) return undefined;
  const term = Number(applied.term);
  const version = Number(applied.version);
  if (!Number.isSafeInteger(term) || !Number.isSafeInteger(version)) return undefined;
  return { term, version, digest: applied.digest.toString(16).padStart(16, "0") };
}

/** Milliseconds, or undefined for what is no length of time. */
function parseLength(duration: Duration | undefined): number | undefined {
  if (duration === undefined) return undefined;
  const ms = Number(duration.seconds) * 1_000 + duration.nanos / 1_000_000;
  return ms >= 0 && ms <= limits.timerMaxMs ? ms : undefined;
}

/** 16 hex digits as a number; what names no table is 0. */
function digestNumber(digest: string): bigint {
  return BigInt(`0x${digest === "" ? "0" : digest}`);
}
