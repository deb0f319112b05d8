import { desc, eq } from "drizzle-orm";
import type { Pool } from "./connect.js";
import { leaseStateOf, readChangedMcps } from "./registry-change.js";
import type { LeaseBeat, McpConfigAck, McpStanding, RegistryChanges } from "./registry-rows.js";
import { ackStatusNumbers, leaseStateNumbers, mcpConfigAckTable, mcpHistoryTable } from "./tables.js";

type HeadRow = { readonly revision: string; readonly floor: string };

/** See RegistryStore.readMcpChanges. The head is read first: what is committed between the two reads is read twice, never missed. */
export async function readMcpChanges(pool: Pool, afterRevision: number): Promise<RegistryChanges | undefined> {
  return pool.run(async ({ sql }) => {
    const [head] = await sql<HeadRow[]>`SELECT revision, floor FROM registry_head`;
    const revision = Number(head?.revision ?? 0);
    const floor = Number(head?.floor ?? 0);
    if (revision === afterRevision) return undefined;
    // A database that was put back has fewer revisions than we know: everything is read anew.
    return { revision, floor, mcps: await readChangedMcps(sql, revision < afterRevision ? 0 : afterRevision) };
  });
}

type BeatRow = { readonly mcp_id: string; readonly state: number; readonly beat: string; readonly coordinator_id: string };

/** See RegistryStore.readLeaseBeats. */
export async function readLeaseBeats(pool: Pool): Promise<readonly LeaseBeat[]> {
  const rows = await pool.run(
    ({ sql }) => sql<BeatRow[]>`SELECT mcp_id, state, beat, coordinator_id FROM mcp_lease WHERE state IN
      (${leaseStateNumbers.alive}, ${leaseStateNumbers.suspect})`,
  );
  return rows.map((row) => ({
    mcpId: row.mcp_id,
    state: leaseStateOf(row.state),
    beat: Number(row.beat),
    coordinatorId: row.coordinator_id,
  }));
}

/** See RegistryStore.recordMcpConfigAcks. */
export async function recordMcpConfigAcks(pool: Pool, acks: readonly McpConfigAck[]): Promise<void> {
  if (acks.length === 0) return;
  const newest = new Map(acks.map((ack) => [`${ack.mcpId}\0${ack.producerId}`, ack]));
  const text = JSON.stringify([...newest.values()].map((ack) => ({ ...ack, status: ackStatusNumbers[ack.status] })));
  await pool.run(
    ({ sql }) => sql`
      INSERT INTO mcp_config_ack AS a (mcp_id, producer_id, version, status, detail, acked_at)
      SELECT "mcpId", "producerId", version, status, detail, to_timestamp("ackedAtMs" / 1000)
      FROM json_to_recordset(${text}::text::json) AS t("mcpId" text, "producerId" text, version bigint, status smallint, detail text, "ackedAtMs" float8)
      ORDER BY 1, 2
      ON CONFLICT (mcp_id, producer_id) DO UPDATE SET version = EXCLUDED.version, status = EXCLUDED.status, detail = EXCLUDED.detail,
        acked_at = EXCLUDED.acked_at WHERE a.acked_at <= EXCLUDED.acked_at`,
  );
}

type StandingRow = { readonly seen_ms: number; readonly coordinator_id: string };

/** See RegistryStore.readMcpStanding. */
export async function readMcpStanding(pool: Pool, mcpId: string, maxCount: number, historyCount: number): Promise<McpStanding | undefined> {
  return pool.run(async ({ sql, db }) => {
    const [lease] = await sql<StandingRow[]>`
      SELECT (extract(epoch FROM beat_at) * 1000)::float8 AS seen_ms, coordinator_id FROM mcp_lease WHERE mcp_id = ${mcpId}`;
    if (lease === undefined) return undefined;
    const acks = await db
      .select()
      .from(mcpConfigAckTable)
      .where(eq(mcpConfigAckTable.mcpId, mcpId))
      .orderBy(desc(mcpConfigAckTable.ackedAt))
      .limit(maxCount);
    const history =
      historyCount === 0
        ? []
        : await db
            .select()
            .from(mcpHistoryTable)
            .where(eq(mcpHistoryTable.mcpId, mcpId))
            .orderBy(desc(mcpHistoryTable.revision))
            .limit(historyCount);
    return {
      lastSeenAtMs: Math.floor(lease.seen_ms),
      coordinatorId: lease.coordinator_id,
      acks: acks.map(({ ackedAt, status, ...rest }) => ({ ...rest, status: statusOf(status), ackedAtMs: Math.floor(ackedAt / 1000) })),
      history: history.map(({ revision, kind, detail, at }) => ({ revision, kind, detail, atMs: Math.floor(at / 1000) })),
    };
  });
}

const statuses = new Map(Object.entries(ackStatusNumbers).map(([name, number]) => [number as number, name as McpConfigAck["status"]]));

/** The table's CHECK admits no other number. */
function statusOf(number: number): McpConfigAck["status"] {
  return statuses.get(number) ?? "expired";
}
