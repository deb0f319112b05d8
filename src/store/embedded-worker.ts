import { type MessagePort, parentPort, workerData } from "node:worker_threads";
import { PGlite } from "@electric-sql/pglite";
import { PGLiteSocketServer } from "@electric-sql/pglite-socket";
import { assert } from "../platform/assert.js";

// The thread of the embedded database. It makes a new database and ends, or serves one until it is told to stop: initdb leaves 0.6 GB behind
// in the memory of its thread, which only the end of the thread gives back.

export type EmbeddedTask =
  | { readonly kind: "create"; readonly databaseDir: string }
  | { readonly kind: "serve"; readonly databaseDir: string; readonly socketPath: string };

/** What the thread tells. `failed` at any time means that the database cannot be used any more. */
export type EmbeddedReport = { readonly kind: "ready" } | { readonly kind: "stopped" } | { readonly kind: "failed"; readonly why: string };

/**
 * Settings besides PGlite's own. 32 MB of buffers instead of 128 keep the process small; the log is a few pages per commit, and the machine caches
 * the files. One plan for every batch size: see appendSql.
 */
const settings = ["-c", "shared_buffers=32MB", "-c", "plan_cache_mode=force_generic_plan"];

/** More than one only for the moment in which a connection replaces another. */
const maxConnections = 8;

assert(parentPort !== null, "embedded-worker runs as a worker thread");
const port = parentPort;

try {
  // Given by embedded.ts, from the same type.
  await perform(port, workerData as EmbeddedTask);
} catch (thrown) {
  // The thread's edge: the failure becomes a report.
  fail(port, thrown);
}

async function perform(parent: MessagePort, task: EmbeddedTask): Promise<void> {
  const db = await PGlite.create(task.databaseDir, { startParams: [...PGlite.defaultStartParams, ...settings] });
  if (task.kind === "create") {
    await db.close();
    parent.postMessage({ kind: "stopped" } satisfies EmbeddedReport);
    return;
  }
  reportCrashes(parent, db);
  const server = new PGLiteSocketServer({ db, path: task.socketPath, maxConnections });
  server.addEventListener("error", (event) => fail(parent, event));
  await server.start();
  parent.once("message", () => void stop(parent, server, db));
  parent.postMessage({ kind: "ready" } satisfies EmbeddedReport);
}

async function stop(parent: MessagePort, server: PGLiteSocketServer, db: PGlite): Promise<void> {
  try {
    await server.stop();
    await db.close();
    parent.postMessage({ kind: "stopped" } satisfies EmbeddedReport);
  } catch (thrown) {
    // The thread's edge, as above.
    fail(parent, thrown);
  }
}

/** A protocol call that throws has not met an SQL error, which is an answer, but a crash inside WASM; the socket server would go on in silence. */
function reportCrashes(parent: MessagePort, db: PGlite): void {
  const execute = db.execProtocolRawStream.bind(db);
  db.execProtocolRawStream = async (...call) => {
    try {
      return await execute(...call);
    } catch (thrown) {
      fail(parent, thrown);
      throw thrown;
    }
  };
}

function fail(parent: MessagePort, thrown: unknown): void {
  parent.postMessage({ kind: "failed", why: thrown instanceof Error ? thrown.message : String(thrown) } satisfies EmbeddedReport);
}
