import type { Pool } from "./connect.js";
import type { InteractionTally } from "./store.js";

type TallyRow = { readonly interaction_id: string; readonly stored: string; readonly merged: number };

/**
 * See Store.tallyInteractions. One statement, so that both counts are of one snapshot. No event is older, by its id, than the horizon was when its interaction began:
 * one that began later than that after the oldest partition has all of its events, and of any other retention may have taken some that were counted.
 */
export async function tallyInteractions(
  pool: Pool,
  mcpId: string,
  interactionIds: readonly string[],
  dedupeHorizonDays: number,
  signal?: AbortSignal,
): Promise<readonly InteractionTally[]> {
  if (interactionIds.length === 0) return [];
  const wanted = arrayLiteral(interactionIds);
  const rows = await pool.run(
    ({ sql }) => sql<TallyRow[]>`
      WITH logged AS (
        SELECT interaction_id, count(*) AS stored FROM interaction_event
        WHERE mcp_id = ${mcpId} AND interaction_id = ANY(${wanted}::text::text[])
        GROUP BY interaction_id
      ), oldest AS (
        SELECT to_date(right(min(c.relname), 8), 'YYYYMMDD')::timestamptz AS day
        FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = 'interaction_event'::regclass
      ), merged AS (
        SELECT interaction_id, CASE WHEN created_at - make_interval(days => ${dedupeHorizonDays}::int) >= oldest.day THEN event_count ELSE 0 END AS event_count
        FROM interaction, oldest WHERE mcp_id = ${mcpId} AND interaction_id = ANY(${wanted}::text::text[])
      )
      SELECT interaction_id, coalesce(stored, 0) AS stored, coalesce(event_count, 0) AS merged FROM logged FULL JOIN merged USING (interaction_id)`,
    { signal },
  );
  return rows.map((row) => ({ interactionId: row.interaction_id, storedEvents: Number(row.stored), mergedEvents: row.merged }));
}

/** Source: PostgreSQL manual, 8.15.6: elements in double quotes, with backslashes before quotes and backslashes. */
function arrayLiteral(texts: readonly string[]): string {
  return `{${texts.map((text) => `"${text.replaceAll(/["\\]/g, "\\$&")}"`).join(",")}}`;
}
