import type { Clock } from "../../platform/clock.js";
import type { CoordinatorError } from "../../platform/errors.js";
import { limits } from "../../platform/limits.js";
import type { Logger } from "../../platform/log.js";

/**
 * What a spool has to say: `full` events not taken or progress dropped for room, `disk` refuses, `too_old` events dropped or set aside,
 * `set_aside_full` the oldest refused ones forgotten, `repaired` a broken file was moved aside, `unreadable` a record is not what was written.
 */
export type SpoolTroubleKind = "full" | "disk" | "too_old" | "set_aside_full" | "repaired" | "unreadable";

/** `count`: of events concerned since the last time this kind was told. */
export type SpoolTrouble = {
  readonly kind: SpoolTroubleKind;
  readonly message: string;
  readonly count: number;
  readonly error: CoordinatorError | undefined;
};

export type TroubleOutlet = (kind: SpoolTroubleKind, message: string, count: number, error?: CoordinatorError) => void;

/** Tells of each kind of trouble at most once in `limits.spoolTroubleIntervalMs`, and how many events it concerned since: the first time at once. */
export function createTroubleOutlet(
  clock: Clock,
  log: Logger | undefined,
  onTrouble: ((trouble: SpoolTrouble) => void) | undefined,
): TroubleOutlet {
  const untold = new Map<SpoolTroubleKind, { count: number; toldMs: number }>();
  return (kind, message, count, error) => {
    const nowMs = clock.monotonicMs();
    const entry = untold.get(kind) ?? { count: 0, toldMs: Number.NEGATIVE_INFINITY };
    untold.set(kind, entry);
    entry.count += count;
    if (nowMs - entry.toldMs < limits.spoolTroubleIntervalMs) return;
    const told = { kind, message, count: entry.count, error };
    entry.count = 0;
    entry.toldMs = nowMs;
    log?.warn({ trouble: kind, count: told.count, err: error }, message);
    onTrouble?.(told);
  };
}
