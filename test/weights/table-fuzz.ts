import { create } from "@bufbuild/protobuf";
import { RouteState, type RoutingUpdate, RoutingUpdateSchema } from "../../gen/mcp/coordinator/v1/routes_pb.js";
import { routeDigest } from "../../src/client/route-digest.js";
import { type ClientRoutes, judgeRoutes, type RoutesSeen } from "../../src/client/routes.js";
import { seededRng } from "../../src/platform/rng.js";

/** What came of a run. */
export type TableFuzz = {
  readonly steps: number;
  readonly seed: number;
  readonly applied: number;
  readonly kept: number;
  readonly outOfSync: number;
  readonly staleEpoch: number;
  /** Applied although nobody published that table under that version, or although a newer one had been in force. */
  readonly wrong: number;
};

type Entry = { readonly weight: number; readonly state: RouteState };
type Published = { readonly term: bigint; readonly version: bigint; readonly table: ReadonlyMap<string, Entry>; readonly digest: bigint };

/** Publications that may still arrive: what a network with long memory holds. */
const historyMax = 12;
const names = ["a", "b", "c", "d", "e", "f", "\u{1F600}", "\uFF5E"];

/**
 * A publisher, its stale predecessors, and a network that reorders, repeats, loses and damages updates, against the client's judgement of updates. Every table that
 * comes into force is compared with what was published under its version.
 */
export function fuzzTables(steps: number, seed: number): TableFuzz {
  const rng = seededRng(seed);
  const below = (count: number): number => Math.floor(rng() * count);
  const history: Published[] = [publish(1n, 1n, new Map([["a", { weight: 10_000, state: RouteState.ACTIVE }]]))];
  const truth = new Map(history.map((one) => [nameOf(one), one]));
  const counts = { applied: 0, kept: 0, outOfSync: 0, staleEpoch: 0, wrong: 0 };
  let current: ClientRoutes | undefined;
  let seen: RoutesSeen | undefined;
  const pick = (): Published => history[below(history.length)] ?? history[0] ?? publish(1n, 1n, new Map());

  for (let step = 0; step < steps; step += 1) {
    if (rng() < 0.4) {
      const next = nextOf(pick(), history.at(-1) ?? pick(), rng, below);
      if (!truth.has(nameOf(next))) {
        history.push(next);
        truth.set(nameOf(next), next);
        if (history.length > historyMax) truth.delete(nameOf(history.shift() ?? next));
      }
    }
    // Now and then a client loses its table, as after valid_for, and has to keep to what it has seen.
    if (rng() < 0.01) current = undefined;
    const update = damaged(updateOf(pick(), pick(), rng), rng, below);
    const verdict = judgeRoutes(current, update, seen);
    if (verdict.kind === "kept") counts.kept += 1;
    else if (verdict.kind === "rejected") counts[verdict.rejection === "stale_epoch" ? "staleEpoch" : "outOfSync"] += 1;
    else {
      counts.applied += 1;
      if (isWrong(verdict.routes, truth.get(nameOf(verdict.routes)), seen)) counts.wrong += 1;
      current = verdict.routes;
      seen = { term: current.term, version: current.version };
    }
  }
  return { steps, seed, ...counts };
}

function nameOf({ term, version }: { readonly term: bigint; readonly version: bigint }): string {
  return `${term}/${version}`;
}

function publish(term: bigint, version: bigint, table: ReadonlyMap<string, Entry>): Published {
  const digest = routeDigest([...table].map(([mcpId, { weight, state }]) => ({ mcpId, weight, stateNumber: state })));
  return { term, version, table, digest };
}

/** A table that follows: of the same publisher, of a new one, or of an old one that does not know that it was replaced. */
function nextOf(base: Published, newest: Published, rng: () => number, below: (count: number) => number): Published {
  const kind = rng();
  const from = kind < 0.1 ? base : newest;
  const table = new Map(from.table);
  for (let change = below(3); change >= 0; change -= 1) {
    const [donor, taker] = [names[below(names.length)] ?? "a", names[below(names.length)] ?? "b"];
    const moved = Math.floor((table.get(donor)?.weight ?? 0) * rng());
    if (donor === taker || moved === 0) continue;
    const left = (table.get(donor)?.weight ?? 0) - moved;
    if (left === 0) table.delete(donor);
    else table.set(donor, { weight: left, state: rng() < 0.2 ? RouteState.DEGRADED : RouteState.ACTIVE });
    table.set(taker, { weight: (table.get(taker)?.weight ?? 0) + moved, state: RouteState.ACTIVE });
  }
  const term = kind > 0.97 ? newest.term + 1n : from.term;
  return publish(term, from.version + 1n + BigInt(below(2)), table);
}

function updateOf(target: Published, base: Published, rng: () => number): RoutingUpdate {
  const { term, version, digest, table } = target;
  const routes = [...table].map(([mcpId, entry]) => ({ mcpId, ...entry }));
  if (rng() < 0.4) return create(RoutingUpdateSchema, { nonce: "n", term, version, digest, body: { case: "full", value: { routes } } });
  const upsert = routes.filter(({ mcpId, weight, state }) => {
    const before = base.table.get(mcpId);
    return before?.weight !== weight || before.state !== state;
  });
  const remove = [...base.table.keys()].filter((mcpId) => !table.has(mcpId));
  const value = { baseVersion: base.version, upsert, remove };
  return create(RoutingUpdateSchema, { nonce: "n", term, version, digest, body: { case: "delta", value } });
}

/** One in ten is damaged: in its digest, its base, its routes, or its name. */
function damaged(update: RoutingUpdate, rng: () => number, below: (count: number) => number): RoutingUpdate {
  if (rng() >= 0.1) return update;
  const { body } = update;
  const routes = body.case === "full" ? body.value.routes : body.case === "delta" ? body.value.upsert : [];
  const route = routes[below(Math.max(1, routes.length))];
  switch (below(4)) {
    case 0:
      update.digest ^= 1n << BigInt(below(64));
      break;
    case 1:
      if (body.case === "delta") body.value.baseVersion += BigInt(1 + below(3));
      break;
    case 2:
      if (route !== undefined) route.weight += 1;
      break;
    default:
      if (body.case === "delta" && body.value.remove.length > 0) body.value.remove.pop();
      else routes.pop();
  }
  return update;
}

function isWrong(routes: ClientRoutes, published: Published | undefined, seen: RoutesSeen | undefined): boolean {
  if (published === undefined || published.table.size !== routes.routes.length) return true;
  if (seen !== undefined && (routes.term < seen.term || (routes.term === seen.term && routes.version < seen.version))) return true;
  return routes.routes.some(({ mcpId, weight, stateNumber }) => {
    const entry = published.table.get(mcpId);
    return entry?.weight !== weight || entry.state !== stateNumber;
  });
}
