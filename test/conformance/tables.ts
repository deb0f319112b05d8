import { create } from "@bufbuild/protobuf";
import { DurationSchema } from "@bufbuild/protobuf/wkt";
import {
  RouteDeltaSchema,
  RouteSchema,
  RouteState,
  RouteTableSchema,
  type RoutingUpdate,
  RoutingUpdateSchema,
} from "../../gen/mcp/coordinator/v1/routes_pb.js";
import { routeDigest } from "../../src/client/route-digest.js";
import type { AppliedName, ExpectedAck } from "./record.js";

/** A table to offer, and what a client has to say to it. */
export type OfferedTable = { readonly update: RoutingUpdate; readonly expected: ExpectedAck };

type Share = { readonly mcpId: string; readonly weight: number };

/**
 * Tables that a client must apply, and tables that it must not, in the order in which they are to be offered to one that has `before` in force.
 * Among the names are two whose order in UTF-16 is not their order in UTF-8.
 */
export function tablesAfter(before: AppliedName): readonly OfferedTable[] {
  const { term, version } = before;
  const first: readonly Share[] = [
    { mcpId: "alpha", weight: 4_000 },
    { mcpId: "\u{fb00}-late", weight: 2_500 },
    { mcpId: "\u{1d49c}-last", weight: 3_500 },
  ];
  const second: readonly Share[] = [
    { mcpId: "alpha", weight: 6_500 },
    { mcpId: "\u{1d49c}-last", weight: 3_500 },
  ];
  const short: readonly Share[] = [{ mcpId: "alpha", weight: 9_000 }];
  const firstName = { term, version: version + 1n, digest: digestOf(first) };
  const secondName = { term, version: version + 2n, digest: digestOf(second) };
  const update = (nonce: string, name: AppliedName, body: RoutingUpdate["body"]) =>
    create(RoutingUpdateSchema, {
      ...name,
      nonce: `kit-${nonce}`,
      body,
      validFor: create(DurationSchema, { seconds: 180n }),
      policyId: "conformance",
      reason: "change",
    });
  const delta = (baseVersion: bigint): RoutingUpdate["body"] => ({
    case: "delta",
    value: create(RouteDeltaSchema, { baseVersion, remove: ["\u{fb00}-late"], upsert: [routeOf({ mcpId: "alpha", weight: 6_500 })] }),
  });
  const next = { term, version: version + 3n };
  const rejected = (rejection: "content" | "out_of_sync" | "stale_epoch") =>
    ({ status: "rejected", rejection, inForce: secondName }) as const;
  return [
    { update: update("whole", firstName, fullOf(first)), expected: { status: "applied", inForce: firstName } },
    { update: update("delta", secondName, delta(firstName.version)), expected: { status: "applied", inForce: secondName } },
    { update: update("lost-base", { ...next, digest: secondName.digest }, delta(firstName.version)), expected: rejected("out_of_sync") },
    { update: update("other-digest", { ...next, digest: secondName.digest }, fullOf(first)), expected: rejected("out_of_sync") },
    { update: update("short-sum", { ...next, digest: digestOf(short) }, fullOf(short)), expected: rejected("content") },
    {
      update: update("old-term", { ...firstName, term: term - 1n, version: version + 9n }, fullOf(first)),
      expected: rejected("stale_epoch"),
    },
    { update: update("not-newer", firstName, fullOf(first)), expected: { status: "applied", inForce: secondName } },
  ];
}

function fullOf(shares: readonly Share[]): RoutingUpdate["body"] {
  return { case: "full", value: create(RouteTableSchema, { routes: shares.map(routeOf) }) };
}

function routeOf({ mcpId, weight }: Share) {
  return create(RouteSchema, { mcpId, weight, state: RouteState.ACTIVE, maxConcurrent: 10, priority: 0 });
}

function digestOf(shares: readonly Share[]): bigint {
  return routeDigest(shares.map((share) => ({ ...share, stateNumber: RouteState.ACTIVE })));
}
