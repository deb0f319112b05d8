import { rmSync } from "node:fs";
import { connect } from "node:net";
import { hostname } from "node:os";
import { join } from "node:path";
import { z } from "zod";
import { CoordinatorError } from "../platform/errors.js";
import { discardLock, draftLock, isRunning, readHolder, readLock, thisProcess, tryLink } from "../platform/process-lock.js";

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
  const text = JSON.stringify({ ...thisProcess(), host: hostname(), socketPath } satisfies Holder);
  const own = `${path}.${process.pid}`;
  draftLock(own, text);
  try {
    while (!tryLink(own, path)) {
      const judged = readLock(path);
      const holder = await findHolder(dataDir);
      if (holder !== undefined) throw heldError(dataDir, holder);
      discardLock(path, `${own}.stale`, judged);
    }
  } finally {
    rmSync(own, { force: true });
  }
  return {
    release: () => {
      if (readLock(path) === text) rmSync(path, { force: true });
    },
  };
}

/** The living process that holds the directory, if there is one. */
export async function findHolder(dataDir: string): Promise<Holder | undefined> {
  const holder = readHolder(fileOf(dataDir), holderShape);
  if (holder === undefined) return undefined;
  return (holder.host === hostname() && isRunning(holder)) || (await answers(holder.socketPath)) ? holder : undefined;
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
