import { linkSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { hostname } from "node:os";
import { join } from "node:path";
import { z } from "zod";
import { CoordinatorError } from "../platform/errors.js";

const holderShape = z.object({ pid: z.number(), host: z.string(), startedAt: z.string(), socketPath: z.string() });

/**
 * Who holds a data directory. `startedAt` tells a process from a later one with the same pid; "" where the system does not say.
 * `socketPath` is where its database listens: between containers that share a volume, an answer there is the only sign of life.
 */
export type Holder = z.infer<typeof holderShape>;

/** A held lock. */
export type DataDirLock = { readonly release: () => void };

const fileOf = (dataDir: string): string => join(dataDir, "lock");

/**
 * Takes the directory for this process: PGlite itself has no lock, and two of them on one directory destroy it.
 * A lock whose holder is gone is taken over.
 * Errors: `failed_precondition` when a living process holds it.
 */
export async function lockDataDir(dataDir: string, socketPath: string): Promise<DataDirLock> {
  const path = fileOf(dataDir);
  const text = JSON.stringify({ pid: process.pid, host: hostname(), startedAt: startOf(process.pid), socketPath } satisfies Holder);
  const own = `${path}.${process.pid}`;
  writeFileSync(own, text, { mode: 0o600 });
  try {
    // A link is made whole or not at all, so nobody reads a lock that is half written.
    while (!tryLink(own, path)) {
      const holder = await findHolder(dataDir);
      if (holder !== undefined) throw heldError(dataDir, holder);
      discard(path, `${own}.stale`);
    }
  } finally {
    rmSync(own, { force: true });
  }
  return {
    release: () => {
      if (readHolder(path)?.text === text) rmSync(path, { force: true });
    },
  };
}

/** The living process that holds the directory, if there is one. */
export async function findHolder(dataDir: string): Promise<Holder | undefined> {
  const holder = readHolder(fileOf(dataDir))?.holder;
  if (holder === undefined) return undefined;
  return isRunning(holder) || (await answers(holder.socketPath)) ? holder : undefined;
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
  if (holder.host !== hostname()) return false;
  try {
    process.kill(holder.pid, 0);
  } catch (thrown) {
    return codeOf(thrown) === "EPERM" && startOf(holder.pid) === holder.startedAt;
  }
  return startOf(holder.pid) === holder.startedAt;
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

function answers(socketPath: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(socketPath);
    const settle = (isAlive: boolean): void => {
      socket.destroy();
      resolve(isAlive);
    };
    socket.once("connect", () => settle(true));
    socket.once("error", () => settle(false));
  });
}

function heldError(dataDir: string, holder: Holder): CoordinatorError {
  const text =
    `the data directory ${dataDir} is in use by process ${holder.pid} on ${holder.host}: ` +
    "stop it, choose another directory, or use a Postgres database, which takes any number of coordinators";
  return new CoordinatorError("failed_precondition", text, { reason: "STORE_UNAVAILABLE" });
}

function codeOf(thrown: unknown): unknown {
  return thrown instanceof Error && "code" in thrown ? thrown.code : undefined;
}
