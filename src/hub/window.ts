import { limits } from "../platform/limits.js";
import type { PressureName } from "../wire/frame.js";

/** What every session may have unacknowledged right now, and why. Absolute values. */
export type Grant = { readonly maxEvents: number; readonly maxBytes: number; readonly pressure: PressureName };

/** What decides how much sessions are granted. */
export type Strain = {
  readonly pendingEvents: number;
  readonly pendingBytes: number;
  readonly isStoreAvailable: boolean;
  /** Share of the memory that the process may have, 0 to 1. */
  readonly memoryShare: number;
  /** Sessions that have unacknowledged events. */
  readonly senderCount: number;
};

/** The grant in force and how it came to be: the full window halved `halvings` times. */
export type Squeeze = {
  readonly grant: Grant;
  readonly halvings: number;
  /** Since when there has been no reason for a halved window; undefined while there is. Monotonic ms. */
  readonly calmSinceMs: number | undefined;
};

/** No pressure at all. */
export const relaxed: Squeeze = { grant: grantOf(0, "none"), halvings: 0, calmSinceMs: undefined };

/**
 * The next squeeze. Pure.     Units: `nowMs` is monotonic.
 *
 * Windows shrink at once, as far as the part of the pending budget that may be filled, shared among those who send, asks for; while memory is short, or
 * the budget nearly full in spite of it, by one more halving at each step. They grow by one halving after `limits.pressureCalmMs` without any reason, so
 * that a queue that hovers around a threshold does not make windows flap. A store that is away shrinks nothing by itself: what fits into the budget
 * waits for it there instead of at the clients.
 */
export function squeeze(before: Squeeze, strain: Strain, nowMs: number): Squeeze {
  const fill = Math.max(strain.pendingEvents / limits.pendingMaxEvents, strain.pendingBytes / limits.pendingMaxBytes);
  const isMemoryShort = strain.memoryShare >= limits.memoryHighShare;
  const needed = neededHalvings(before, strain, fill, isMemoryShort);
  if (needed > before.halvings) return settle(strain, needed, isMemoryShort, undefined);
  const isCalm = fill < limits.pressureLowShare && strain.memoryShare < limits.memoryLowShare;
  if (before.halvings === 0 || !isCalm) return settle(strain, before.halvings, isMemoryShort, undefined);
  const calmSinceMs = before.calmSinceMs ?? nowMs;
  if (nowMs - calmSinceMs < limits.pressureCalmMs) return settle(strain, before.halvings, isMemoryShort, calmSinceMs);
  return settle(strain, before.halvings - 1, isMemoryShort, nowMs);
}

function neededHalvings(before: Squeeze, strain: Strain, fill: number, isMemoryShort: boolean): number {
  let needed = 0;
  if (fill >= limits.pressureHighShare) {
    const share = (limits.pendingMaxEvents * limits.pressureHighShare) / Math.max(1, strain.senderCount);
    needed = Math.max(0, Math.round(Math.log2(limits.windowMaxEvents / share)));
  }
  if (isMemoryShort || fill >= limits.pressureFullShare) needed = Math.max(needed, before.halvings + 1);
  return Math.min(needed, limits.windowHalvingsMax);
}

function settle(strain: Strain, halvings: number, isMemoryShort: boolean, calmSinceMs: number | undefined): Squeeze {
  return { grant: grantOf(halvings, pressureOf(strain, halvings, isMemoryShort)), halvings, calmSinceMs };
}

/** The strongest reason there is: a store that is away explains more than the queue that it fills. */
function pressureOf(strain: Strain, halvings: number, isMemoryShort: boolean): PressureName {
  if (!strain.isStoreAvailable) return "storage_unavailable";
  if (isMemoryShort) return "memory";
  return halvings > 0 ? "busy" : "none";
}

/** One event of any size always fits. */
function grantOf(halvings: number, pressure: PressureName): Grant {
  return {
    maxEvents: Math.max(1, Math.floor(limits.windowMaxEvents / 2 ** halvings)),
    maxBytes: Math.max(limits.eventMaxBytes, Math.floor(limits.windowMaxBytes / 2 ** halvings)),
    pressure,
  };
}
