import type { RoutingUpdate } from "../../gen/mcp/coordinator/v1/routes_pb.js";
import { routeDigest } from "./route-digest.js";
import { msOf } from "./wire/time.js";

/** One weighted MCP, as a client uses it. `weight` in basis points. */
type ClientRoute = { readonly mcpId: string; readonly weight: number; readonly isWarming: boolean };

/** A table in force at the client. Compare (term, version) in that order. */
export type ClientRoutes = {
  readonly term: bigint;
  readonly version: bigint;
  readonly digest: bigint;
  readonly routes: readonly ClientRoute[];
  readonly validForMs: number;
  readonly policyId: string;
  readonly reason: string;
};

/** What to do with an update: `kept` means that the table in force is as new, which is acknowledged as applied. */
export type RoutesVerdict =
  | { readonly kind: "applied"; readonly routes: ClientRoutes }
  | { readonly kind: "kept" }
  | { readonly kind: "rejected"; readonly reason: string };

/** Sum of the weights of a table that is not empty. Source: routes.proto, RouteTable. */
const weightSum = 10_000;
const warmingNumber = 2;
/** Used when an update does not say how long it holds. Source: routes.proto, RoutingUpdate.valid_for. */
const validForDefaultMs = 180_000;

/** Judges an update against the table in force: a table is applied only when it is newer, whole, and has the digest that its publisher computed. */
export function judgeRoutes(current: ClientRoutes | undefined, update: RoutingUpdate): RoutesVerdict {
  if (current !== undefined && !isNewer(update, current)) return { kind: "kept" };
  if (update.body.case !== "full") return { kind: "rejected", reason: "the update has no table that this client knows" };
  const routes = update.body.value.routes;
  const sum = routes.reduce((total, route) => total + route.weight, 0);
  if (routes.length > 0 && sum !== weightSum) return { kind: "rejected", reason: `the weights sum to ${sum}, not to ${weightSum}` };
  if (new Set(routes.map((route) => route.mcpId)).size !== routes.length) return { kind: "rejected", reason: "an MCP appears twice" };
  const digest = routeDigest(routes.map((route) => ({ mcpId: route.mcpId, weight: route.weight, stateNumber: route.state })));
  if (digest !== update.digest) return { kind: "rejected", reason: "the digest does not match the table" };
  return {
    kind: "applied",
    routes: {
      term: update.term,
      version: update.version,
      digest,
      routes: routes.map((route) => ({ mcpId: route.mcpId, weight: route.weight, isWarming: Number(route.state) === warmingNumber })),
      validForMs: msOf(update.validFor, validForDefaultMs),
      policyId: update.policyId,
      reason: update.reason,
    },
  };
}

function isNewer(update: RoutingUpdate, current: ClientRoutes): boolean {
  return update.term > current.term || (update.term === current.term && update.version > current.version);
}
