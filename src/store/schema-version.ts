import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { z } from "zod";
import type { Sql } from "./connect.js";

/** The folder of the migrations: beside this file in the sources, and beside the built file, where the build copies it. */
export const migrationsFolder = fileURLToPath(new URL("./migrations", import.meta.url));

/** A version of the schema. `version` counts migrations, 0 is an empty database; `newestMs` is the time in the newest migration's journal entry. */
export type SchemaVersion = { readonly version: number; readonly newestMs: number };

const journalShape = z.object({ entries: z.array(z.object({ when: z.number() })).min(1) });

/** What this program brings a database to. */
export function knownSchemaVersion(): SchemaVersion {
  const journal = journalShape.parse(JSON.parse(readFileSync(`${migrationsFolder}/meta/_journal.json`, "utf8")));
  return { version: journal.entries.length, newestMs: Math.max(...journal.entries.map((entry) => entry.when)) };
}

/**
 * The quoted name of the table that says which migrations were applied; undefined when there is no schema for it. It is beside the tables that it speaks of, in the
 * first schema of the search_path that exists: coordinators may share a database by schema, and with whoever else keeps such a record by Drizzle's name for it.
 * A database that Drizzle's own migrator made has it under that name.
 */
export async function findMigrationRecord(sql: Sql): Promise<string | undefined> {
  const [row] = await sql<{ schema: string | null; is_drizzles: boolean }[]>`
    WITH made AS (
      SELECT nspname, relname FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace
      WHERE nspname = current_schema() AND relname IN ('coordinator_migration', 'interaction_event')
        OR nspname = 'drizzle' AND relname = '__drizzle_migrations'
    )
    SELECT quote_ident(current_schema()) AS schema, EXISTS (SELECT FROM made WHERE relname = '__drizzle_migrations')
      AND EXISTS (SELECT FROM made WHERE relname = 'interaction_event') AND NOT EXISTS (SELECT FROM made WHERE relname = 'coordinator_migration')
      AS is_drizzles`;
  if (row === undefined || row.schema === null) return undefined;
  return row.is_drizzles ? "drizzle.__drizzle_migrations" : `${row.schema}.coordinator_migration`;
}

/** What a database is at, from the record of its migrations. */
export async function readSchemaVersion(sql: Sql): Promise<SchemaVersion> {
  const record = await findMigrationRecord(sql);
  if (record === undefined) return { version: 0, newestMs: 0 };
  const [table] = await sql<{ exists: boolean }[]>`SELECT to_regclass(${record}) IS NOT NULL AS exists`;
  if (table?.exists !== true) return { version: 0, newestMs: 0 };
  const [row] = await sql<{ version: number; newest: number | null }[]>`
    SELECT count(*)::int AS version, max(created_at)::float8 AS newest FROM ${sql.unsafe(record)}`;
  return { version: row?.version ?? 0, newestMs: row?.newest ?? 0 };
}
