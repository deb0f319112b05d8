import { limits } from "../platform/limits.js";
import { uuidFloor } from "../platform/uuid-v7.js";
import type { Pool } from "./connect.js";
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
export async function listPartitionDays(pool: Pool, table: PartitionedTable): Promise<readonly number[]> {
  const rows = await pool.run(
    ({ sql }) => sql<{ name: string }[]>`
      SELECT c.relname AS name FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = ${table}::regclass`,
  );
  return rows.flatMap((row) => dayOfName(row.name) ?? []).sort((a, b) => a - b);
}

/** Creates the partitions of these days, those that are there already excepted, in one transaction. */
export async function createPartitions(pool: Pool, table: PartitionedTable, days: readonly number[]): Promise<void> {
  if (days.length === 0) return;
  const statements = days.map((day) => {
    const [from, to] = [uuidFloor(day * dayMs), uuidFloor((day + 1) * dayMs)];
    return `CREATE TABLE IF NOT EXISTS ${partitionName(day, table)} PARTITION OF ${table} FOR VALUES FROM ('${from}') TO ('${to}')`;
  });
  await pool.run(({ sql }) =>
    sql.begin(async (transaction) => {
      // IF NOT EXISTS does not hold between transactions that create the same table at once.
      await transaction`SELECT pg_advisory_xact_lock(${lockKey}::bigint)`;
      await transaction.unsafe(statements.join(";"));
    }),
  );
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
