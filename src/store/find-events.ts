import { and, gte, inArray, lte } from "drizzle-orm";
import { assert } from "../platform/assert.js";
import type { Pool } from "./connect.js";
import type { StoredEventRef } from "./store.js";
import { eventTable } from "./tables.js";

/** A stored event's key with what its content was. */
export type FoundEvent = StoredEventRef & { readonly mcpId: string };

/** Those of the events' keys that are stored, in any order. */
export async function findStored(
  pool: Pool,
  keys: readonly { readonly eventId: string; readonly mcpId: string }[],
): Promise<readonly FoundEvent[]> {
  const ids = keys.map((key) => key.eventId).sort();
  const mcpIds = [...new Set(keys.map((key) => key.mcpId))];
  const [first, last] = [ids[0], ids.at(-1)];
  assert(first !== undefined && last !== undefined, "there is something to find");
  const rows = await pool.run(({ db }) =>
    db
      .select({ eventId: eventTable.eventId, mcpId: eventTable.mcpId, digest: eventTable.digest, receivedAt: eventTable.receivedAt })
      .from(eventTable)
      // The bounds say nothing new; partitions are pruned by them, and not by a list of ids.
      .where(
        and(
          gte(eventTable.eventId, first),
          lte(eventTable.eventId, last),
          inArray(eventTable.eventId, ids),
          inArray(eventTable.mcpId, mcpIds),
        ),
      ),
  );
  return rows.map((row) => ({
    eventId: row.eventId,
    mcpId: row.mcpId,
    digest: row.digest.replaceAll("-", ""),
    storedAtMs: Math.floor(row.receivedAt / 1000),
  }));
}

/** See Store.findEvents. */
export async function findEvents(pool: Pool, mcpId: string, eventIds: readonly string[]): Promise<readonly StoredEventRef[]> {
  if (eventIds.length === 0) return [];
  const found = await findStored(
    pool,
    eventIds.map((eventId) => ({ eventId, mcpId })),
  );
  return found.map(({ eventId, digest, storedAtMs }) => ({ eventId, digest, storedAtMs }));
}
