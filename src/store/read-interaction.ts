import { and, asc, eq, sql as fragment, gt, lt } from "drizzle-orm";
import { type Interaction, parseInteractionId, parseMcpId } from "../interaction/event.js";
import { assert } from "../platform/assert.js";
import { limits } from "../platform/limits.js";
import type { Pool } from "./connect.js";
import type { StoredEvent, StoredEventPage } from "./store.js";
import { eventTable, interactionTable, stateNumbers } from "./tables.js";

/** See Store.readInteraction. */
export async function readInteraction(
  pool: Pool,
  mcpId: string,
  interactionId: string,
  signal?: AbortSignal,
): Promise<Interaction | undefined> {
  const rows = await pool.run(
    ({ db }) =>
      db
        .select()
        .from(interactionTable)
        .where(and(eq(interactionTable.mcpId, mcpId), eq(interactionTable.interactionId, interactionId))),
    { signal },
  );
  return rows[0] === undefined ? undefined : interactionOf(rows[0]);
}

/** See Store.readEvents. One row more than the page tells whether there is another; bodies beyond the bytes of the page are measured and never sent. */
export async function readEvents(
  pool: Pool,
  mcpId: string,
  interactionId: string,
  { maxCount, afterId }: { readonly maxCount: number; readonly afterId?: string | undefined },
  signal?: AbortSignal,
): Promise<StoredEventPage> {
  const { interactionId: isOf, mcpId: isBy, eventId: id } = eventTable;
  const rows = await pool.run(
    ({ db }) => {
      const first = db
        .select()
        .from(eventTable)
        .where(and(eq(isBy, mcpId), eq(isOf, interactionId), afterId === undefined ? undefined : gt(id, afterId)))
        .orderBy(asc(id))
        .limit(maxCount + 1)
        .as("first");
      const bytes = fragment`octet_length(${first.body}::text) + coalesce(octet_length(${first.raw}), 0)`;
      const { eventId, mcpId: owner, interactionId: interaction, producerId, sequence, occurredAt, body, raw } = first;
      const measured = db
        .select({
          ...{ eventId, mcpId: owner, interactionId: interaction, producerId, sequence, occurredAt, body, raw },
          before: fragment<number>`sum(${bytes}) over (order by ${eventId}) - (${bytes})`.as("before"),
          found: fragment<number>`(count(*) over ())::int`.as("found"),
        })
        .from(first)
        .as("measured");
      return db.select().from(measured).where(lt(measured.before, limits.pageMaxBytes)).orderBy(asc(measured.eventId));
    },
    { signal },
  );
  const events = rows.slice(0, maxCount).map(
    (row): StoredEvent => ({
      eventId: row.eventId,
      mcpId: parseMcpId(row.mcpId),
      interactionId: row.interactionId,
      producerId: row.producerId,
      sequence: row.sequence,
      occurredAtUs: row.occurredAt,
      body: row.body,
      raw: row.raw ?? undefined,
    }),
  );
  return { events, hasMore: (rows[0]?.found ?? 0) > events.length };
}

/** The merged state as the domain has it: what follows from stored columns is computed here and not stored. */
export function interactionOf(row: typeof interactionTable.$inferSelect): Interaction {
  return {
    mcpId: parseMcpId(row.mcpId),
    interactionId: parseInteractionId(row.interactionId),
    state: stateOf(row.state),
    startedAtUs: row.startedAt ?? undefined,
    endedAtUs: row.endedAt ?? undefined,
    lastEventAtUs: row.lastEventAt,
    eventCount: row.eventCount,
    missingStart: row.startEventId === null,
    conflictingTerminal: row.hasConflict,
    lateEvents: row.endedAt !== null && row.lastEventAt > row.endedAt,
    requestType: row.requestType ?? "",
    userPseudonym: row.userPseudonym ?? "",
    sessionId: row.sessionId ?? "",
    durationMs: row.durationMs ?? undefined,
    success: row.success ?? undefined,
    qualityScore: row.qualityScore ?? undefined,
    errorCode: row.errorCode ?? "",
    adapterUsed: row.adapterUsed ?? "",
  };
}

const states = new Map(Object.entries(stateNumbers).map(([name, number]) => [number as number, name as keyof typeof stateNumbers]));

function stateOf(number: number): Interaction["state"] {
  const state = states.get(number);
  assert(state !== undefined, `interaction.state ${number} has a name`);
  return state;
}
