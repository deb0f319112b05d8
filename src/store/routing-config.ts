import { desc } from "drizzle-orm";
import { assert } from "../platform/assert.js";
import type { Pool } from "./connect.js";
import type { RoutingConfigWrite, SettingChange, StoredRoutingChange, StoredRoutingConfig } from "./decision-row.js";
import { routingConfigAuditTable, routingConfigTable } from "./tables.js";

/** See Store.readRoutingConfig. */
export async function readRoutingConfig(pool: Pool): Promise<StoredRoutingConfig> {
  const [row] = await pool.run(({ db }) => db.select().from(routingConfigTable).limit(1));
  assert(row !== undefined, "the migration made the one row of routing_config");
  const { version, document, changedAt, changedBy } = row;
  return { version, document, changedAtMs: changedAt === null ? undefined : Math.floor(changedAt / 1000), changedBy };
}

/** See Store.writeRoutingConfig. The change and its audit are one statement: neither is stored without the other. */
export async function writeRoutingConfig(pool: Pool, write: RoutingConfigWrite): Promise<StoredRoutingConfig | undefined> {
  const [row] = await pool.run(
    ({ sql }) => sql<{ version: string; changedAtMs: number }[]>`
      WITH head AS (
        UPDATE routing_config SET version = version + 1, document = ${JSON.stringify(write.document)}::text::jsonb,
          changed_at = now(), changed_by = ${write.changedBy}
        WHERE version = ${write.ifVersion} RETURNING version, changed_at
      ), audited AS (
        INSERT INTO routing_config_audit (version, changed_at, changed_by, coordinator_id, reason, changes)
        SELECT version, changed_at, ${write.changedBy}, ${write.coordinatorId}, ${write.reason}, ${JSON.stringify(write.changes)}::text::jsonb
        FROM head
      )
      SELECT version, extract(epoch FROM changed_at)::float8 * 1000 AS "changedAtMs" FROM head`,
  );
  if (row === undefined) return undefined;
  return { version: Number(row.version), document: write.document, changedAtMs: Math.floor(row.changedAtMs), changedBy: write.changedBy };
}

/** See Store.listRoutingChanges. */
export async function listRoutingChanges(pool: Pool, maxCount: number): Promise<readonly StoredRoutingChange[]> {
  const table = routingConfigAuditTable;
  const rows = await pool.run(({ db }) => db.select().from(table).orderBy(desc(table.version)).limit(maxCount));
  // Only `writeRoutingConfig` writes `changes`, from this type.
  return rows.map(({ changedAt, changes, ...rest }) => ({
    ...rest,
    changedAtMs: Math.floor(changedAt / 1000),
    changes: changes as readonly SettingChange[],
  }));
}
