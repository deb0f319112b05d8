import { apportion } from "./apportion.js";
import { hasMoved, moveReason, type Place, placeOfRoute, type Seat, type Seating } from "./seats.js";
import type { RouterSettings } from "./settings.js";
import { type Smoothing, smooth, startSmoothing } from "./smooth.js";
import type { PublishReason, Route, RouteTable } from "./table.js";
import { splitByTier } from "./tiers.js";
import type { RawWeight } from "./weigh.js";

/** What the publisher remembers between two looks at the signals. */
export type Plan = {
  readonly smoothing: Smoothing;
  /** Weights and places of the table in force, and the ln weights behind them, at the level of `smoothing`. */
  readonly published: Published;
  readonly weighedAtMs: number;
  /** Publish at the next look, whatever has changed: nothing of ours is in force yet, or we cannot tell whether the last one was stored. */
  readonly owes: "initial" | "repeat" | undefined;
};

type Published = {
  readonly weights: ReadonlyMap<string, number>;
  readonly places: ReadonlyMap<string, Place>;
  readonly ln: ReadonlyMap<string, number>;
  readonly atMs: number;
};

/** A table that should be published, and what to remember once it is stored. */
export type Candidate = { readonly table: RouteTable; readonly reason: PublishReason; readonly ln: ReadonlyMap<string, number> };

/** Where a new leader begins: at the table in force, which may be empty. */
export function startPlan(table: RouteTable, nowMs: number, settings: RouterSettings): Plan {
  const smoothing = startSmoothing(table, nowMs, settings);
  return {
    smoothing,
    published: { ...shownBy(table), ln: smoothing.ln, atMs: Number.NEGATIVE_INFINITY },
    weighedAtMs: nowMs,
    owes: "initial",
  };
}

/** Whether to compute weights now: it is time to, or the places are not those of the table in force, or a publication is owed. */
export function isDue(plan: Plan, seats: readonly Seat[], nowMs: number, settings: RouterSettings): boolean {
  if (nowMs - plan.published.atMs < settings.publishIntervalMinMs) return false;
  if (plan.owes !== undefined || hasMoved(plan.published.places, seats)) return true;
  return nowMs - plan.weighedAtMs >= Math.max(100, settings.weightUpdatePeriodMs);
}

/**
 * One look at the raw weights, which are those of the seats with a share: smooths them and decides whether the table they make is worth publishing. Who
 * has lost its share is not smoothed: the others have it at once. `next` holds whether or not it is published; call `confirm` when it was.
 * Source: router.md 1.4; why the clamp follows what all weights do together is in SPEC.md, "Publication".
 */
export function look(
  plan: Plan,
  raws: readonly RawWeight[],
  seating: Seating,
  nowMs: number,
  settings: RouterSettings,
): { readonly next: Plan; readonly candidate: Candidate | undefined } {
  const { next: smoothing, shift } = smooth(plan.smoothing, raws, nowMs - plan.weighedAtMs, nowMs, settings);
  const moved = shift + commonMove(smoothing.ln, plan.published.ln, shift);
  const published = { ...plan.published, ln: new Map([...plan.published.ln].map(([mcpId, ln]) => [mcpId, ln + moved])) };
  const next: Plan = { ...plan, smoothing, published, weighedAtMs: nowMs };

  const ln = clampRise(smoothing.ln, published.ln, Math.log(settings.riseMaxFactor));
  const priorities = new Map(seating.seats.map((seat) => [seat.mcpId, seat.standing.priority]));
  const weights = apportion(splitByTier(ln, (mcpId) => priorities.get(mcpId) ?? 0, seating.tiers));
  const reason = reasonFor(next, weights, seating.seats, nowMs, settings);
  if (reason === undefined) return { next, candidate: undefined };
  return { next, candidate: { table: tableOf(seating.seats, raws, weights), reason, ln } };
}

function tableOf(seats: readonly Seat[], raws: readonly RawWeight[], weights: ReadonlyMap<string, number>): RouteTable {
  const byId = new Map(raws.map((raw) => [raw.mcpId, raw]));
  return seats.map((seat): Route => {
    const { mcpId, standing } = seat;
    const raw = byId.get(mcpId);
    return {
      mcpId,
      weight: weights.get(mcpId) ?? 0,
      state: raw?.state ?? seat.state,
      maxConcurrent: standing.capacity,
      priority: standing.priority,
      why: raw?.why ?? [],
    };
  });
}

/** The candidate is stored and in force. */
export function confirm(plan: Plan, candidate: Candidate, nowMs: number): Plan {
  return { ...plan, published: { ...shownBy(candidate.table), ln: candidate.ln, atMs: nowMs }, owes: undefined };
}

/** Nobody knows whether the last candidate was stored: publish again as soon as possible, so that all end with the same table. */
export function owe(plan: Plan): Plan {
  return { ...plan, owes: plan.owes ?? "repeat" };
}

/** Another rule weighs from now on: what it says is compared with the weights in force by differences only, and the shares move from where they are. */
export function changeRule(plan: Plan): Plan {
  return { ...plan, smoothing: { ...plan.smoothing, isAnchored: false } };
}

function shownBy(table: RouteTable): Pick<Published, "weights" | "places"> {
  return {
    weights: new Map(table.map((route) => [route.mcpId, route.weight])),
    places: new Map(table.map((route) => [route.mcpId, placeOfRoute(route)])),
  };
}

function reasonFor(
  plan: Plan,
  weights: ReadonlyMap<string, number>,
  seats: readonly Seat[],
  nowMs: number,
  settings: RouterSettings,
): PublishReason | undefined {
  if (plan.owes === "initial") return "initial";
  const move = moveReason(plan.published.places, seats);
  if (move !== undefined) return move;
  if (hasLeftDeadBand(weights, plan.published.weights, settings.deadBandFactor)) return "change";
  if (plan.owes === "repeat" || nowMs - plan.published.atMs >= settings.refreshMs) return "refresh";
  return undefined;
}

/** A difference of one basis point is rounding: among 500 MCPs it is already 5 % of a share. */
function hasLeftDeadBand(weights: ReadonlyMap<string, number>, before: ReadonlyMap<string, number>, factor: number): boolean {
  for (const [mcpId, weight] of weights) {
    const old = before.get(mcpId) ?? 0;
    if (Math.abs(weight - old) > 1 && Math.max(weight, old) > factor * Math.min(weight, old)) return true;
  }
  return false;
}

function clampRise(ln: ReadonlyMap<string, number>, published: ReadonlyMap<string, number>, riseMax: number): ReadonlyMap<string, number> {
  return new Map([...ln].map(([mcpId, to]) => [mcpId, Math.min(to, (published.get(mcpId) ?? Number.POSITIVE_INFINITY) + riseMax)]));
}

/** How far all weights have moved together since they were published; 0 when some rose and some fell. It changes no share, so it is not a rise. */
function commonMove(ln: ReadonlyMap<string, number>, published: ReadonlyMap<string, number>, shift: number): number {
  const moves = [...ln].map(([mcpId, to]) => to - (published.get(mcpId) ?? Number.NaN) - shift).filter((move) => !Number.isNaN(move));
  if (moves.length === 0) return 0;
  const least = moves.reduce((a, b) => Math.min(a, b));
  const most = moves.reduce((a, b) => Math.max(a, b));
  return least > 0 ? least : Math.min(0, most);
}
