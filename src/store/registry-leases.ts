import type { TransactionSql } from "postgres";
import { bumpRevision, leaseStateOf, type NewHistory, writeHistory } from "./registry-change.js";
import type { ChangedLease, Lease, LeaseChange } from "./registry-rows.js";
import { leaseStateNumbers } from "./tables.js";

type LeaseRow = {
  readonly mcp_id: string;
  readonly state: number;
  readonly steady_beats: number;
  readonly needed_beats: number;
  readonly beat: string;
};

/** See RegistryStore.changeLeases. Only changes of state get a revision; signs of life are counted without one. */
export async function changeLeases(
  sql: TransactionSql,
  changes: readonly LeaseChange[],
  coordinatorId: string,
): Promise<readonly ChangedLease[]> {
  if (changes.length === 0) return [];
  const byId = new Map(changes.map((change) => [change.mcpId, change]));
  const rows = await sql<LeaseRow[]>`SELECT mcp_id, state, steady_beats, needed_beats, beat FROM mcp_lease
    WHERE mcp_id IN ${sql([...byId.keys()])} ORDER BY mcp_id FOR UPDATE`;
  const written: (Lease & { readonly mcpId: string; readonly beat: number; readonly number: number })[] = [];
  const changed: (ChangedLease & { readonly reason: string })[] = [];
  for (const row of rows) {
    const change = byId.get(row.mcp_id);
    if (change === undefined || (change.expectedBeat !== undefined && Number(row.beat) !== change.expectedBeat)) continue;
    const before: Lease = { state: leaseStateOf(row.state), steadyBeats: row.steady_beats, neededBeats: row.needed_beats };
    const lease = change.next(before);
    const beat = change.isBeat && lease.state !== "deregistered" && lease.state !== "dead" ? 1 : 0;
    changed.push({ mcpId: row.mcp_id, before: before.state, state: lease.state, reason: change.reason });
    if (beat > 0 || lease !== before) written.push({ ...lease, mcpId: row.mcp_id, beat, number: leaseStateNumbers[lease.state] });
  }
  if (written.length > 0) {
    await sql`UPDATE mcp_lease AS l SET state = t.number, steady_beats = t."steadyBeats", needed_beats = t."neededBeats", beat = l.beat + t.beat,
        beat_at = CASE WHEN t.beat > 0 THEN now() ELSE l.beat_at END,
        coordinator_id = CASE WHEN t.beat > 0 THEN ${coordinatorId} ELSE l.coordinator_id END
      FROM json_to_recordset(${JSON.stringify(written)}::text::json)
        AS t("mcpId" text, number smallint, "steadyBeats" int, "neededBeats" int, beat int)
      WHERE l.mcp_id = t."mcpId"`;
  }
  await publishStates(
    sql,
    changed.filter(({ before, state }) => before !== state),
  );
  return changed.map(({ mcpId, before, state }) => ({ mcpId, before, state }));
}

async function publishStates(sql: TransactionSql, changed: readonly (ChangedLease & { readonly reason: string })[]): Promise<void> {
  if (changed.length === 0) return;
  const first = await bumpRevision(sql, changed.length);
  const history: readonly NewHistory[] = changed.map(({ mcpId, before, state, reason }, index) => ({
    revision: first + index,
    mcpId,
    kind: state,
    detail: `was ${before}: ${reason}`,
  }));
  await sql`UPDATE mcp SET revision = t.revision, changed_at = now()
    FROM json_to_recordset(${JSON.stringify(history)}::text::json) AS t("mcpId" text, revision bigint) WHERE mcp.mcp_id = t."mcpId"`;
  await writeHistory(sql, history);
}
