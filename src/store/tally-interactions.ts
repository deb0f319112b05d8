import type { Pool } from "./connect.js";
import type { InteractionTally } from "./store.js";

type TallyRow = { readonly interaction_id: string; readonly stored: string; readonly merged: number };

/** See Store.tallyInteractions. One statement, so that both counts are of one snapshot. */
export async function tallyInteractions(
  pool: Pool,
  mcpId: string,
  interactionIds: readonly string[],
): Promise<readonly InteractionTally[]> {
  if (interactionIds.length === 0) return [];
  const wanted = arrayLiteral(interactionIds);
  const rows = await pool.run(
    ({ sql }) => sql<TallyRow[]>`
      WITH logged AS (
        SELECT interaction_id, count(*) AS stored FROM interaction_event
        WHERE mcp_id = ${mcpId} AND interaction_id = ANY(${wanted}::text::text[])
        GROUP BY interaction_id
      ), merged AS (
        SELECT interaction_id, event_count FROM interaction
        WHERE mcp_id = ${mcpId} AND interaction_id = ANY(${wanted}::text::text[])
      )
      SELECT interaction_id, coalesce(stored, 0) AS stored, coalesce(event_count, 0) AS merged FROM logged FULL JOIN merged USING (interaction_id)`,
  );
  return rows.map((row) => ({ interactionId: row.interaction_id, storedEvents: Number(row.stored), mergedEvents: row.merged }));
}

/** Source: PostgreSQL manual, 8.15.6: elements in double quotes, with backslashes before quotes and backslashes. */
function arrayLiteral(texts: readonly string[]): string {
  return `{${texts.map((text) => `"${text.replaceAll(/["\\]/g, "\\$&")}"`).join(",")}}`;
}
