import type postgres from "postgres";
import { microsOfTimestamp } from "../../src/store/timestamps.js";
import type { StoredInteraction, StoredRow } from "./audit.js";

const states = ["", "started", "running", "completed", "failed"] as const;

/** Rows read at once. */
const pageRows = 20_000;

/** Whether this server keeps commit times. */
export async function keepsCommitTimes(sql: postgres.Sql): Promise<boolean> {
  const [row] = await sql<{ on: string }[]>`SELECT current_setting('track_commit_timestamp') AS on`;
  return row?.on === "on";
}

/** What the store holds of a page. */
type StoredPage = { readonly rows: readonly StoredRow[]; readonly interactions: readonly StoredInteraction[] };

/** The log and the merged rows of a page as of one moment: events that come late are in both or in neither. */
export async function readPage(sql: postgres.Sql, mcpIds: readonly string[], prefix: string, hasCommitTimes: boolean): Promise<StoredPage> {
  return sql.begin("ISOLATION LEVEL REPEATABLE READ READ ONLY", async (snapshot): Promise<StoredPage> => {
    const rows = await readRows(snapshot, mcpIds, prefix, hasCommitTimes);
    return { rows, interactions: await readInteractions(snapshot, mcpIds, prefix) };
  });
}

/**
 * Every row of the log whose interaction id begins with `prefix`, or whose event id is one of the ledger's: everything that could belong to a page.
 * Interaction ids are compared byte by byte.
 */
async function readRows(
  sql: postgres.ISql,
  mcpIds: readonly string[],
  prefix: string,
  hasCommitTimes: boolean,
): Promise<readonly StoredRow[]> {
  const rows: StoredRow[] = [];
  for (const mcpId of mcpIds) {
    let after = "";
    let afterId = "00000000-0000-0000-0000-000000000000";
    for (;;) {
      const page = await sql<
        {
          event_id: string;
          interaction_id: string;
          producer_id: string;
          digest: string;
          occurred_at: string;
          committed_ms: number | null;
        }[]
      >`
        SELECT event_id::text, interaction_id, producer_id, replace(digest::text, '-', '') AS digest, occurred_at::text,
          ${hasCommitTimes ? sql`(extract(epoch FROM pg_xact_commit_timestamp(xmin)) * 1000)::float8` : sql`NULL::float8`} AS committed_ms
        FROM interaction_event
        WHERE mcp_id = ${mcpId} AND interaction_id >= ${prefix} AND interaction_id < ${`${prefix}\u{10ffff}`}
          AND (interaction_id, event_id) > (${after}, ${afterId}::uuid)
        ORDER BY interaction_id, event_id LIMIT ${pageRows}`;
      for (const row of page) {
        rows.push({
          ...{ eventId: row.event_id, mcpId, interactionId: row.interaction_id, producerId: row.producer_id, digest: row.digest },
          occurredAtUs: microsOfTimestamp(row.occurred_at),
          committedAtMs: row.committed_ms ?? undefined,
        });
      }
      const last = page.at(-1);
      if (last === undefined || page.length < pageRows) break;
      after = last.interaction_id;
      afterId = last.event_id;
    }
  }
  return rows;
}

/** Every merged row whose interaction id begins with `prefix`. */
async function readInteractions(sql: postgres.ISql, mcpIds: readonly string[], prefix: string): Promise<readonly StoredInteraction[]> {
  const rows = await sql`
    SELECT mcp_id, interaction_id, state, event_count, has_conflict, started_at::text, ended_at::text, last_event_at::text,
      start_event_id IS NULL AS missing_start, request_type, duration_ms, success, quality_score, error_code, adapter_used
    FROM interaction
    WHERE mcp_id IN ${sql([...mcpIds])} AND interaction_id >= ${prefix} AND interaction_id < ${`${prefix}\u{10ffff}`}`;
  return rows.map((row) => ({
    mcpId: row.mcp_id,
    interactionId: row.interaction_id,
    state: states[row.state] || "started",
    startedAtUs: row.started_at === null ? undefined : microsOfTimestamp(row.started_at),
    endedAtUs: row.ended_at === null ? undefined : microsOfTimestamp(row.ended_at),
    lastEventAtUs: microsOfTimestamp(row.last_event_at),
    eventCount: row.event_count,
    missingStart: row.missing_start,
    conflictingTerminal: row.has_conflict,
    requestType: row.request_type ?? "",
    durationMs: row.duration_ms ?? undefined,
    success: row.success ?? undefined,
    qualityScore: row.quality_score ?? undefined,
    errorCode: row.error_code ?? "",
    adapterUsed: row.adapter_used ?? "",
  }));
}
