import { isDeepStrictEqual } from "node:util";
import type { TransactionSql } from "postgres";
import type { McpConfig } from "../interaction/mcp-config.js";
import { assert } from "../platform/assert.js";
import type { Pool } from "./connect.js";
import { inTransaction } from "./in-transaction.js";
import { bumpRevision, lockedMcps, lockMcp, writeHistory } from "./registry-change.js";
import { changeLeases } from "./registry-leases.js";
import { readLeaseBeats, readMcpChanges, readMcpStanding, recordMcpConfigAcks } from "./registry-reads.js";
import {
  type ConfigUpdated,
  type GreetedMcp,
  type Health,
  type McpProfile,
  type NewRegistration,
  type Registered,
  type RegisterOptions,
  type RegistryStore,
  type StoredMcp,
  unsaidProfile,
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
  await insertMcp(sql, { mcpId, name, version, instance, source: "register", profile, config: options.config, revision });
  if (options.key !== undefined) await giveKey(sql, mcpId, options.key);
  await insertLease(sql, mcpId, options.coordinatorId);
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

/** The next number whose id nobody has taken by Hello. */
async function nextFreeId(sql: TransactionSql, name: string, last: number): Promise<{ readonly mcpId: string; readonly number: number }> {
  for (let number = last + 1; ; number++) {
    const mcpId = `${name}_${String(number).padStart(3, "0")}`;
    const [taken] = await sql`SELECT 1 FROM mcp WHERE mcp_id = ${mcpId}`;
    if (taken === undefined) return { mcpId, number };
  }
}

async function countLive(sql: TransactionSql): Promise<number> {
  const [row] = await sql<{ count: number }[]>`
    SELECT count(*)::int AS count FROM mcp_lease WHERE state <> ${leaseStateNumbers.deregistered}`;
  return row?.count ?? 0;
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

type NewRow = NewRegistration & Pick<StoredMcp, "mcpId" | "source" | "config" | "revision">;

async function insertMcp(sql: TransactionSql, row: NewRow): Promise<void> {
  await sql`INSERT INTO mcp (mcp_id, name, version, instance, source, profile, config, config_version, health, revision)
    VALUES (${row.mcpId}, ${row.name}, ${row.version}, ${row.instance}, ${registrationSourceNumbers[row.source]},
      ${JSON.stringify(row.profile)}::text::jsonb, ${JSON.stringify(row.config)}::text::jsonb, 1, ${healthNumbers.unknown}, ${row.revision})`;
}

async function insertLease(sql: TransactionSql, mcpId: string, coordinatorId: string): Promise<void> {
  await sql`INSERT INTO mcp_lease (mcp_id, state, steady_beats, needed_beats, coordinator_id)
    VALUES (${mcpId}, ${leaseStateNumbers.alive}, 0, 1, ${coordinatorId})`;
}

async function giveKey(sql: TransactionSql, mcpId: string, key: NonNullable<RegisterOptions["key"]>): Promise<void> {
  await sql`UPDATE mcp SET key_id = ${key.keyId}, key_sha256 = ${key.sha256} WHERE mcp_id = ${mcpId}`;
}

async function readLocked(sql: TransactionSql, mcpId: string): Promise<StoredMcp> {
  const mcp = await lockMcp(sql, mcpId);
  assert(mcp !== undefined, "a registration that was written is there");
  return mcp;
}

/** See RegistryStore.registerGreeted. Of several greetings of one MCP the last says its version. */
async function registerGreeted(
  sql: TransactionSql,
  greeted: readonly GreetedMcp[],
  options: Pick<RegisterOptions, "coordinatorId" | "config" | "maxCount">,
): Promise<void> {
  const greetings = new Map(greeted.map((greeting) => [greeting.mcpId, greeting]));
  const ids = [...greetings.keys()].sort();
  const known = new Map((await lockedMcps(sql, ids)).map((mcp) => [mcp.mcpId, mcp]));
  let room = options.maxCount - (await countLive(sql));
  for (const mcpId of ids) {
    const greeting = greetings.get(mcpId);
    assert(greeting !== undefined, "the ids are those of the greetings");
    const { version } = greeting;
    const before = known.get(mcpId);
    if (before === undefined) {
      if (room <= 0) continue;
      room -= 1;
      const revision = await bumpRevision(sql, 1);
      const { config } = options;
      await insertMcp(sql, { mcpId, name: mcpId, version, instance: "", source: "hello", profile: unsaidProfile, config, revision });
      await insertLease(sql, mcpId, options.coordinatorId);
      await writeHistory(sql, [
        { revision, mcpId, kind: "registered", detail: `by Hello, version ${version === "" ? "not said" : version}` },
      ]);
    } else if (!(await isEndedSince(sql, before, greeting))) {
      await greetAgain(sql, before, version, options.coordinatorId);
    }
  }
}

/**
 * Whether a registration was deregistered after a Hello came. One that was known then was before it. One that was not is most likely after it; but another
 * coordinator may have made it a moment before, and then its age tells, which the database's clock alone measures. In doubt it was after: the age of the Hello is
 * taken last.
 */
async function isEndedSince(sql: TransactionSql, before: StoredMcp, { seenRevision, agoMs }: GreetedMcp): Promise<boolean> {
  if (before.lease.state !== "deregistered" || before.revision <= seenRevision) return false;
  const [row] = await sql<{ ended_ago_ms: number }[]>`
    SELECT (extract(epoch FROM clock_timestamp() - changed_at) * 1000)::float8 AS ended_ago_ms FROM mcp WHERE mcp_id = ${before.mcpId}`;
  return row !== undefined && row.ended_ago_ms <= agoMs();
}

/** A Hello is a registration: whatever the lease was, it is alive now. Its version is taken over where RegisterMcp has not said one. */
async function greetAgain(sql: TransactionSql, before: StoredMcp, version: string, coordinatorId: string): Promise<void> {
  const { mcpId } = before;
  const isUpdated = before.source === "hello" && version !== "" && version !== before.version;
  const wasAway = before.lease.state !== "alive";
  const wasEnded = before.lease.state === "deregistered";
  await sql`UPDATE mcp_lease SET state = ${leaseStateNumbers.alive}, beat = beat + 1, beat_at = now(), coordinator_id = ${coordinatorId},
    steady_beats = ${wasAway ? 0 : before.lease.steadyBeats}, needed_beats = ${wasEnded ? 1 : before.lease.neededBeats} WHERE mcp_id = ${mcpId}`;
  if (!isUpdated && !wasAway) return;
  const revision = await bumpRevision(sql, 1);
  await sql`UPDATE mcp SET version = ${isUpdated ? version : before.version}, revision = ${revision}, changed_at = now() WHERE mcp_id = ${mcpId}`;
  const detail = wasAway ? `by Hello, was ${before.lease.state}` : `by Hello, version ${before.version} became ${version}`;
  await writeHistory(sql, [{ revision, mcpId, kind: wasAway ? "alive" : "updated", detail }]);
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
