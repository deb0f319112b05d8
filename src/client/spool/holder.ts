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
 * What one opener has seen of a lock over its tries to take it. A holder on another host is gone when its lock has stood still before these eyes for `limits.spoolHolderGoneMs`: neither the wall
 * clock of either host nor that of their file system has a say, since any of them may jump.
 */
export class HolderWatch {
  #seen: { readonly sign: string; readonly sinceMs: number } | undefined;

  /** How long the lock has stood still; 0 at the first look. `sign` is another one after each sign of life. Units: ms; `nowMs` is monotonic. */
  standsStillMs(sign: string, nowMs: number): number {
    if (this.#seen?.sign !== sign) this.#seen = { sign, sinceMs: nowMs };
    return nowMs - this.#seen.sinceMs;
  }
}

const fileOf = (directory: string): string => join(directory, "lock");

/**
 * Takes the spool for this opening: LMDB lets many processes write, and two reporters would each send the same events.
 * A lock whose holder is gone is taken over: on this host at once, on another one with the try at which `watch` has seen it stand still for long enough.
 * Errors: `failed_precondition` SPOOL_IN_USE when it is held, also by this process.
 */
export function holdSpool(directory: string, clock: Clock, watch = new HolderWatch()): Hold {
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

/** The process that holds the spool, if there is one and `watch` does not know better. */
export function findHolder(directory: string, clock: Pick<Clock, "monotonicMs">, watch: HolderWatch): Holder | undefined {
  return holderThat(directory, ({ opening }, touchedMs) => {
    return watch.standsStillMs(`${opening} ${touchedMs}`, clock.monotonicMs()) < limits.spoolHolderGoneMs;
  });
}

/** The same for people, at one look: the time of the lock is compared with our wall clock, which may be wrong by as much as either has jumped. Nothing may be taken because of it. */
export function guessHolder(directory: string, clock: Pick<Clock, "nowMs">): Holder | undefined {
  return holderThat(directory, (_, touchedMs) => clock.nowMs() - touchedMs < limits.spoolHolderGoneMs);
}

/** On this host a process is there or not. On another host, or in another container, touching its lock is its only sign of life, and `hasBeaten` judges that. */
function holderThat(directory: string, hasBeaten: (holder: Holder, touchedMs: number) => boolean): Holder | undefined {
  const path = fileOf(directory);
  const holder = readHolder(path, holderShape);
  if (holder === undefined) return undefined;
  if (holder.host === hostname()) return isRunning(holder) ? holder : undefined;
  const touched = statSync(path, { throwIfNoEntry: false });
  return touched !== undefined && hasBeaten(holder, touched.mtimeMs) ? holder : undefined;
}

function heldError(directory: string, holder: Holder): CoordinatorError {
  const isHere = holder.host === hostname();
  const whose = isHere ? `process ${holder.pid}` : `process ${holder.pid} on ${holder.host}`;
  const orGone = isHere ? "" : `; if that one is gone, the spool is free ${limits.spoolHolderGoneMs / 1_000} s after the first try`;
  const text = `the spool ${directory} is in use by ${whose}: give each process a spool of its own, or stop the other one${orGone}`;
  return new CoordinatorError("failed_precondition", text, {
    reason: "SPOOL_IN_USE",
    metadata: { pid: String(holder.pid), host: holder.host },
  });
}
