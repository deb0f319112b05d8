import { type MigrationMeta, readMigrationFiles } from "drizzle-orm/migrator";
import type { TransactionSql } from "postgres";
import { type Clock, systemClock } from "../platform/clock.js";
import { CoordinatorError } from "../platform/errors.js";
import { limits } from "../platform/limits.js";
import { createLog, type Logger } from "../platform/log.js";
import { createPool, type Pool, type Sql } from "./connect.js";
import { findMigrationRecord, knownSchemaVersion, migrationsFolder, readSchemaVersion } from "./schema-version.js";
import { StoreFault } from "./store.js";
import { connectError, describeTarget, parseTarget, readOnlyError, type Target } from "./target.js";

/** What a migration found and left. Versions count migrations; 0 is an empty database. */
export type Migrated = { readonly fromVersion: number; readonly toVersion: number };

/** Key of the advisory lock; any number that nothing else in the database uses. */
const lockKey = 7_264_913_550;

/**
 * Brings the database at this URL to the schema of this program.
 * Errors: CoordinatorError: `failed_precondition` for a newer schema, a read-only database or missing rights; `unavailable` when it cannot be reached.
 */
export function migrateDatabase(databaseUrl: string): Promise<Migrated> {
  return migrateTarget(parseTarget(databaseUrl), { clock: systemClock, log: createLog("warn", {}) });
}

/** The same for any target. Coordinators that start together wait for each other here. */
export async function migrateTarget(target: Target, deps: { readonly clock: Clock; readonly log: Logger }): Promise<Migrated> {
  const pool = createPool({
    target,
    maxConnections: 1,
    name: "mcp-coordinator migrate",
    watchdogMs: limits.migrationStatementMaxMs,
    settings: {
      statement_timeout: `${limits.migrationStatementMaxMs}`,
      lock_timeout: `${limits.statementTimeoutMs}`,
      // Nobody is served before it is done: a slow start is better than one that begins anew.
      idle_in_transaction_session_timeout: `${limits.statementWatchdogMs}`,
    },
    ...deps,
  });
  try {
    await pool.run(({ sql }) => refuseReadOnly(sql, target));
    await takeLock(pool, target, deps.clock);
    try {
      return await migrateLocked(pool, target);
    } finally {
      // Cleans up: the embedded database has one session for all connections, which does not end with ours.
      await pool.run(({ sql }) => sql`SELECT pg_advisory_unlock(${lockKey}::bigint)`).catch(() => {});
    }
  } catch (thrown) {
    throw thrown instanceof StoreFault ? connectError(target, thrown) : thrown;
  } finally {
    await pool.close();
  }
}

async function refuseReadOnly(sql: Sql, target: Target): Promise<void> {
  const [row] = await sql<{ readonly: boolean }[]>`
    SELECT pg_is_in_recovery() OR current_setting('transaction_read_only')::boolean AS readonly`;
  if (row?.readonly === true) throw readOnlyError(target);
}

async function takeLock(pool: Pool, target: Target, clock: Clock): Promise<void> {
  const untilMs = clock.monotonicMs() + limits.migrationLockMaxMs;
  for (;;) {
    const [row] = await pool.run(({ sql }) => sql<{ taken: boolean }[]>`SELECT pg_try_advisory_lock(${lockKey}::bigint) AS taken`);
    if (row?.taken === true) return;
    if (clock.monotonicMs() >= untilMs) {
      const text = `another coordinator has been migrating the database at ${describeTarget(target)} for too long`;
      throw new CoordinatorError("unavailable", text, { reason: "STORE_UNAVAILABLE" });
    }
    await new Promise<void>((resolve) => clock.after(limits.migrationLockPollMs, resolve));
  }
}

async function migrateLocked(pool: Pool, target: Target): Promise<Migrated> {
  const known = knownSchemaVersion();
  const record = await pool.run(({ sql }) => findMigrationRecord(sql));
  if (record === undefined) {
    const text = `the database at ${describeTarget(target)} has no schema to make tables in: none of the user's search_path exists, or may be used`;
    throw new CoordinatorError("failed_precondition", text, { reason: "STORE_UNAVAILABLE" });
  }
  const found = await pool.run(({ sql }) => readSchemaVersion(sql));
  if (found.newestMs > known.newestMs) {
    const text =
      `the database at ${describeTarget(target)} has schema ${found.version}, this version knows up to ${known.version}: ` +
      "run a coordinator at least as new as the one that migrated it";
    throw new CoordinatorError("failed_precondition", text, { reason: "STORE_UNAVAILABLE" });
  }
  const pending = readMigrationFiles({ migrationsFolder }).filter(({ folderMillis }) => folderMillis > found.newestMs);
  if (pending.length > 0) await pool.run(({ sql }) => sql.begin((transaction) => applyMigrations(transaction, record, pending)));
  return { fromVersion: found.version, toVersion: known.version };
}

/**
 * All of them, or none. Drizzle's own migrator creates a schema for its record at every start, which takes a right on the whole database that the owner of one
 * schema does not have.
 */
async function applyMigrations(sql: TransactionSql, record: string, pending: readonly MigrationMeta[]): Promise<void> {
  // Ours already, unless the connection that took it was lost since: then another coordinator may have been here.
  await sql`SELECT pg_advisory_xact_lock(${lockKey}::bigint)`;
  await sql.unsafe(`CREATE TABLE IF NOT EXISTS ${record} (id SERIAL PRIMARY KEY, hash text NOT NULL, created_at bigint)`);
  const [newest] = await sql.unsafe<{ ms: number | null }[]>(`SELECT max(created_at)::float8 AS ms FROM ${record}`);
  for (const migration of pending.filter(({ folderMillis }) => folderMillis > (newest?.ms ?? 0))) {
    for (const statement of migration.sql) await sql.unsafe(statement);
    await sql.unsafe(`INSERT INTO ${record} (hash, created_at) VALUES ($1, $2::text::bigint)`, [
      migration.hash,
      `${migration.folderMillis}`,
    ]);
  }
}
