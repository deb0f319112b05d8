import type { TransactionSql } from "postgres";
import { bumpRevision, countLive, insertLeases, insertMcps, lockedMcps, type NewHistory, writeHistory } from "./registry-change.js";
import { type GreetedMcp, type RegisterOptions, type StoredMcp, unsaidProfile } from "./registry-rows.js";
import { leaseStateNumbers } from "./tables.js";

/**
 * See RegistryStore.registerGreeted. Of several greetings of one MCP the last says its version. A few statements, however many MCPs there are: after a restart
 * a fleet greets by the hundred.
 */
export async function registerGreeted(
  sql: TransactionSql,
  greeted: readonly GreetedMcp[],
  options: Pick<RegisterOptions, "coordinatorId" | "config" | "maxCount">,
): Promise<void> {
  const greetings = new Map(greeted.map((greeting) => [greeting.mcpId, greeting]));
  const ids = [...greetings.keys()].sort();
  const known = new Map((await lockedMcps(sql, ids)).map((mcp) => [mcp.mcpId, mcp]));
  const room = Math.max(0, options.maxCount - (await countLive(sql)));
  const strangers = ids.filter((mcpId) => !known.has(mcpId)).slice(0, room);
  const ended = await readEndedSince(sql, [...known.values()], greetings);
  const again = [...known.values()].filter(({ mcpId }) => !ended.has(mcpId)).map((before) => greetingOf(before, greetings));
  const changed = again.filter(({ isUpdated, wasAway }) => isUpdated || wasAway);
  await renewLeases(sql, again, options.coordinatorId);
  if (strangers.length + changed.length === 0) return;
  const first = await bumpRevision(sql, strangers.length + changed.length);
  const versionOf = (mcpId: string): string => greetings.get(mcpId)?.version ?? "";
  const news = strangers.map((mcpId, index) => ({
    ...({ mcpId, name: mcpId, version: versionOf(mcpId), instance: "", source: "hello", profile: unsaidProfile } as const),
    config: options.config,
    revision: first + index,
  }));
  const updates = changed.map((one, index) => ({ ...one, revision: first + news.length + index }));
  if (news.length > 0) {
    await insertMcps(sql, news);
    await insertLeases(sql, strangers, options.coordinatorId);
  }
  if (updates.length > 0) {
    await sql`UPDATE mcp SET version = t.version, revision = t.revision, changed_at = now()
      FROM json_to_recordset(${JSON.stringify(updates)}::text::json) AS t("mcpId" text, version text, revision bigint) WHERE mcp.mcp_id = t."mcpId"`;
  }
  const history = news.map(({ mcpId, version, revision }): NewHistory => {
    return { revision, mcpId, kind: "registered", detail: `by Hello, version ${version === "" ? "not said" : version}` };
  });
  await writeHistory(sql, [...history, ...updates.map(({ revision, mcpId, kind, detail }) => ({ revision, mcpId, kind, detail }))]);
}

/** What a Hello makes of a registration: whatever the lease was, it is alive now. Its version is taken over where RegisterMcp has not said one. */
type Greeting = {
  readonly mcpId: string;
  readonly version: string;
  readonly isUpdated: boolean;
  readonly wasAway: boolean;
  readonly steadyBeats: number;
  readonly neededBeats: number;
  readonly kind: string;
  readonly detail: string;
};

function greetingOf(before: StoredMcp, greetings: ReadonlyMap<string, GreetedMcp>): Greeting {
  const { mcpId, lease } = before;
  const said = greetings.get(mcpId)?.version ?? "";
  const isUpdated = before.source === "hello" && said !== "" && said !== before.version;
  const wasAway = lease.state !== "alive";
  return {
    ...{ mcpId, isUpdated, wasAway },
    version: isUpdated ? said : before.version,
    steadyBeats: wasAway ? 0 : lease.steadyBeats,
    neededBeats: lease.state === "deregistered" ? 1 : lease.neededBeats,
    kind: wasAway ? "alive" : "updated",
    detail: wasAway ? `by Hello, was ${lease.state}` : `by Hello, version ${before.version} became ${said}`,
  };
}

async function renewLeases(sql: TransactionSql, again: readonly Greeting[], coordinatorId: string): Promise<void> {
  if (again.length === 0) return;
  await sql`UPDATE mcp_lease AS l SET state = ${leaseStateNumbers.alive}, beat = l.beat + 1, beat_at = now(), coordinator_id = ${coordinatorId},
      steady_beats = t."steadyBeats", needed_beats = t."neededBeats"
    FROM json_to_recordset(${JSON.stringify(again)}::text::json) AS t("mcpId" text, "steadyBeats" int, "neededBeats" int) WHERE l.mcp_id = t."mcpId"`;
}

/**
 * Those whose registration was deregistered after their Hello came. One that was known then was before it. One that was not is most likely after it; but another
 * coordinator may have made it a moment before, and then its age tells, which the database's clock alone measures. In doubt it was after: the age of the Hello is
 * taken last.
 */
async function readEndedSince(
  sql: TransactionSql,
  known: readonly StoredMcp[],
  greetings: ReadonlyMap<string, GreetedMcp>,
): Promise<ReadonlySet<string>> {
  const doubtful = known.filter(({ mcpId, lease, revision }) => {
    return lease.state === "deregistered" && revision > (greetings.get(mcpId)?.seenRevision ?? 0);
  });
  if (doubtful.length === 0) return new Set();
  const rows = await sql<{ mcp_id: string; ended_ago_ms: number }[]>`
    SELECT mcp_id, (extract(epoch FROM clock_timestamp() - changed_at) * 1000)::float8 AS ended_ago_ms FROM mcp
    WHERE mcp_id IN ${sql(doubtful.map(({ mcpId }) => mcpId))}`;
  return new Set(rows.flatMap((row) => (row.ended_ago_ms <= (greetings.get(row.mcp_id)?.agoMs() ?? 0) ? [row.mcp_id] : [])));
}
