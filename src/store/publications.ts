import { desc } from "drizzle-orm";
import { assert } from "../platform/assert.js";
import type { Pool } from "./connect.js";
import type { Publication, StoredRoute } from "./store.js";
import { routingVersionTable } from "./tables.js";
import { timestampOfMicros } from "./timestamps.js";

type HeadRow = { readonly term: string; readonly version: string };

/** See Store.acquireTerm. */
export async function acquireTerm(pool: Pool): Promise<{ readonly term: number; readonly version: number }> {
  const [row] = await pool.run(({ sql }) => sql<HeadRow[]>`UPDATE routing_head SET term = term + 1 RETURNING term, version`);
  assert(row !== undefined, "the migration made the one row of routing_head");
  return { term: Number(row.term), version: Number(row.version) };
}

/** See Store.publish. Publishing the same version again under the same term is a retry: true, and the first stays. */
export async function publish(pool: Pool, publication: Publication): Promise<boolean> {
  const rows = await pool.run(
    ({ sql }) => sql`
      WITH head AS (
        UPDATE routing_head SET version = ${publication.version} WHERE term = ${publication.term} AND version <= ${publication.version} RETURNING term
      ), written AS (
        INSERT INTO routing_version (version, term, digest, routes, policy_id, reason, published_at)
        SELECT ${publication.version}, head.term, ${publication.digest}, ${JSON.stringify(publication.routes)}::text::jsonb,
          ${publication.policyId}, ${publication.reason}, ${timestampOfMicros(publication.publishedAtMs * 1000)}::timestamptz
        FROM head ON CONFLICT (version) DO NOTHING
      )
      SELECT term FROM head`,
  );
  return rows.length === 1;
}

/** See Store.readPublication. */
export async function readPublication(pool: Pool): Promise<Publication | undefined> {
  const rows = await pool.run(({ db }) => db.select().from(routingVersionTable).orderBy(desc(routingVersionTable.version)).limit(1));
  const row = rows[0];
  if (row === undefined) return undefined;
  const { publishedAt, routes, ...rest } = row;
  // Only `publish` writes this column, from the same type.
  return { ...rest, routes: routes as readonly StoredRoute[], publishedAtMs: Math.floor(publishedAt / 1000) };
}
