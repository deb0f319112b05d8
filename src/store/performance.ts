import { assert } from "../platform/assert.js";
import type { Pool } from "./connect.js";
import type { InteractionCounts, PerformanceMetrics } from "./store.js";
import { slotOf, timestampOfMicros } from "./timestamps.js";

type PerformanceRow = {
  readonly completed: number;
  readonly failed: number;
  readonly avg_ms: number | null;
  readonly min_ms: number | null;
  readonly max_ms: number | null;
  readonly percentiles: readonly [number, number, number] | null;
};

/**
 * See Store.readPerformance. An interaction that ended in the window has its last event there or later, so the slot bounds the scan from below;
 * ended_at has no index of its own because every end would then rewrite all index entries of the row.
 */
export async function readPerformance(
  pool: Pool,
  mcpId: string | undefined,
  startMs: number,
  endMs: number,
  signal?: AbortSignal,
): Promise<PerformanceMetrics> {
  const [row] = await pool.run(
    ({ sql }) => sql<PerformanceRow[]>`
      SELECT count(*) FILTER (WHERE state = 3)::float8 AS completed, count(*) FILTER (WHERE state = 4)::float8 AS failed,
        avg(duration_ms) AS avg_ms, min(duration_ms) AS min_ms, max(duration_ms) AS max_ms,
        to_json(percentile_cont(ARRAY[0.5, 0.95, 0.99]) WITHIN GROUP (ORDER BY duration_ms)) AS percentiles
      FROM interaction
      WHERE last_event_slot >= ${slotOf(startMs * 1000)}
        AND ended_at >= ${timestampOfMicros(startMs * 1000)}::timestamptz AND ended_at < ${timestampOfMicros(endMs * 1000)}::timestamptz
        ${mcpId === undefined ? sql`` : sql`AND mcp_id = ${mcpId}`}`,
    { signal },
  );
  assert(row !== undefined, "an aggregate returns one row");
  const [p50, p95, p99] = row.percentiles ?? [];
  return {
    total: row.completed + row.failed,
    completed: row.completed,
    failed: row.failed,
    avgMs: row.avg_ms ?? undefined,
    minMs: row.min_ms ?? undefined,
    maxMs: row.max_ms ?? undefined,
    p50Ms: p50 ?? undefined,
    p95Ms: p95 ?? undefined,
    p99Ms: p99 ?? undefined,
  };
}

type CountRow = { readonly active: number; readonly completed: number; readonly failed: number; readonly avg_ms: number | null };

/** See Store.countInteractions. Reads every row of the MCP, or of all: about half a second per million. */
export async function countInteractions(pool: Pool, mcpId: string | undefined, signal?: AbortSignal): Promise<InteractionCounts> {
  const [row] = await pool.run(
    ({ sql }) => sql<CountRow[]>`
      SELECT count(*) FILTER (WHERE state < 3)::float8 AS active, count(*) FILTER (WHERE state = 3)::float8 AS completed,
        count(*) FILTER (WHERE state = 4)::float8 AS failed, avg(duration_ms) AS avg_ms
      FROM interaction ${mcpId === undefined ? sql`` : sql`WHERE mcp_id = ${mcpId}`}`,
    { signal },
  );
  assert(row !== undefined, "an aggregate returns one row");
  return {
    total: row.active + row.completed + row.failed,
    active: row.active,
    completed: row.completed,
    failed: row.failed,
    averageMs: row.avg_ms ?? undefined,
  };
}
