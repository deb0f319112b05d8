import { isDeepStrictEqual } from "node:util";
import type { TransactionSql } from "postgres";
import type { McpConfig } from "../interaction/mcp-config.js";
import { assert } from "../platform/assert.js";
import type { Pool } from "./connect.js";
import { inTransaction } from "./in-transaction.js";
import { bumpRevision, countLive, insertLeases, insertMcps, lockMcp, writeHistory } from "./registry-change.js";
import { registerGreeted } from "./registry-greetings.js";
import { changeLeases } from "./registry-leases.js";
import { readLeaseBeats, readMcpChanges, readMcpStanding, recordMcpConfigAcks } from "./registry-reads.js";
import type {
  ConfigUpdated,
  Health,
  McpProfile,
  NewRegistration,
  Registered,
  RegisterOptions,
  RegistryStore,
  StoredMcp,
} from "./registry-rows.js";
import { healthNumbers, leaseStateNumbers, registrationSourceNumbers } from "./tables.js";

/**
 * The registry's part of the store. Locks are always taken in one order: counter of the name, leases by mcp_id and each one's registration right behind it, head. The
 * registration behind a lease that one has may also be locked after the head. The head is locked until the commit, so revisions become visible in their order.
 */
export function createRegistryStore(pool: Pool): RegistryStore {
  return {
    registerMcp: (registration, options) => inTransaction(pool, (sql) => registerMcp(sql, registration, options)),
    registerGreeted: (greeted, options) => inTransaction(pool, (sql) => registerGreeted(sql, greeted, options)),
    deregisterMcp: (mcpId, reason) => inTransaction(pool, (sql) => deregisterMcp(sql, mcpId, reason)),
    changeLeases: (changes, coordinatorId) => inTransaction(pool, (sql) => changeLeases(sql, changes, coordinatorId)),
    setMcpHealth: (mcpId, health, detail) => inTransaction(pool, (sql) => setMcpHealth(sql, mcpId, health, detail)),
    updateMcpConfig: (mcpId, expectedVersion, change, detail) =>
      inTransaction(pool, (sql) => updateMcpConfig(sql, { mcpId, expectedVersion, change, detail })),
    recordMcpConfigAcks: (acks) => recordMcpConfigAcks(pool, acks),
    readMcpChanges: (afterRevision) => readMcpChanges(pool, afterRevision),
    readLeaseBeats: () => readLeaseBeats(pool),
    readMcpStanding: (mcpId, maxCount, historyCount) => readMcpStanding(pool, mcpId, maxCount, historyCount),
  };
}

/** See RegistryStore.registerMcp. The counter's row is locked first, so two coordinators that register one name take turns. */
async function registerMcp(sql: TransactionSql, registration: NewRegistration, options: RegisterOptions): Promise<Registered> {
  const { name, version, instance, profile } = registration;
  const last = await lockCounter(sql, name);
  const [found] = await sql<{ mcp_id: string }[]>`
    SELECT mcp_id FROM mcp JOIN mcp_lease USING (mcp_id)
    WHERE name = ${name} AND version = ${version} AND instance = ${instance}
      AND source = ${registrationSourceNumbers.register} AND state <> ${leaseStateNumbers.deregistered}`;
  const free = found === undefined ? await nextFreeId(sql, name, last) : undefined;
  const mcpId = found?.mcp_id ?? free?.mcpId ?? "";
  if (options.onlyMcpId !== undefined && options.onlyMcpId !== mcpId) {
    await dropUnusedCounter(sql, name);
    return { kind: "foreign", mcpId };
  }
  if (free === undefined) return registerAgain(sql, mcpId, profile, options);
  if ((await countLive(sql)) >= options.maxCount) {
    await dropUnusedCounter(sql, name);
    return { kind: "full" };
  }
  await sql`UPDATE mcp_counter SET last = ${free.number} WHERE name = ${name}`;
  const revision = await bumpRevision(sql, 1);
  await insertMcps(sql, [{ mcpId, name, version, instance, source: "register", profile, config: options.config, revision }]);
  if (options.key !== undefined) await giveKey(sql, mcpId, options.key);
  await insertLeases(sql, [mcpId], options.coordinatorId);
  await writeHistory(sql, [{ revision, mcpId, kind: "registered", detail: `by RegisterMcp, ${name} ${version} ${instance}`.trim() }]);
  return { kind: "registered", mcp: await readLocked(sql, mcpId), isNew: true, isKeyNew: options.key !== undefined };
}

async function lockCounter(sql: TransactionSql, name: string): Promise<number> {
  const [row] = await sql<{ last: string }[]>`
    INSERT INTO mcp_counter AS c (name, last) VALUES (${name}, 0) ON CONFLICT (name) DO UPDATE SET last = c.last RETURNING last`;
  assert(row !== undefined, "an upsert returns its row");
  return Number(row.last);
}

/** Takes back a counter that has given no number: nothing else would ever delete it, and the names of refused registrations are up to whoever asks. */
async function dropUnusedCounter(sql: TransactionSql, name: string): Promise<void> {
  await sql`DELETE FROM mcp_counter WHERE name = ${name} AND last = 0`;
}

/**
 * The next number whose id nobody has taken by Hello. One statement: a fleet may have taken thousands in a row, and asking for each would outlast the watchdog.
 * Among one number more than there are registrations at least one is free.
 */
async function nextFreeId(sql: TransactionSql, name: string, last: number): Promise<{ readonly mcpId: string; readonly number: number }> {
  const [free] = await sql<{ mcp_id: string; number: string }[]>`
    SELECT number, mcp_id FROM generate_series(${last}::bigint + 1, ${last}::bigint + 1 + (SELECT count(*) FROM mcp)) AS number,
      LATERAL (SELECT ${name}::text || '_' || lpad(number::text, greatest(3, length(number::text)), '0') AS mcp_id) AS named
    WHERE NOT EXISTS (SELECT FROM mcp WHERE mcp.mcp_id = named.mcp_id COLLATE "C") ORDER BY number LIMIT 1`;
  assert(free !== undefined, "there is one number more than registrations");
  return { mcpId: free.mcp_id, number: Number(free.number) };
}

/** The registration exists: its profile and its lease are renewed, and its key when that is wanted. */
async function registerAgain(sql: TransactionSql, mcpId: string, profile: McpProfile, options: RegisterOptions): Promise<Registered> {
  const before = await lockMcp(sql, mcpId);
  assert(before !== undefined, "a registration that was found is there");
  const wasAway = before.lease.state !== "alive";
  const isKeyNew = options.key !== undefined && (options.renewKey || before.keySha256 === "");
  const isUpdated = !isDeepStrictEqual(before.profile, profile);
  await sql`UPDATE mcp_lease SET state = ${leaseStateNumbers.alive}, beat = beat + 1, beat_at = now(),
    steady_beats = CASE WHEN state = ${leaseStateNumbers.alive} THEN steady_beats ELSE 0 END, coordinator_id = ${options.coordinatorId}
    WHERE mcp_id = ${mcpId}`;
  if (isKeyNew && options.key !== undefined) await giveKey(sql, mcpId, options.key);
  if (wasAway || isUpdated || isKeyNew) {
    const revision = await bumpRevision(sql, 1);
    await sql`UPDATE mcp SET profile = ${JSON.stringify(profile)}::text::jsonb, revision = ${revision}, changed_at = now() WHERE mcp_id = ${mcpId}`;
    const what = [wasAway ? `was ${before.lease.state}` : "", isUpdated ? "profile changed" : "", isKeyNew ? "key renewed" : ""];
    const detail = `registered again: ${what.filter((one) => one !== "").join(", ")}`;
    await writeHistory(sql, [{ revision, mcpId, kind: wasAway ? "alive" : "updated", detail }]);
  }
  return { kind: "registered", mcp: await readLocked(sql, mcpId), isNew: false, isKeyNew };
}

async function giveKey(sql: TransactionSql, mcpId: string, key: NonNullable<RegisterOptions["key"]>): Promise<void> {
  await sql`UPDATE mcp SET key_id = ${key.keyId}, key_sha256 = ${key.sha256} WHERE mcp_id = ${mcpId}`;
}

async function readLocked(sql: TransactionSql, mcpId: string): Promise<StoredMcp> {
  const mcp = await lockMcp(sql, mcpId);
  assert(mcp !== undefined, "a registration that was written is there");
  return mcp;
}

/** See RegistryStore.deregisterMcp. */
async function deregisterMcp(sql: TransactionSql, mcpId: string, reason: string): Promise<boolean> {
  const before = await lockMcp(sql, mcpId);
  if (before === undefined) return false;
  if (before.lease.state === "deregistered") return true;
  await sql`UPDATE mcp_lease SET state = ${leaseStateNumbers.deregistered}, steady_beats = 0 WHERE mcp_id = ${mcpId}`;
  const revision = await bumpRevision(sql, 1);
  await sql`UPDATE mcp SET key_id = '', key_sha256 = '', health = ${healthNumbers.unknown}, revision = ${revision}, changed_at = now()
    WHERE mcp_id = ${mcpId}`;
  await writeHistory(sql, [{ revision, mcpId, kind: "deregistered", detail: reason }]);
  return true;
}

/** See RegistryStore.setMcpHealth. */
async function setMcpHealth(sql: TransactionSql, mcpId: string, health: Health, detail: string): Promise<void> {
  const before = await lockMcp(sql, mcpId);
  if (before === undefined || before.health === health || before.lease.state === "deregistered") return;
  const revision = await bumpRevision(sql, 1);
  await sql`UPDATE mcp SET health = ${healthNumbers[health]}, revision = ${revision}, changed_at = now() WHERE mcp_id = ${mcpId}`;
  await writeHistory(sql, [{ revision, mcpId, kind: health, detail }]);
}

/** See RegistryStore.updateMcpConfig. */
async function updateMcpConfig(
  sql: TransactionSql,
  update: {
    readonly mcpId: string;
    readonly expectedVersion: number;
    readonly change: (config: McpConfig) => McpConfig;
    readonly detail: string;
  },
): Promise<ConfigUpdated> {
  const { mcpId, expectedVersion } = update;
  const before = await lockMcp(sql, mcpId);
  if (before === undefined || before.lease.state === "deregistered") return { kind: "unknown" };
  if (before.configVersion !== expectedVersion) return { kind: "mismatch", version: before.configVersion };
  const config = update.change(before.config);
  if (isDeepStrictEqual(config, before.config)) return { kind: "updated", config, version: expectedVersion };
  const version = expectedVersion + 1;
  const revision = await bumpRevision(sql, 1);
  await sql`UPDATE mcp SET config = ${JSON.stringify(config)}::text::jsonb, config_version = ${version}, revision = ${revision}, changed_at = now()
    WHERE mcp_id = ${mcpId}`;
  await writeHistory(sql, [{ revision, mcpId, kind: "configured", detail: `version ${version}: ${update.detail}` }]);
  return { kind: "updated", config, version };
}
