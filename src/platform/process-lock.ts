import { linkSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import type { z } from "zod";

/** What a lock file says of the process that made it. `startedAt` tells a process from a later one with the same pid; "" where the system does not say. */
export type LockingProcess = { readonly pid: number; readonly startedAt: string };

/** This process, as its lock files name it. */
export const thisProcess = (): LockingProcess => ({ pid: process.pid, startedAt: startOf(process.pid) });

/** Offers a lock file under a name of its own, to be linked to its place. */
export function draftLock(own: string, text: string): void {
  writeFileSync(own, text, { mode: 0o600 });
}

/** Puts a lock in its place; false when there is one. A link is made whole or not at all, so nobody reads a lock that is half written. */
export function tryLink(from: string, to: string): boolean {
  try {
    linkSync(from, to);
    return true;
  } catch (thrown) {
    if (codeOf(thrown) === "EEXIST") return false;
    throw thrown;
  }
}

/**
 * Removes a lock whose holder is gone: the one with the text `judged`, and no other. Another process may have judged the same and be quicker: the lock that it has made since stays, and
 * whoever takes that away in the same moment puts it back.
 */
export function discardLock(path: string, aside: string, judged: string | undefined): void {
  if (judged === undefined || readLock(path) !== judged) return;
  try {
    renameSync(path, aside);
  } catch (thrown) {
    if (codeOf(thrown) === "ENOENT") return;
    throw thrown;
  }
  if (readLock(aside) !== judged) tryLink(aside, path);
  rmSync(aside, { force: true });
}

/** The text of a lock; undefined when there is none. */
export function readLock(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch (thrown) {
    if (codeOf(thrown) === "ENOENT") return undefined;
    throw thrown;
  }
}

/** Whom a lock names; undefined when there is none, or it says nothing sensible. */
export function readHolder<Holder>(path: string, shape: z.ZodType<Holder>): Holder | undefined {
  const text = readLock(path);
  if (text === undefined) return undefined;
  try {
    return shape.safeParse(JSON.parse(text)).data;
  } catch {
    // Failure becomes the answer: not JSON, so not a lock of ours.
    return undefined;
  }
}

/** Whether a process of this host lives, and is the one that made the lock. */
export function isRunning({ pid, startedAt }: LockingProcess): boolean {
  try {
    process.kill(pid, 0);
  } catch (thrown) {
    return codeOf(thrown) === "EPERM" && startOf(pid) === startedAt;
  }
  return startOf(pid) === startedAt;
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

function codeOf(thrown: unknown): unknown {
  return thrown instanceof Error && "code" in thrown ? thrown.code : undefined;
}
