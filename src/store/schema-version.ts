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

/** What a database is at, from the table that Drizzle's migrator keeps. */
export async function readSchemaVersion(sql: Sql): Promise<SchemaVersion> {
  const [table] = await sql<{ exists: boolean }[]>`SELECT to_regclass('drizzle.__drizzle_migrations') IS NOT NULL AS exists`;
  if (table?.exists !== true) return { version: 0, newestMs: 0 };
  const [row] = await sql<{ version: number; newest: number | null }[]>`
    SELECT count(*)::int AS version, max(created_at)::float8 AS newest FROM drizzle.__drizzle_migrations`;
  return { version: row?.version ?? 0, newestMs: row?.newest ?? 0 };
}
