import type { SpoolKind } from "./spool.js";

/** How much lies in a spool: everything that waits, what of it may be dropped, and what is set aside. Bytes are those of records. */
export type Totals = {
  events: number;
  bytes: number;
  progressEvents: number;
  progressBytes: number;
  setAside: number;
  setAsideBytes: number;
};

export const noTotals = (): Totals => ({ events: 0, bytes: 0, progressEvents: 0, progressBytes: 0, setAside: 0, setAsideBytes: 0 });

/** Adds an event (`sign` 1) or takes one away (-1). */
export function countEvent(totals: Totals, kind: SpoolKind, bytes: number, sign: 1 | -1): void {
  totals.events += sign;
  totals.bytes += sign * bytes;
  if (kind !== "progress") return;
  totals.progressEvents += sign;
  totals.progressBytes += sign * bytes;
}

/** Adds a set-aside event (`sign` 1) or takes one away (-1). */
export function countSetAside(totals: Totals, bytes: number, sign: 1 | -1): void {
  totals.setAside += sign;
  totals.setAsideBytes += sign * bytes;
}
