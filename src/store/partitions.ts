import { limits } from "../platform/limits.js";
import { uuidFloor, uuidV7TimeMs } from "../platform/uuid-v7.js";
import type { Pool, Runner } from "./connect.js";
import { StoreFault } from "./store.js";

const dayMs = 86_400_000;
const namePattern = /^[a-z_]+_(\d{4})(\d\d)(\d\d)$/;

/** Tables that are partitioned by the day in their UUIDs. */
export type PartitionedTable = "interaction_event" | "route_decision";

/** Days since the Unix epoch, in UTC. */
export const dayOf = (ms: number): number => Math.floor(ms / dayMs);

export function partitionName(day: number, table: PartitionedTable = "interaction_event"): string {
  return `${table}_${new Date(day * dayMs).toISOString().slice(0, 10).replaceAll("-", "")}`;
}

/** The days that have a partition, ascending. Partitions with other names are not ours to touch. */
export async function listPartitionDays(runner: Runner, table: PartitionedTable): Promise<readonly number[]> {
  const rows = await runner.run(
    ({ sql }) => sql<{ name: string }[]>`
      SELECT c.relname AS name FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = ${table}::regclass`,
  );
  return rows.flatMap((row) => dayOfName(row.name) ?? []).sort((a, b) => a - b);
}

/** Creates the partitions of these days, those that are there already excepted, in one transaction: that of `runner` when it has one. */
export async function createPartitions(runner: Runner, table: PartitionedTable, days: readonly number[]): Promise<void> {
  if (days.length === 0) return;
  // IF NOT EXISTS does not hold between transactions that create the same table at once.
  const statements = [`SELECT pg_advisory_xact_lock(${lockKey})`];
  for (const day of days) {
    const [from, to] = [uuidFloor(day * dayMs), uuidFloor((day + 1) * dayMs)];
    statements.push(
      `CREATE TABLE IF NOT EXISTS ${partitionName(day, table)} PARTITION OF ${table} FOR VALUES FROM ('${from}') TO ('${to}')`,
    );
  }
  // Several statements in one message are one transaction.
  await runner.run(({ sql }) => sql.unsafe(statements.join(";")));
}

/** check_violation: the tables' own CHECKs hold for whatever we write, so it says that a row has no partition. Source: PostgreSQL manual, appendix A. */
const checkViolation = "23514";

/**
 * Writes rows, and makes the partitions that they miss: a machine that slept for longer than partitions are made ahead, or whose clock was put right, or a database
 * that was away for that long, gets rows of a new day before maintenance runs again. A day before the oldest partition was thrown away, with what may have been
 * stored in it, and one more than `limits.partitionsAheadMaxDays` ahead of the database's clock is a wrong clock's: rows of these are refused. `ids`: UUIDs version 7 of the rows. Bound: once, a partition for each of their days.
 */
export async function writeIntoPartitions<T>(
  runner: Runner,
  table: PartitionedTable,
  ids: () => readonly string[],
  write: () => Promise<T>,
): Promise<T> {
  try {
    return await write();
  } catch (thrown) {
    // Cleans up: what is missing is made, and whatever is wrong besides is met again.
    if (!(thrown instanceof StoreFault) || thrown.code !== checkViolation) throw thrown;
    const existing = await listPartitionDays(runner, table);
    const [oldest = Number.POSITIVE_INFINITY] = existing;
    const days = new Set(ids().map((id) => dayOf(uuidV7TimeMs(id))));
    const latest = dayOf(await readClock(runner)) + limits.partitionsAheadMaxDays;
    const missing = [...days].filter((day) => day > oldest && day <= latest && !existing.includes(day)).sort((a, b) => a - b);
    if (missing.length > 0) await createPartitions(runner, table, missing);
    return write();
  }
}

/** What time it is for the database. Unit: ms since the Unix epoch. */
async function readClock(runner: Runner): Promise<number> {
  const [row] = await runner.run(({ sql }) => sql<{ nowMs: number }[]>`SELECT (extract(epoch FROM now()) * 1000)::float8 AS "nowMs"`);
  if (row === undefined) throw new StoreFault("transient", "NO_CLOCK", "the database did not say what time it is");
  return row.nowMs;
}

/** Drops the partition of a day with all its rows; false when readers or writers held it for too long. */
export async function dropPartition(pool: Pool, table: PartitionedTable, day: number): Promise<boolean> {
  try {
    await pool.run(({ sql }) =>
      sql.begin(async (transaction) => {
        await transaction.unsafe(`SET LOCAL lock_timeout = ${limits.maintenanceLockMs}`);
        await transaction.unsafe(`DROP TABLE IF EXISTS ${partitionName(day, table)}`);
      }),
    );
    return true;
  } catch (thrown) {
    // The loop's edge: what is not dropped now is dropped by the next run.
    if (thrown instanceof StoreFault && thrown.kind === "transient") return false;
    throw thrown;
  }
}

/** Key of the advisory lock that creators of partitions share. */
const lockKey = 7_264_913_551;

function dayOfName(name: string): number | undefined {
  const found = namePattern.exec(name);
  return found === null ? undefined : dayOf(Date.UTC(Number(found[1]), Number(found[2]) - 1, Number(found[3])));
}
