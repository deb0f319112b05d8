import { apportion } from "./apportion.js";
import type { RouterSettings } from "./settings.js";
import { type Smoothing, smooth, startSmoothing } from "./smooth.js";
import type { PublishReason, Route, RouteTable } from "./table.js";
import type { RawWeight } from "./weigh.js";

/** What the publisher remembers between two looks at the signals. */
export type Plan = {
  readonly smoothing: Smoothing;
  /** Weights of the table in force, and the ln weights behind them, at the level of `smoothing`. */
  readonly published: { readonly weights: ReadonlyMap<string, number>; readonly ln: ReadonlyMap<string, number>; readonly atMs: number };
  readonly weighedAtMs: number;
  /** Publish at the next look, whatever has changed: nothing of ours is in force yet, or we cannot tell whether the last one was stored. */
  readonly owes: "initial" | "repeat" | undefined;
};

/** A table that should be published, and what to remember once it is stored. */
export type Candidate = { readonly table: RouteTable; readonly reason: PublishReason; readonly ln: ReadonlyMap<string, number> };

/** Where a new leader begins: at the table in force, which may be empty. */
export function startPlan(table: RouteTable, nowMs: number, settings: RouterSettings): Plan {
  const smoothing = startSmoothing(table, nowMs, settings);
  const weights = new Map(table.map((route) => [route.mcpId, route.weight]));
  return {
    smoothing,
    published: { weights, ln: smoothing.ln, atMs: Number.NEGATIVE_INFINITY },
    weighedAtMs: nowMs,
    owes: "initial",
  };
}

/** Whether to compute weights now: it is time to, or `members` are not those of the table in force, or a publication is owed. */
export function isDue(plan: Plan, members: readonly string[], nowMs: number, settings: RouterSettings): boolean {
  if (nowMs - plan.published.atMs < settings.publishIntervalMinMs) return false;
  if (plan.owes !== undefined || hasOtherMembers(plan.published.weights, members)) return true;
  return nowMs - plan.weighedAtMs >= Math.max(100, settings.weightUpdatePeriodMs);
}

/**
 * One look at the raw weights: smooths them and decides whether the table they make is worth publishing. `next` holds whether or not it is published;
 * call `confirm` when it was.     Source: router.md 1.4; why the clamp follows what all weights do together is in SPEC.md, "Publication".
 */
export function look(
  plan: Plan,
  raws: readonly RawWeight[],
  nowMs: number,
  settings: RouterSettings,
): { readonly next: Plan; readonly candidate: Candidate | undefined } {
  const { next: smoothing, shift } = smooth(plan.smoothing, raws, nowMs - plan.weighedAtMs, nowMs, settings);
  const moved = shift + commonMove(smoothing.ln, plan.published.ln, shift);
  const published = { ...plan.published, ln: new Map([...plan.published.ln].map(([mcpId, ln]) => [mcpId, ln + moved])) };
  const next: Plan = { ...plan, smoothing, published, weighedAtMs: nowMs };

  const ln = clampRise(smoothing.ln, published.ln, Math.log(settings.riseMaxFactor));
  const weights = apportion(ln);
  const reason = reasonFor(next, weights, nowMs, settings);
  if (reason === undefined) return { next, candidate: undefined };
  const table = raws.map((raw): Route => ({ mcpId: raw.mcpId, weight: weights.get(raw.mcpId) ?? 0, state: raw.state, why: raw.why }));
  return { next, candidate: { table, reason, ln } };
}

/** The candidate is stored and in force. */
export function confirm(plan: Plan, candidate: Candidate, nowMs: number): Plan {
  const weights = new Map(candidate.table.map((route) => [route.mcpId, route.weight]));
  return { ...plan, published: { weights, ln: candidate.ln, atMs: nowMs }, owes: undefined };
}

/** Nobody knows whether the last candidate was stored: publish again as soon as possible, so that all end with the same table. */
export function owe(plan: Plan): Plan {
  return { ...plan, owes: plan.owes ?? "repeat" };
}

function reasonFor(plan: Plan, weights: ReadonlyMap<string, number>, nowMs: number, settings: RouterSettings): PublishReason | undefined {
  if (plan.owes === "initial") return "initial";
  if (hasOtherMembers(plan.published.weights, [...weights.keys()])) return "membership";
  if (hasLeftDeadBand(weights, plan.published.weights, settings.deadBandFactor)) return "change";
  if (plan.owes === "repeat" || nowMs - plan.published.atMs >= settings.refreshMs) return "refresh";
  return undefined;
}

function hasOtherMembers(weights: ReadonlyMap<string, number>, members: readonly string[]): boolean {
  return weights.size !== members.length || members.some((mcpId) => !weights.has(mcpId));
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
