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

/** See Store.maintain. Partitions first: without them no event can be stored. */
export async function maintain(pool: Pool, retention: Retention, nowMs: number): Promise<MaintenanceReport> {
  const today = dayOf(nowMs);
  const keptDays = Math.max(retention.retentionDays, retention.dedupeHorizonDays);
  const events = await keepPartitions(pool, "interaction_event", today - retention.dedupeHorizonDays, today, keptDays);
  // Decisions are made now, and written a moment later.
  const decisions = await keepPartitions(pool, "route_decision", today - 1, today, keptDays);
  const cutoffMs = nowMs - keptDays * dayMs;
  const interactionsDeleted = await purgeInteractions(pool, cutoffMs, retention.maxRecords);
  await purgeRecords(pool, cutoffMs);
  return {
    partitionsCreated: [...events.created, ...decisions.created],
    partitionsDropped: [...events.dropped, ...decisions.dropped],
    interactionsDeleted,
    daysAhead: Math.min(events.lastDay, decisions.lastDay) - today,
  };
}

type KeptPartitions = { readonly created: readonly string[]; readonly dropped: readonly string[]; readonly lastDay: number };

/** Makes the missing partitions from `firstDay` to some days ahead, and drops those that retention has passed. */
async function keepPartitions(
  pool: Pool,
  table: PartitionedTable,
  firstDay: number,
  today: number,
  keptDays: number,
): Promise<KeptPartitions> {
  const existing = await listPartitionDays(pool, table);
  const missing = range(firstDay, today + limits.partitionsAheadDays).filter((day) => !existing.includes(day));
  await createPartitions(pool, table, missing);
  const dropped: string[] = [];
  for (const day of existing.filter((day) => day < today - keptDays)) {
    if (await dropPartition(pool, table, day)) dropped.push(partitionName(day, table));
  }
  return { created: missing.map((day) => partitionName(day, table)), dropped, lastDay: Math.max(...existing, ...missing) };
}

function range(first: number, last: number): readonly number[] {
  return Array.from({ length: last - first + 1 }, (_, index) => first + index);
}
