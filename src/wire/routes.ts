import { create } from "@bufbuild/protobuf";
import type { Duration } from "@bufbuild/protobuf/wkt";
import {
  type AppliedRoutes as AppliedRoutesMessage,
  AppliedRoutesSchema,
  ApplyStatus as ApplyStatusNumber,
  type PublishedRoutes as PublishedRoutesMessage,
  PublishedRoutesSchema,
  RouteState as RouteStateNumber,
  type RouteTable as RouteTableMessage,
  RouteTableSchema,
  type RoutingAck as RoutingAckMessage,
  type RoutingUpdate,
  RoutingUpdateSchema,
} from "../../gen/mcp/coordinator/v1/routes_pb.js";
import { type ProducerRoutes, ProducerRoutesSchema } from "../../gen/mcp/coordinator/v1/routing_service_pb.js";
import { limits } from "../platform/limits.js";
import type { AppliedRoutes, ApplyStatus, PublishedRoutes, Route, RoutingAck } from "../smart-router/table.js";
import { durationFromMs, timestampFromMs } from "./time.js";

const stateNumbers = {
  active: RouteStateNumber.ACTIVE,
  warming: RouteStateNumber.WARMING,
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

/** The last ack of one producer, as a list shows it. */
export type ProducerAck = AppliedRoutes & {
  readonly producerId: string;
  readonly mcpId: string;
  readonly status: ApplyStatus;
  readonly ackedAtMs: number;
};

/** Tables already turned into messages: one publication goes to thousands of streams, and only the nonce differs. */
const tableMessages = new WeakMap<PublishedRoutes, RouteTableMessage>();

/** A table as it is pushed. `nonce` is unique within its stream. */
export function routingUpdateFromTable(routes: PublishedRoutes, nonce: string): RoutingUpdate {
  return create(RoutingUpdateSchema, {
    nonce,
    term: BigInt(routes.term),
    version: BigInt(routes.version),
    body: { case: "full", value: toRouteTable(routes) },
    digest: digestNumber(routes.digest),
    validFor: durationFromMs(routes.validForMs),
    policyId: routes.policyId,
    reason: routes.reason,
  });
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
    applied: create(AppliedRoutesSchema, { term: BigInt(ack.term), version: BigInt(ack.version), digest: digestNumber(ack.digest) }),
    ackedAt: timestampFromMs(ack.ackedAtMs),
  });
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
    applied: parseApplied(ack.applied),
    rejected: ack.rejected.slice(0, limits.routeVerdictMax).map((verdict) => ({
      mcpId: cutText(verdict.mcpId, limits.idMaxBytes),
      reason: cutText(verdict.reason, limits.routeVerdictReasonMaxBytes),
    })),
    applyTimeMs: parseLength(ack.applyTime),
  };
}

function toRouteTable(routes: PublishedRoutes): RouteTableMessage {
  const known = tableMessages.get(routes);
  if (known !== undefined) return known;
  const message = create(RouteTableSchema, {
    routes: routes.table.map((route) => ({
      mcpId: route.mcpId,
      weight: route.weight,
      state: stateNumbers[route.state],
      why: route.why.map(({ name, contribution }) => ({ name, contribution })),
    })),
  });
  tableMessages.set(routes, message);
  return message;
}

/** Terms and versions of ours are safe integers; anything larger names no table of ours. */
function parseApplied(applied: AppliedRoutesMessage | undefined): AppliedRoutes | undefined {
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

/** At most `maxBytes` of UTF-8, cut between characters; NUL, which Postgres refuses in text, becomes U+FFFD first. */
function cutText(text: string, maxBytes: number): string {
  const whole = text.replaceAll("\0", "\ufffd");
  const { read } = new TextEncoder().encodeInto(whole, new Uint8Array(maxBytes));
  return whole.slice(0, read);
}

/** 16 hex digits as a number; what names no table is 0. */
function digestNumber(digest: string): bigint {
  return BigInt(`0x${digest === "" ? "0" : digest}`);
}
