import type { Sql, TransactionSql } from "postgres";
import type { McpConfig } from "../interaction/mcp-config.js";
import { assert } from "../platform/assert.js";
import type { Health, LeaseState, McpProfile, NewRegistration, RegistrationSource, StoredMcp } from "./registry-rows.js";
import { healthNumbers, leaseStateNumbers, registrationSourceNumbers } from "./tables.js";

/** A row of mcp with its lease. Numbers of Postgres's bigint come as text. */
type McpRow = {
  readonly mcp_id: string;
  readonly name: string;
  readonly version: string;
  readonly instance: string;
  readonly source: number;
  readonly profile: McpProfile;
  readonly config: McpConfig;
  readonly config_version: string;
  readonly health: number;
  readonly key_id: string;
  readonly key_sha256: string;
  readonly registered_ms: number;
  readonly revision: string;
  readonly state: number;
  readonly steady_beats: number;
  readonly needed_beats: number;
};

const columns = `mcp_id, name, version, instance, source, profile, config, config_version, health, key_id, key_sha256,
  (extract(epoch FROM registered_at) * 1000)::float8 AS registered_ms, revision, state, steady_beats, needed_beats`;

/** One registration with its lease, locked until the end of the transaction. */
export async function lockMcp(sql: TransactionSql, mcpId: string): Promise<StoredMcp | undefined> {
  return (await lockedMcps(sql, [mcpId]))[0];
}

/**
 * Registrations with their leases by mcp_id, locked until the end of the transaction in that order. `mcpIds`: none twice. Of each the lease is locked first,
 * because that is the order of the tables here: whoever has the lease may lock its registration without waiting (changeLeases does, once it has the head).
 */
export async function lockedMcps(sql: TransactionSql, mcpIds: readonly string[]): Promise<readonly StoredMcp[]> {
  if (mcpIds.length === 0) return [];
  const rows = await sql<McpRow[]>`SELECT ${sql.unsafe(columns)} FROM mcp_lease JOIN mcp USING (mcp_id)
    WHERE mcp_id IN ${sql([...mcpIds])} ORDER BY mcp_id FOR UPDATE`;
  return rows.map(mcpOf);
}

/** Registrations that changed after a revision, by revision. */
export async function readChangedMcps(sql: Sql, afterRevision: number): Promise<readonly StoredMcp[]> {
  const rows = await sql<McpRow[]>`SELECT ${sql.unsafe(columns)} FROM mcp JOIN mcp_lease USING (mcp_id)
    WHERE revision > ${afterRevision} ORDER BY revision`;
  return rows.map(mcpOf);
}

/** Takes the next `count` revisions, and the head's lock until the end of the transaction. Returns the first of them. */
export async function bumpRevision(sql: TransactionSql, count: number): Promise<number> {
  const [row] = await sql<{ revision: string }[]>`UPDATE registry_head SET revision = revision + ${count} RETURNING revision`;
  assert(row !== undefined, "the migration made the one row of registry_head");
  return Number(row.revision) - count + 1;
}

export type NewHistory = { readonly revision: number; readonly mcpId: string; readonly kind: string; readonly detail: string };

export async function writeHistory(sql: TransactionSql, entries: readonly NewHistory[]): Promise<void> {
  const text = JSON.stringify(entries);
  await sql`INSERT INTO mcp_history (revision, mcp_id, kind, detail)
    SELECT revision, "mcpId", kind, detail FROM json_to_recordset(${text}::text::json) AS t(revision bigint, "mcpId" text, kind text, detail text)`;
}

/** Registrations that have not ended. */
export async function countLive(sql: TransactionSql): Promise<number> {
  const [row] = await sql<{ count: number }[]>`
    SELECT count(*)::int AS count FROM mcp_lease WHERE state <> ${leaseStateNumbers.deregistered}`;
  return row?.count ?? 0;
}

export type NewMcp = NewRegistration & Pick<StoredMcp, "mcpId" | "source" | "config" | "revision">;

/** All in one statement, like the leases and the history: a transaction of hundreds of round trips would not end within the watchdog on a slow network. */
export async function insertMcps(sql: TransactionSql, rows: readonly NewMcp[]): Promise<void> {
  const text = JSON.stringify(rows.map((row) => ({ ...row, source: registrationSourceNumbers[row.source] })));
  await sql`INSERT INTO mcp (mcp_id, name, version, instance, source, profile, config, config_version, health, revision)
    SELECT "mcpId", name, version, instance, source, profile, config, 1, ${healthNumbers.unknown}::smallint, revision
    FROM json_to_recordset(${text}::text::json) AS t("mcpId" text, name text, version text, instance text, source smallint, profile jsonb, config jsonb,
      revision bigint)`;
}

/** New leases, which are alive. */
export async function insertLeases(sql: TransactionSql, mcpIds: readonly string[], coordinatorId: string): Promise<void> {
  await sql`INSERT INTO mcp_lease (mcp_id, state, steady_beats, needed_beats, coordinator_id)
    SELECT mcp_id, ${leaseStateNumbers.alive}::smallint, 0, 1, ${coordinatorId} FROM json_array_elements_text(${JSON.stringify(mcpIds)}::text::json) AS t(mcp_id)`;
}

function mcpOf(row: McpRow): StoredMcp {
  return {
    mcpId: row.mcp_id,
    name: row.name,
    version: row.version,
    instance: row.instance,
    source: sourceOf(row.source),
    profile: row.profile,
    config: row.config,
    configVersion: Number(row.config_version),
    health: healthOf(row.health),
    keyId: row.key_id,
    keySha256: row.key_sha256,
    registeredAtMs: Math.floor(row.registered_ms),
    revision: Number(row.revision),
    lease: { state: leaseStateOf(row.state), steadyBeats: row.steady_beats, neededBeats: row.needed_beats },
  };
}

/** The name behind a number that a table holds. */
function nameOf<N extends string>(numbers: Readonly<Record<N, number>>): (number: number) => N {
  const names = new Map(Object.entries<number>(numbers).map(([name, number]) => [number, name as N])); // keys of a record by N
  return (number) => {
    const name = names.get(number);
    assert(name !== undefined, `${number} in the store has a name`);
    return name;
  };
}

export const leaseStateOf = nameOf<LeaseState>(leaseStateNumbers);
const healthOf = nameOf<Health>(healthNumbers);
const sourceOf = nameOf<RegistrationSource>(registrationSourceNumbers);
