import { rmSync, statSync, utimesSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import { z } from "zod";
import type { Clock } from "../../platform/clock.js";
import { CoordinatorError } from "../../platform/errors.js";
import { limits } from "../../platform/limits.js";
import { discardLock, draftLock, isRunning, readHolder, readLock, thisProcess, tryLink } from "../../platform/process-lock.js";
import { mintUuidV7 } from "../../platform/uuid-v7.js";

const holderShape = z.object({ pid: z.number(), host: z.string(), startedAt: z.string(), opening: z.string() });

/** Who holds a spool. `startedAt` tells a process from a later one with the same pid; "" where the system does not say. `opening` is of one opening. */
export type Holder = z.infer<typeof holderShape>;

/** A held spool. */
export type Hold = {
  /** The holder before went without releasing it: a crash, or kill -9. */
  readonly wasAbandoned: boolean;
  /** Shows to other hosts that the holder lives. */
  readonly beat: () => void;
  readonly release: () => void;
};

/**
 * What one process has seen of a lock over its tries to take it: by this a holder on another host is gone when its lock has stood still for so long, whatever the two wall clocks say.
 */
export class HolderWatch {
  #seen: { readonly touchedMs: number; readonly sinceMs: number } | undefined;

  /** How long the lock has stood still before the eyes of this watch; undefined at the first look. Units: ms; `nowMs` is monotonic. */
  standsStillMs(touchedMs: number, nowMs: number): number | undefined {
    const isFirst = this.#seen === undefined;
    if (this.#seen?.touchedMs !== touchedMs) this.#seen = { touchedMs, sinceMs: nowMs };
    return isFirst ? undefined : nowMs - this.#seen.sinceMs;
  }
}

const fileOf = (directory: string): string => join(directory, "lock");

/**
 * Takes the spool for this opening: LMDB lets many processes write, and two reporters would each send the same events.
 * A lock whose holder is gone is taken over.
 * Errors: `failed_precondition` SPOOL_IN_USE when it is held, also by this process.
 */
export function holdSpool(directory: string, clock: Clock, watch?: HolderWatch): Hold {
  const path = fileOf(directory);
  const text = JSON.stringify({
    ...thisProcess(),
    host: hostname(),
    opening: mintUuidV7(),
  } satisfies Holder);
  const own = `${path}.${process.pid}.${mintUuidV7()}`;
  let wasAbandoned = false;
  try {
    draftLock(own, text);
    while (!tryLink(own, path)) {
      const judged = readLock(path);
      const holder = findHolder(directory, clock, watch);
      if (holder !== undefined) throw heldError(directory, holder);
      wasAbandoned = true;
      discardLock(path, `${own}.stale`, judged);
    }
  } finally {
    rmSync(own, { force: true });
  }
  const isOurs = (): boolean => readLock(path) === text;
  return {
    wasAbandoned,
    beat: () => {
      const nowS = clock.nowMs() / 1_000;
      if (isOurs()) utimesSync(path, nowS, nowS);
    },
    release: () => {
      if (isOurs()) rmSync(path, { force: true });
    },
  };
}

/** The living process that holds the spool, if there is one. */
export function findHolder(directory: string, clock: Pick<Clock, "nowMs" | "monotonicMs">, watch?: HolderWatch): Holder | undefined {
  const path = fileOf(directory);
  const holder = readHolder(path, holderShape);
  if (holder === undefined) return undefined;
  return (holder.host === hostname() ? isRunning(holder) : hasBeaten(path, clock, watch)) ? holder : undefined;
}

/**
 * The only sign of life of a process on another host or in another container: it touches its lock. At the first look its time is compared with our wall clock, and one far ahead of ours counts
 * as now; from then on only whether it changes counts.
 */
function hasBeaten(path: string, clock: Pick<Clock, "nowMs" | "monotonicMs">, watch: HolderWatch | undefined): boolean {
  const touched = statSync(path, { throwIfNoEntry: false });
  if (touched === undefined) return false;
  const stillMs = watch?.standsStillMs(touched.mtimeMs, clock.monotonicMs()) ?? clock.nowMs() - touched.mtimeMs;
  return stillMs < limits.spoolHolderGoneMs;
}

function heldError(directory: string, holder: Holder): CoordinatorError {
  const whose = holder.host === hostname() ? `process ${holder.pid}` : `process ${holder.pid} on ${holder.host}`;
  const text = `the spool ${directory} is in use by ${whose}: give each process a spool of its own, or stop the other one`;
  return new CoordinatorError("failed_precondition", text, {
    reason: "SPOOL_IN_USE",
    metadata: { pid: String(holder.pid), host: holder.host },
  });
}
