import { limits } from "../platform/limits.js";
import type { Pool } from "./connect.js";
import { createPartitions, dayOf, dropPartition, listPartitionDays, partitionName } from "./partitions.js";
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
  const existing = await listPartitionDays(pool);
  const wanted = range(today - retention.dedupeHorizonDays, today + limits.partitionsAheadDays);
  const missing = wanted.filter((day) => !existing.includes(day));
  await createPartitions(pool, missing);
  const dropped: string[] = [];
  for (const day of existing.filter((day) => day < today - keptDays)) {
    if (await dropPartition(pool, day)) dropped.push(partitionName(day));
  }
  const cutoffMs = nowMs - keptDays * dayMs;
  const interactionsDeleted = await purgeInteractions(pool, cutoffMs, retention.maxRecords);
  await purgeRecords(pool, cutoffMs);
  return {
    partitionsCreated: missing.map(partitionName),
    partitionsDropped: dropped,
    interactionsDeleted,
    daysAhead: Math.max(...existing, ...missing) - today,
  };
}

function range(first: number, last: number): readonly number[] {
  return Array.from({ length: last - first + 1 }, (_, index) => first + index);
}
