import { assert } from "../platform/assert.js";
import { limits } from "../platform/limits.js";
import type { Pool } from "./connect.js";
import { createPartitions, dayOf, dropPartition, listPartitionDays, type PartitionedTable, partitionName } from "./partitions.js";
import { purgeInteractions, purgeRecords } from "./purge.js";
import type { MaintenanceReport } from "./store.js";

const dayMs = 86_400_000;

export type Retention = {
  /** Events and interactions are kept for so many days, and at least for the dedupe horizon. */
  readonly retentionDays: number;
  /** Events up to this age are accepted. */
  readonly dedupeHorizonDays: number;
  /** Interactions above this number are deleted, oldest first. */
  readonly maxRecords: number;
};

/**
 * See Store.maintain. Partitions first: without them no event can be stored. They are made by the clock that judges events, the coordinator's. What is thrown away
 * is gone for good, so two clocks have to agree on that: the earlier one decides, and a coordinator whose clock is a year ahead empties no database that others share.
 */
export async function maintain(pool: Pool, retention: Retention, nowMs: number, databaseMs?: number): Promise<MaintenanceReport> {
  const today = dayOf(nowMs);
  const clockAheadMs = Math.round(nowMs - (databaseMs ?? (await readClock(pool))));
  const agreedMs = nowMs - Math.max(0, clockAheadMs);
  const keptDays = Math.max(retention.retentionDays, retention.dedupeHorizonDays);
  const oldestDay = dayOf(agreedMs) - keptDays;
  const events = await keepPartitions(pool, "interaction_event", today - retention.dedupeHorizonDays, today, oldestDay);
  // Decisions are made now, and written a moment later.
  const decisions = await keepPartitions(pool, "route_decision", today - 1, today, oldestDay);
  const cutoffMs = agreedMs - keptDays * dayMs;
  const interactionsDeleted = await purgeInteractions(pool, cutoffMs, retention.maxRecords);
  await purgeRecords(pool, cutoffMs);
  return {
    partitionsCreated: [...events.created, ...decisions.created],
    partitionsDropped: [...events.dropped, ...decisions.dropped],
    interactionsDeleted,
    daysAhead: Math.min(events.lastDay, decisions.lastDay) - today,
    clockAheadMs,
  };
}

async function readClock(pool: Pool): Promise<number> {
  const [row] = await pool.run(({ sql }) => sql<{ ms: number }[]>`SELECT extract(epoch FROM clock_timestamp())::float8 * 1000 AS ms`);
  assert(row !== undefined, "a select without a table gives one row");
  return row.ms;
}

type KeptPartitions = { readonly created: readonly string[]; readonly dropped: readonly string[]; readonly lastDay: number };

/** Makes the missing partitions from `firstDay` to some days ahead, and drops those before `oldestDay`, which retention has passed. */
async function keepPartitions(
  pool: Pool,
  table: PartitionedTable,
  firstDay: number,
  today: number,
  oldestDay: number,
): Promise<KeptPartitions> {
  const existing = await listPartitionDays(pool, table);
  const missing = range(firstDay, today + limits.partitionsAheadDays).filter((day) => !existing.includes(day));
  await createPartitions(pool, table, missing);
  const dropped: string[] = [];
  for (const day of existing.filter((day) => day < oldestDay)) {
    if (await dropPartition(pool, table, day)) dropped.push(partitionName(day, table));
  }
  return { created: missing.map((day) => partitionName(day, table)), dropped, lastDay: Math.max(...existing, ...missing) };
}

function range(first: number, last: number): readonly number[] {
  return Array.from({ length: last - first + 1 }, (_, index) => first + index);
}
