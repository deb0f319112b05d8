import { logMeanExp } from "./log-mean.js";
import type { RouterSettings } from "./settings.js";
import type { RouteTable } from "./table.js";
import type { RawWeight } from "./weigh.js";

/** ln weights on their way to their targets. A constant added to all of them changes no share. */
export type Smoothing = {
  readonly ln: ReadonlyMap<string, number>;
  /** Whether the level of `ln` is that of raw weights. It is not before the first MCP has signals of its own, nor after a restart. */
  readonly isAnchored: boolean;
  /** MCPs of a table taken over from before: they keep their weight until they have signals of their own, or `heldUntilMs`. */
  readonly held: ReadonlySet<string>;
  readonly heldUntilMs: number;
};

export type SmoothSettings = Pick<RouterSettings, "fallPerSecond" | "risePerSecond" | "weightExpirationPeriodMs">;

/** Where smoothing begins: at the weights of `table`, which the MCPs in it keep for a while, or at nothing. */
export function startSmoothing(table: RouteTable, nowMs: number, settings: SmoothSettings): Smoothing {
  const sharing = table.filter((route) => route.weight > 0);
  return {
    ln: new Map(sharing.map((route) => [route.mcpId, Math.log(route.weight)])),
    isAnchored: false,
    held: new Set(sharing.map((route) => route.mcpId)),
    heldUntilMs: nowMs + settings.weightExpirationPeriodMs,
  };
}

/**
 * One step of ℓ ← ℓ + α(ln raw − ℓ), with α scaled to the time that has passed. A newcomer enters at the mean of the others or at its target, whichever
 * is lower. `shift` is the constant by which all of `previous` was moved to bring it to the level of the raw weights; 0 in almost every step.
 * Source: router.md 1.4; the anchor and the held weights are explained in SPEC.md, "Smoothing".
 */
export function smooth(
  previous: Smoothing,
  raws: readonly RawWeight[],
  elapsedMs: number,
  nowMs: number,
  settings: SmoothSettings,
): { readonly next: Smoothing; readonly shift: number } {
  const own = raws.filter((raw) => raw.isMeasured);
  const shift = previous.isAnchored ? 0 : anchorShift(previous.ln, own);
  const known = raws.filter((raw) => previous.ln.has(raw.mcpId));
  const level = logMeanExp(known.map((raw) => previous.ln.get(raw.mcpId) ?? 0));
  const entry = level === undefined ? undefined : level + shift;
  // Before anyone is measured, the raw weights are compared with each other only, at the level that there is.
  const lift = own.length > 0 || entry === undefined ? 0 : entry - (logMeanExp(known.map((raw) => raw.lnRaw)) ?? 0);
  const held = nowMs < previous.heldUntilMs ? previous.held : new Set<string>();

  const ln = new Map<string, number>();
  const stillHeld = new Set<string>();
  for (const raw of raws) {
    const before = previous.ln.get(raw.mcpId);
    const target = raw.lnRaw + lift;
    if (before === undefined) {
      ln.set(raw.mcpId, entry === undefined ? target : Math.min(entry, target));
    } else if (!raw.isMeasured && held.has(raw.mcpId)) {
      ln.set(raw.mcpId, before + shift);
      stillHeld.add(raw.mcpId);
    } else {
      ln.set(raw.mcpId, approach(before + shift, target, elapsedMs, settings));
    }
  }
  return { next: { ln, isAnchored: own.length > 0, held: stillHeld, heldUntilMs: previous.heldUntilMs }, shift };
}

function approach(from: number, target: number, elapsedMs: number, settings: SmoothSettings): number {
  const perSecond = target < from ? settings.fallPerSecond : settings.risePerSecond;
  return from + (1 - (1 - perSecond) ** (elapsedMs / 1_000)) * (target - from);
}

/** What to add to `ln` so that the MCPs with signals of their own have, in the mean, the weight that the rule gives them. */
function anchorShift(ln: ReadonlyMap<string, number>, own: readonly RawWeight[]): number {
  const known = own.filter((raw) => ln.has(raw.mcpId));
  const from = logMeanExp(known.map((raw) => ln.get(raw.mcpId) ?? 0));
  const to = logMeanExp(known.map((raw) => raw.lnRaw));
  if (from !== undefined && to !== undefined) return to - from;
  const anyone = logMeanExp([...ln.values()]);
  const measured = logMeanExp(own.map((raw) => raw.lnRaw));
  return anyone === undefined || measured === undefined ? 0 : measured - anyone;
}
