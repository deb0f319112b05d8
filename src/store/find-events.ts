import { assert } from "../platform/assert.js";
import { arrays, type Column } from "./batch-columns.js";
import type { Runner } from "./connect.js";
import type { StoredEventRef } from "./store.js";

/** A stored event's key with what its content was. */
export type FoundEvent = StoredEventRef & { readonly mcpId: string };

type FoundRow = { readonly event_id: string; readonly mcp_id: string; readonly digest: string; readonly received_ms: number };

const idColumns: readonly Column<string>[] = [{ name: "event_id", type: "uuid", isOptional: false, of: (id) => id }];
const mcpColumns: readonly Column<string>[] = [{ name: "mcp_id", type: "text", isOptional: false, of: (id) => id }];

// The bounds say nothing new; partitions are pruned by them, and not by a list of ids.
const findSql = `
SELECT event_id, mcp_id, digest, floor(extract(epoch FROM received_at) * 1000)::float8 AS received_ms FROM interaction_event
WHERE event_id >= $1::text::uuid AND event_id <= $2::text::uuid AND event_id = ANY($3::uuid[]) AND mcp_id = ANY($4::text[])`;

/** Those of the events' keys that are stored, in any order. */
export async function findStored(
  runner: Runner,
  keys: readonly { readonly eventId: string; readonly mcpId: string }[],
  signal?: AbortSignal,
): Promise<readonly FoundEvent[]> {
  const ids = keys.map((key) => key.eventId).sort();
  const mcpIds = [...new Set(keys.map((key) => key.mcpId))];
  const [first, last] = [ids[0], ids.at(-1)];
  assert(first !== undefined && last !== undefined, "there is something to find");
  const parameters = [first, last, ...arrays(idColumns, ids), ...arrays(mcpColumns, mcpIds)];
  const rows = await runner.run(({ sql }) => sql.unsafe<FoundRow[]>(findSql, parameters, { prepare: true }), { signal });
  return rows.map((row) => ({
    eventId: row.event_id,
    mcpId: row.mcp_id,
    digest: row.digest.replaceAll("-", ""),
    storedAtMs: row.received_ms,
  }));
}

/** See Store.findEvents. */
export async function findEvents(
  runner: Runner,
  mcpId: string,
  eventIds: readonly string[],
  signal?: AbortSignal,
): Promise<readonly StoredEventRef[]> {
  if (eventIds.length === 0) return [];
  const found = await findStored(
    runner,
    eventIds.map((eventId) => ({ eventId, mcpId })),
    signal,
  );
  return found.map(({ eventId, digest, storedAtMs }) => ({ eventId, digest, storedAtMs }));
}
