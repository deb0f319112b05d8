import { linkSync, readFileSync, renameSync, rmSync, statSync, utimesSync, writeFileSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import { z } from "zod";
import type { Clock } from "../../platform/clock.js";
import { CoordinatorError } from "../../platform/errors.js";
import { limits } from "../../platform/limits.js";
import { mintUuidV7 } from "../../platform/uuid-v7.js";
import { codeOf } from "./disk-fault.js";

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

const fileOf = (directory: string): string => join(directory, "lock");

/**
 * Takes the spool for this opening: LMDB lets many processes write, and two reporters would each send the same events.
 * A lock whose holder is gone is taken over.
 * Errors: `failed_precondition` SPOOL_IN_USE when it is held, also by this process.
 */
export function holdSpool(directory: string, clock: Clock): Hold {
  const path = fileOf(directory);
  const text = JSON.stringify({
    pid: process.pid,
    host: hostname(),
    startedAt: startOf(process.pid),
    opening: mintUuidV7(),
  } satisfies Holder);
  const own = `${path}.${process.pid}.${mintUuidV7()}`;
  let wasAbandoned = false;
  try {
    writeFileSync(own, text, { mode: 0o600 });
    // A link is made whole or not at all, so nobody reads a lock that is half written.
    while (!tryLink(own, path)) {
      const holder = findHolder(directory, clock);
      if (holder !== undefined) throw heldError(directory, holder);
      wasAbandoned = true;
      discard(path, `${own}.stale`);
    }
  } finally {
    rmSync(own, { force: true });
  }
  const isOurs = (): boolean => readHolder(path)?.text === text;
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
export function findHolder(directory: string, clock: Pick<Clock, "nowMs">): Holder | undefined {
  const path = fileOf(directory);
  const holder = readHolder(path)?.holder;
  if (holder === undefined) return undefined;
  return (holder.host === hostname() ? isRunning(holder) : hasBeaten(path, clock)) ? holder : undefined;
}

/** Removes a lock whose holder is gone. Another process may do the same: whoever takes away a lock that was made meanwhile puts it back. */
function discard(path: string, aside: string): void {
  const seen = readHolder(path)?.text;
  try {
    renameSync(path, aside);
  } catch (thrown) {
    if (codeOf(thrown) === "ENOENT") return;
    throw thrown;
  }
  if (readHolder(aside)?.text !== seen) tryLink(aside, path);
  rmSync(aside, { force: true });
}

function tryLink(from: string, to: string): boolean {
  try {
    linkSync(from, to);
    return true;
  } catch (thrown) {
    if (codeOf(thrown) === "EEXIST") return false;
    throw thrown;
  }
}

/** What the file says; a file that says nothing sensible names no holder. */
function readHolder(path: string): { readonly text: string; readonly holder: Holder | undefined } | undefined {
  try {
    const text = readFileSync(path, "utf8");
    return { text, holder: parseHolder(text) };
  } catch (thrown) {
    if (codeOf(thrown) === "ENOENT") return undefined;
    throw thrown;
  }
}

function parseHolder(text: string): Holder | undefined {
  try {
    return holderShape.safeParse(JSON.parse(text)).data;
  } catch {
    // Failure becomes the answer: not JSON, so not a lock of ours.
    return undefined;
  }
}

function isRunning(holder: Holder): boolean {
  try {
    process.kill(holder.pid, 0);
  } catch (thrown) {
    return codeOf(thrown) === "EPERM" && startOf(holder.pid) === holder.startedAt;
  }
  return startOf(holder.pid) === holder.startedAt;
}

/** The only sign of life of a process on another host or in another container: it touches its lock. A clock far ahead of ours counts as now. */
function hasBeaten(path: string, clock: Pick<Clock, "nowMs">): boolean {
  const touched = statSync(path, { throwIfNoEntry: false });
  return touched !== undefined && clock.nowMs() - touched.mtimeMs < limits.spoolHolderGoneMs;
}

/** When a process began, as the system counts, with the boot it counts from; "" where /proc does not exist. */
function startOf(pid: number): string {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    // The name in the second field may hold blanks and parentheses; the start time is the 20th field after it.
    const ticks = stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19] ?? "";
    return `${readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim()} ${ticks}`;
  } catch {
    // Failure becomes the answer: this system does not say.
    return "";
  }
}

function heldError(directory: string, holder: Holder): CoordinatorError {
  const whose = holder.host === hostname() ? `process ${holder.pid}` : `process ${holder.pid} on ${holder.host}`;
  const text = `the spool ${directory} is in use by ${whose}: give each process a spool of its own, or stop the other one`;
  return new CoordinatorError("failed_precondition", text, {
    reason: "SPOOL_IN_USE",
    metadata: { pid: String(holder.pid), host: holder.host },
  });
}
