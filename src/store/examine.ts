import { accessSync, constants, existsSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { systemClock } from "../platform/clock.js";
import { limits } from "../platform/limits.js";
import { createLog } from "../platform/log.js";
import { createPool } from "./connect.js";
import { findHolder } from "./data-dir-lock.js";
import { knownSchemaVersion, readSchemaVersion } from "./schema-version.js";
import { StoreFault } from "./store.js";
import { connectError, parseTarget } from "./target.js";

/** What is known of a Postgres. `serverVersion` as `server_version_num`, for example 150004; schema versions count migrations. */
export type DatabaseExamination = {
  readonly serverVersion: number;
  readonly isReadOnly: boolean;
  readonly schemaVersion: number;
  readonly knownSchemaVersion: number;
};

/** Looks at a database without changing it. Errors: CoordinatorError when it cannot be reached; its text holds no password. */
export async function examineDatabase(databaseUrl: string): Promise<DatabaseExamination> {
  const target = parseTarget(databaseUrl);
  const pool = createPool({
    target,
    maxConnections: 1,
    name: "mcp-coordinator doctor",
    watchdogMs: limits.statementWatchdogMs,
    settings: {},
    clock: systemClock,
    log: createLog("silent", {}),
  });
  try {
    return await pool.run(async ({ sql }) => {
      const [row] = await sql<{ version: number; readonly: boolean }[]>`
        SELECT current_setting('server_version_num')::int AS version,
          pg_is_in_recovery() OR current_setting('transaction_read_only')::boolean AS readonly`;
      const schema = await readSchemaVersion(sql);
      return {
        serverVersion: row?.version ?? 0,
        isReadOnly: row?.readonly ?? false,
        schemaVersion: schema.version,
        knownSchemaVersion: knownSchemaVersion().version,
      };
    });
  } catch (thrown) {
    throw thrown instanceof StoreFault ? connectError(target, thrown) : thrown;
  } finally {
    await pool.close();
  }
}

/** What is known of the directory of the embedded store. */
export type DataDirExamination = { readonly exists: boolean; readonly writable: boolean; readonly lockedByPid?: number };

/** Looks at a data directory without changing it. One that does not exist is writable when it could be made. */
export async function examineDataDir(dataDir: string): Promise<DataDirExamination> {
  const exists = existsSync(dataDir);
  const writable = isWritable(exists ? dataDir : nearestParent(resolve(dataDir)));
  const holder = exists && writable ? await findHolder(dataDir) : undefined;
  return holder === undefined ? { exists, writable } : { exists, writable, lockedByPid: holder.pid };
}

function nearestParent(path: string): string {
  const parent = dirname(path);
  return parent === path || existsSync(parent) ? parent : nearestParent(parent);
}

function isWritable(path: string): boolean {
  try {
    accessSync(path, constants.W_OK | constants.X_OK);
    return true;
  } catch {
    // Failure becomes the answer.
    return false;
  }
}
