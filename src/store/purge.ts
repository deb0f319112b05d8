import type { PendingQuery, Row } from "postgres";
import { limits } from "../platform/limits.js";
import { uuidFloor } from "../platform/uuid-v7.js";
import type { Pool, Sql } from "./connect.js";
import { slotOf, timestampOfMicros } from "./timestamps.js";

/** The position of an interaction in the order by its last event. */
type Position = { readonly slot: number; readonly at: string; readonly mcp_id: string; readonly interaction_id: string };

/**
 * Deletes interactions whose last event is older than `cutoffMs`, by its time and by its id, then the oldest ones above `maxRecords`. The id's time is when an event
 * was made, and says when its partition goes: an event that tells of long ago, or of a clock that stands in 1970, keeps its interaction for as long as it is kept
 * itself. Rows that are being written are left for the next run. Several runs at once delete the same rows and no others: each deletes up to a position, not a number of rows.
 * Bound: twice limits.purgeRoundsMax statements of limits.purgeBatchRows rows.
 * Returns how many were deleted.
 */
export async function purgeInteractions(pool: Pool, cutoffMs: number, maxRecords: number): Promise<number> {
  const cutoffSlot = slotOf(cutoffMs * 1000);
  const isExpired: Condition = (sql) => sql`last_event_slot < ${cutoffSlot}
    AND greatest(start_event_id, progress_event_id, terminal_event_id) < ${uuidFloor(cutoffMs)}::text::uuid`;
  const expired = await repeat((rowCount) => deleteOldest(pool, rowCount, isExpired));
  const edge = await findOldestAbove(pool, maxRecords);
  if (edge === undefined) return expired;
  const isExcess: Condition = (sql) => sql`
    (last_event_slot, last_event_at, mcp_id, interaction_id) <= (${edge.slot}::int, ${edge.at}::timestamptz, ${edge.mcp_id}, ${edge.interaction_id})`;
  return expired + (await repeat((rowCount) => deleteOldest(pool, rowCount, isExcess)));
}

/** The newest interaction that has `maxRecords` newer ones, if there is one. Both counts read the index over slots only. */
async function findOldestAbove(pool: Pool, maxRecords: number): Promise<Position | undefined> {
  const [edge] = await pool.run(
    ({ sql }) => sql<Position[]>`
      WITH edge AS MATERIALIZED (
        SELECT last_event_slot AS slot FROM interaction ORDER BY last_event_slot DESC OFFSET ${maxRecords} LIMIT 1
      ), newer AS MATERIALIZED (
        SELECT count(*) AS count FROM interaction WHERE last_event_slot > (SELECT slot FROM edge)
      )
      SELECT last_event_slot AS slot, last_event_at::text AS at, mcp_id, interaction_id FROM interaction
      WHERE last_event_slot = (SELECT slot FROM edge)
      ORDER BY last_event_at DESC, mcp_id DESC, interaction_id DESC OFFSET ${maxRecords} - (SELECT count FROM newer) LIMIT 1`,
  );
  return edge;
}

/**
 * Deletes what else only grows: acks, publications but the newest, refused events, outcomes of decisions, producers, and registrations that have ended, by
 * age. Bound as above.
 */
export async function purgeRecords(pool: Pool, cutoffMs: number): Promise<void> {
  const cutoff = timestampOfMicros(cutoffMs * 1000);
  const purges: readonly Purge[] = [
    (sql, n) =>
      sql`DELETE FROM routing_ack_log WHERE id IN (SELECT id FROM routing_ack_log WHERE acked_at < ${cutoff}::timestamptz LIMIT ${n})`,
    (sql, n) => sql`DELETE FROM routing_ack WHERE producer_id IN
      (SELECT producer_id FROM routing_ack WHERE acked_at < ${cutoff}::timestamptz LIMIT ${n})`,
    (sql, n) => sql`DELETE FROM routing_version WHERE version IN (SELECT version FROM routing_version
      WHERE published_at < ${cutoff}::timestamptz AND version < (SELECT max(version) FROM routing_version) LIMIT ${n})`,
    (sql, n) => sql`DELETE FROM dead_letter WHERE id IN (SELECT id FROM dead_letter WHERE received_at < ${cutoff}::timestamptz LIMIT ${n})`,
    (sql, n) => sql`DELETE FROM route_outcome WHERE ctid = ANY(ARRAY(
      SELECT ctid FROM route_outcome WHERE recorded_at < ${cutoff}::timestamptz LIMIT ${n} FOR UPDATE SKIP LOCKED))`,
    (sql, n) => sql`DELETE FROM producer WHERE producer_id IN
      (SELECT producer_id FROM producer WHERE seen_at < ${cutoff}::timestamptz LIMIT ${n} FOR UPDATE SKIP LOCKED)`,
  ];
  for (const purge of [...purges, ...registryPurges(cutoff)]) {
    await repeat(async (rowCount) => (await pool.run(({ sql }) => purge(sql, rowCount))).count);
  }
}

type Purge = (sql: Sql, rowCount: number) => Promise<{ readonly count: number }>;

/**
 * Of the registry: history, acks, and registrations that are dead or deregistered for so long. Counters stay, so that no id is ever given twice. The
 * floor of revisions rises before a registration goes, so that nobody who follows from before misses it unseen. Locks as in registry.ts: of each registration
 * its lease first.
 */
function registryPurges(cutoff: string): readonly Purge[] {
  return [
    (sql, n) =>
      sql`DELETE FROM mcp_history WHERE revision IN (SELECT revision FROM mcp_history WHERE at < ${cutoff}::timestamptz LIMIT ${n})`,
    (sql, n) => sql`DELETE FROM mcp_config_ack WHERE (mcp_id, producer_id) IN
      (SELECT mcp_id, producer_id FROM mcp_config_ack WHERE acked_at < ${cutoff}::timestamptz LIMIT ${n})`,
    (sql, n) => sql`WITH ended AS MATERIALIZED (
        SELECT mcp_id, mcp.revision FROM mcp_lease JOIN mcp USING (mcp_id) WHERE state IN (3, 4) AND changed_at < ${cutoff}::timestamptz
        ORDER BY mcp_id LIMIT ${n} FOR UPDATE SKIP LOCKED
      ), lease AS (
        DELETE FROM mcp_lease USING ended WHERE mcp_lease.mcp_id = ended.mcp_id
      ), head AS (
        UPDATE registry_head SET revision = revision + 1, floor = greatest(floor, (SELECT max(revision) FROM ended)) WHERE EXISTS (SELECT FROM ended)
      )
      DELETE FROM mcp USING ended WHERE mcp.mcp_id = ended.mcp_id`,
  ];
}

/** A fragment of SQL, made with the driver of the statement that it becomes a part of. */
type Condition = (sql: Sql) => PendingQuery<Row[]>;

async function deleteOldest(pool: Pool, rowCount: number, condition: Condition): Promise<number> {
  const result = await pool.run(
    ({ sql }) => sql`
      DELETE FROM interaction WHERE ctid = ANY(ARRAY(
        SELECT ctid FROM interaction WHERE ${condition(sql)} ORDER BY last_event_slot LIMIT ${rowCount} FOR UPDATE SKIP LOCKED))`,
  );
  return result.count;
}

/** Runs `purge` until it finds less than it was asked for, or the bound of one run is reached. Returns how many rows are gone. */
async function repeat(purge: (rowCount: number) => Promise<number>): Promise<number> {
  let gone = 0;
  for (let round = 0; round < limits.purgeRoundsMax; round++) {
    const count = await purge(limits.purgeBatchRows);
    gone += count;
    if (count < limits.purgeBatchRows) break;
  }
  return gone;
}
