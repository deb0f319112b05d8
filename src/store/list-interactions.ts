import { and, desc, eq, sql as fragment } from "drizzle-orm";
import type { Interaction } from "../interaction/event.js";
import type { Pool } from "./connect.js";
import { interactionOf } from "./read-interaction.js";
import type { InteractionFilter, ListCursor } from "./store.js";
import { interactionTable, stateNumbers } from "./tables.js";
import { slotOf, timestampOfMicros } from "./timestamps.js";

/**
 * See Store.listInteractions. The slot comes first in the order so that an index over it serves: within a slot Postgres sorts the rest
 * (incremental sort), and a slot says nothing that last_event_at does not.
 */
export async function listInteractions(
  pool: Pool,
  filter: InteractionFilter,
  count: number,
  cursor: ListCursor | undefined,
  signal?: AbortSignal,
): Promise<readonly Interaction[]> {
  const table = interactionTable;
  const rows = await pool.run(
    ({ db }) =>
      db
        .select()
        .from(table)
        .where(
          and(
            filter.mcpId === undefined ? undefined : eq(table.mcpId, filter.mcpId),
            filter.state === undefined ? undefined : eq(table.state, stateNumbers[filter.state]),
            filter.requestType === undefined ? undefined : eq(table.requestType, filter.requestType),
            filter.sessionId === undefined ? undefined : eq(table.sessionId, filter.sessionId),
            cursor === undefined ? undefined : isAfter(cursor),
          ),
        )
        .orderBy(desc(table.lastEventSlot), desc(table.lastEventAt), desc(table.mcpId), desc(table.interactionId))
        .limit(count),
    { signal },
  );
  return rows.map(interactionOf);
}

function isAfter(cursor: ListCursor) {
  const { lastEventSlot, lastEventAt, mcpId, interactionId } = interactionTable;
  const position = fragment`(${slotOf(cursor.lastEventAtUs)}::int, ${timestampOfMicros(cursor.lastEventAtUs)}::timestamptz, ${cursor.mcpId}::text, ${cursor.interactionId}::text)`;
  return fragment`(${lastEventSlot}, ${lastEventAt}, ${mcpId}, ${interactionId}) < ${position}`;
}
