import { desc } from "drizzle-orm";
import { assert } from "../platform/assert.js";
import type { Pool } from "./connect.js";
import type { AckedRoutes, RoutingAckStatus } from "./store.js";
import { ackStatusNumbers, routingAckTable } from "./tables.js";

/** See Store.recordAcks. Of several acks of one producer the last given is its last; all of them are logged. */
export async function recordAcks(pool: Pool, acks: readonly AckedRoutes[]): Promise<void> {
  if (acks.length === 0) return;
  const text = JSON.stringify(acks.map((ack, order) => ({ ...ack, status: ackStatusNumbers[ack.status], order })));
  await pool.run(
    ({ sql }) => sql`
      WITH input AS MATERIALIZED (
        SELECT "producerId", "mcpId", status, term, version, digest, detail, to_timestamp("ackedAtMs" / 1000) AS acked_at, "order"
        FROM json_to_recordset(${text}::text::json) AS t("producerId" text, "mcpId" text, status smallint, term bigint, version bigint,
          digest text, detail text, "ackedAtMs" float8, "order" int)
      ), logged AS (
        INSERT INTO routing_ack_log (producer_id, mcp_id, status, term, version, digest, detail, acked_at)
        SELECT "producerId", "mcpId", status, term, version, digest, detail, acked_at FROM input ORDER BY "order"
      )
      INSERT INTO routing_ack AS a (producer_id, mcp_id, status, term, version, digest, detail, acked_at)
      SELECT DISTINCT ON ("producerId") "producerId", "mcpId", status, term, version, digest, detail, acked_at
      FROM input ORDER BY "producerId", "order" DESC
      ON CONFLICT (producer_id) DO UPDATE SET mcp_id = EXCLUDED.mcp_id, status = EXCLUDED.status, term = EXCLUDED.term,
        version = EXCLUDED.version, digest = EXCLUDED.digest, detail = EXCLUDED.detail, acked_at = EXCLUDED.acked_at
      WHERE a.acked_at <= EXCLUDED.acked_at`,
  );
}

/** See Store.listAcks. Newest first. */
export async function listAcks(pool: Pool, maxCount: number): Promise<readonly AckedRoutes[]> {
  const rows = await pool.run(({ db }) => db.select().from(routingAckTable).orderBy(desc(routingAckTable.ackedAt)).limit(maxCount));
  return rows.map(({ ackedAt, status, ...rest }) => ({ ...rest, status: statusOf(status), ackedAtMs: Math.floor(ackedAt / 1000) }));
}

const statuses = new Map(Object.entries(ackStatusNumbers).map(([name, number]) => [number as number, name as RoutingAckStatus]));

function statusOf(number: number): RoutingAckStatus {
  const status = statuses.get(number);
  assert(status !== undefined, `routing_ack.status ${number} has a name`);
  return status;
}
