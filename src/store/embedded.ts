import { createHash } from "node:crypto";
import { chmodSync, existsSync, mkdtempSync, renameSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { Worker } from "node:worker_threads";
import type { Clock } from "../platform/clock.js";
import { CoordinatorError } from "../platform/errors.js";
import { limits } from "../platform/limits.js";
import type { Logger } from "../platform/log.js";
import { makePrivateDirectory } from "../platform/private-directory.js";
import { type DataDirLock, lockDataDir } from "./data-dir-lock.js";
import type { EmbeddedReport, EmbeddedTask } from "./embedded-worker.js";

/** A running embedded database. */
export type Embedded = {
  readonly socketPath: string;
  /** Ends the database in good order and frees the directory. */
  readonly close: () => Promise<void>;
};

export type EmbeddedOptions = {
  readonly dataDir: string;
  /** The compiled thread; a parameter because tests run sources, which a thread cannot load. */
  readonly workerUrl?: URL;
  readonly clock: Clock;
  readonly log: Logger;
  /** Called once when the database has ended by itself; nothing works after that. */
  readonly onFatal: (error: Error) => void;
};

/**
 * Starts PGlite in a worker thread, behind a Unix socket in the data directory, so that one driver serves both stores.
 * Errors: `failed_precondition` when the directory is held by another process or may not be used; `unavailable` when the database does not start.
 */
export async function startEmbedded(options: EmbeddedOptions): Promise<Embedded> {
  const dataDir = resolve(options.dataDir);
  makePrivate(dataDir);
  const socket = placeSocket(dataDir);
  const lock = await lockDataDir(dataDir, socket.path).catch((thrown: unknown) => {
    socket.remove();
    throw explained(dataDir, thrown);
  });
  try {
    rmSync(socket.path, { force: true });
    return await serve(options, dataDir, socket, lock);
  } catch (thrown) {
    socket.remove();
    lock.release();
    throw thrown;
  }
}

async function serve(options: EmbeddedOptions, dataDir: string, socket: SocketPlace, lock: DataDirLock): Promise<Embedded> {
  const databaseDir = join(dataDir, "database");
  if (!existsSync(databaseDir)) await createDatabase(options, databaseDir);
  const thread = startThread(options, { kind: "serve", databaseDir, socketPath: socket.path });
  await thread.until("ready");
  chmodSync(socket.path, 0o600);
  let isClosing = false;
  void thread.ended.then((why) => {
    if (!isClosing) options.onFatal(new Error(`the embedded database ended by itself: ${why}`));
  });
  return {
    socketPath: socket.path,
    close: async () => {
      isClosing = true;
      thread.stop();
      await thread
        .until("stopped")
        .catch((thrown: unknown) => options.log.error({ err: thrown }, "the embedded database did not end in good order"));
      await thread.kill();
      socket.remove();
      lock.release();
    },
  };
}

/** Makes a database beside its place and moves it there when it is whole: a first start that is killed leaves nothing that looks like one. */
async function createDatabase(options: EmbeddedOptions, databaseDir: string): Promise<void> {
  const unfinished = `${databaseDir}.unfinished`;
  rmSync(unfinished, { recursive: true, force: true });
  const thread = startThread(options, { kind: "create", databaseDir: unfinished });
  await thread.until("stopped");
  await thread.kill();
  renameSync(unfinished, databaseDir);
}

type Thread = {
  /** Resolves at the report, rejects with `unavailable` when the thread fails, ends or takes longer than limits.embeddedStartMaxMs. */
  readonly until: (kind: "ready" | "stopped") => Promise<void>;
  /** Resolves with the reason once the thread has failed or ended. */
  readonly ended: Promise<string>;
  readonly stop: () => void;
  readonly kill: () => Promise<unknown>;
};

function startThread(options: EmbeddedOptions, task: EmbeddedTask): Thread {
  const worker = new Worker(options.workerUrl ?? new URL("./embedded-worker.js", import.meta.url), {
    workerData: task,
    name: "embedded database",
  });
  const reports = new Set<string>();
  const waiting = new Map<string, () => void>();
  const ended = new Promise<string>((resolve) => {
    worker.on("message", (report: EmbeddedReport) => {
      if (report.kind === "failed") return resolve(report.why);
      reports.add(report.kind);
      waiting.get(report.kind)?.();
    });
    worker.once("error", (error) => resolve(error instanceof Error ? error.message : String(error)));
    worker.once("exit", (code) => resolve(`its thread ended with code ${code}`));
  });
  const until = (kind: "ready" | "stopped"): Promise<void> =>
    new Promise((resolve, reject) => {
      if (reports.has(kind)) return resolve();
      const refuse = (why: string): void => {
        const text = `the embedded database in ${task.databaseDir} cannot be used: ${why}`;
        reject(new CoordinatorError("unavailable", text, { reason: "STORE_UNAVAILABLE" }));
      };
      const cancel = options.clock.after(limits.embeddedStartMaxMs, () => refuse(`no answer within ${limits.embeddedStartMaxMs} ms`));
      waiting.set(kind, () => {
        cancel();
        resolve();
      });
      void ended.then((why) => {
        cancel();
        refuse(why);
      });
    });
  return { until, ended, stop: () => worker.postMessage("stop"), kill: () => worker.terminate() };
}

function makePrivate(dataDir: string): void {
  try {
    makePrivateDirectory(dataDir);
  } catch (thrown) {
    throw explained(dataDir, thrown);
  }
}

/** File errors in words that help the operator; what is not one passes. */
function explained(dataDir: string, thrown: unknown): unknown {
  if (!(thrown instanceof Error) || thrown instanceof CoordinatorError || !("code" in thrown)) return thrown;
  const why: Readonly<Record<string, string>> = {
    EACCES: "this user may not write there",
    EPERM: "this user may not write there",
    EROFS: "the file system is read-only",
    ENOSPC: "the disk is full",
    ENOTDIR: "a part of the path is a file",
    EEXIST: "it is a file",
  };
  const text = `the data directory ${dataDir} cannot be used: ${why[String(thrown.code)] ?? thrown.message}; choose another, or use a Postgres database`;
  return new CoordinatorError("failed_precondition", text, { reason: "STORE_UNAVAILABLE", cause: thrown });
}

type SocketPlace = { readonly path: string; readonly remove: () => void };

/** The socket is in the data directory unless its path would be too long for one; then in a private directory for temporary files. */
function placeSocket(dataDir: string): SocketPlace {
  const path = join(dataDir, "database.sock");
  if (Buffer.byteLength(path) <= limits.socketPathMaxBytes) return { path, remove: () => rmSync(path, { force: true }) };
  const name = createHash("sha256").update(dataDir).digest("hex").slice(0, 8);
  const dir = mkdtempSync(join(tmpdir(), `mcpc-${name}-`));
  return { path: join(dir, "database.sock"), remove: () => rmSync(dir, { recursive: true, force: true }) };
}
