import { type Route, type RoutingUpdate, RouteState as StateNumber } from "../../gen/mcp/coordinator/v1/routes_pb.js";
import { limits } from "../platform/limits.js";
import { routeDigest } from "./route-digest.js";
import { msOf } from "./wire/time.js";

/** How the weight of a route came about; "unknown" for a state that a newer coordinator names. */
export type ClientRouteState = "active" | "warming" | "degraded" | "draining" | "ejected" | "disconnected" | "unknown";

/** One MCP of a table. */
export type ClientRoute = {
  readonly mcpId: string;
  /** Basis points; 0 means: send it nothing. */
  readonly weight: number;
  readonly state: ClientRouteState;
  /** Number of the state on the wire, which the digest covers. */
  readonly stateNumber: number;
  /** Requests that it may have at once; 0 where nothing is known. */
  readonly maxConcurrent: number;
  readonly priority: number;
};

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

/** The newest table that was ever in force here, still so or run out. */
export type RoutesSeen = { readonly term: bigint; readonly version: bigint };

/** Why one target cannot be used; an empty mcpId means the table as a whole. */
export type TargetVerdict = { readonly mcpId: string; readonly reason: string };

/** What to do with an update: `kept` means that the table in force is as new, which is acknowledged as applied. */
export type RoutesVerdict =
  | { readonly kind: "applied"; readonly routes: ClientRoutes }
  | { readonly kind: "kept" }
  | {
      readonly kind: "rejected";
      readonly rejection: "content" | "out_of_sync" | "stale_epoch";
      readonly verdicts: readonly TargetVerdict[];
    };

/** Says why a target cannot be used by this client, or undefined when it can. */
export type JudgeTarget = (route: ClientRoute) => string | undefined;

/** Sum of the weights of a table in which anyone has a share. Source: routes.proto, RouteTable. */
const weightSum = 10_000;
/** Used when an update does not say how long it holds. Source: routes.proto, RoutingUpdate.valid_for. */
const validForDefaultMs = 180_000;

const stateNames = {
  [StateNumber.UNSPECIFIED]: "unknown",
  [StateNumber.ACTIVE]: "active",
  [StateNumber.WARMING]: "warming",
  [StateNumber.DEGRADED]: "degraded",
  [StateNumber.DRAINING]: "draining",
  [StateNumber.EJECTED]: "ejected",
  [StateNumber.DISCONNECTED]: "disconnected",
} as const satisfies Record<StateNumber, ClientRouteState>;

/**
 * Judges an update against the table in force: a table is applied only when it is newer than all that were seen, can be made whole, has the digest that its publisher
 * computed, and every target can be used. Nothing is applied in part.     Source: router.md 1.7, rules 1 to 4.
 */
export function judgeRoutes(
  current: ClientRoutes | undefined,
  update: RoutingUpdate,
  seen: RoutesSeen | undefined = current,
  judgeTarget: JudgeTarget = () => undefined,
): RoutesVerdict {
  if (seen !== undefined && update.term < seen.term) return rejected("stale_epoch", `term ${seen.term} has begun`);
  if (seen !== undefined && update.term === seen.term && update.version <= seen.version) {
    if (current !== undefined) return { kind: "kept" };
    if (update.version < seen.version) return rejected("stale_epoch", `version ${seen.version} was in force already`);
  }
  const made = tableOf(current, update);
  if (!Array.isArray(made)) return made;
  if (routeDigest(made) !== update.digest) return rejected("out_of_sync", "the digest does not match the table");
  return faultOf(made, judgeTarget) ?? { kind: "applied", routes: inForce(made, update) };
}

function inForce(routes: readonly ClientRoute[], update: RoutingUpdate): ClientRoutes {
  const { term, version, digest, policyId, reason } = update;
  return { term, version, digest, routes, validForMs: msOf(update.validFor, validForDefaultMs), policyId, reason };
}

/** The table that an update leads to, or why there is none. */
function tableOf(current: ClientRoutes | undefined, { body, term }: RoutingUpdate): ClientRoute[] | RoutesVerdict {
  switch (body.case) {
    case "full":
      return body.value.routes.map(routeOf);
    case "delta": {
      const { baseVersion, upsert, remove } = body.value;
      if (current === undefined || current.term !== term || current.version !== baseVersion) {
        return rejected("out_of_sync", `version ${baseVersion} of term ${term} is not in force`);
      }
      const routes = new Map(current.routes.map((route) => [route.mcpId, route]));
      for (const mcpId of remove) routes.delete(mcpId);
      for (const route of upsert) routes.set(route.mcpId, routeOf(route));
      return [...routes.values()];
    }
    default:
      return rejected("content", "the update has no table that this client knows");
  }
}

/** What makes a table unusable although it is the one that was published. */
function faultOf(routes: readonly ClientRoute[], judgeTarget: JudgeTarget): RoutesVerdict | undefined {
  if (routes.length > limits.clientRoutesMax)
    return rejected("content", `${routes.length} routes; at most ${limits.clientRoutesMax} are taken`);
  const sum = routes.reduce((total, route) => total + route.weight, 0);
  if (sum !== weightSum && sum !== 0) return rejected("content", `the weights sum to ${sum}, not to ${weightSum}`);
  if (new Set(routes.map((route) => route.mcpId)).size !== routes.length) return rejected("content", "an MCP appears twice");
  const verdicts = routes.flatMap((route): TargetVerdict[] => {
    const reason = judgeTarget(route);
    return reason === undefined ? [] : [{ mcpId: route.mcpId, reason }];
  });
  if (verdicts.length === 0) return undefined;
  return { kind: "rejected", rejection: "content", verdicts: verdicts.slice(0, limits.routeVerdictMax) };
}

function rejected(rejection: "content" | "out_of_sync" | "stale_epoch", reason: string): RoutesVerdict {
  return { kind: "rejected", rejection, verdicts: [{ mcpId: "", reason }] };
}

function routeOf({ mcpId, weight, state, maxConcurrent, priority }: Route): ClientRoute {
  return { mcpId, weight, state: stateNameOf(state), stateNumber: state, maxConcurrent, priority };
}

/** Numbers of a newer contract arrive as they are, whatever the generated type says. */
export function stateNameOf(state: StateNumber): ClientRouteState {
  return (stateNames as Readonly<Record<number, ClientRouteState | undefined>>)[state] ?? "unknown";
}
