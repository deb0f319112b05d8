import type { TransactionSql } from "postgres";
import { assert } from "../platform/assert.js";
import { limits } from "../platform/limits.js";
import { appendEvents, type Wariness } from "./append.js";
import { arrays, type Column } from "./batch-columns.js";
import type { Pool } from "./connect.js";
import { storable } from "./dead-letters.js";
import { behindSavepoints, inTransaction } from "./in-transaction.js";
import { sourceNumbers } from "./tables.js";
import type { Backlog, ReportFate, SharedTableStore, TakeBounds, TakenRange, WaitingReport } from "./waiting-reports.js";

/** See SharedTableStore. Transactions take one connection of `pool`, one at a time. */
export function createSharedTableStore(pool: Pool): SharedTableStore {
  const wariness: Wariness = { batches: 0 };
  return {
    takeReports: (bounds, decide) =>
      inTransaction(pool, async (transaction) => {
        const rows = await lockRows(transaction, bounds);
        if (rows.length === 0) return { count: 0, lastId: bounds.afterId, hasMore: false };
        const reports = rows.map(reportOf);
        const runner = behindSavepoints(transaction);
        const fates = await decide({ reports, append: (events) => appendEvents(runner, wariness, events) });
        await carryOut(transaction, reports, fates);
        return rangeOf(rows, bounds);
      }),
    readBacklog: () => readBacklog(pool),
  };
}

type WaitingRow = {
  readonly id: string;
  readonly mcp_id: string;
  readonly interaction_id: string;
  readonly bytes: number;
  readonly data: string | null;
  readonly locked: number;
};

/**
 * Locks rows and gives those that fit. Sizes first and texts afterwards, so that a row of a gigabyte is measured by the server and never sent. What is locked and
 * does not fit is free again at the end of the transaction.
 */
const lockSql = `
WITH taken AS MATERIALIZED (
  SELECT id, octet_length(data::text) AS bytes FROM interaction_logs
  WHERE NOT processed AND id > $1::text::bigint ORDER BY id LIMIT $2::text::int FOR UPDATE SKIP LOCKED
), measured AS (
  SELECT id, bytes, coalesce(sum(CASE WHEN bytes <= $4::text::int THEN bytes ELSE 0 END)
    OVER (ORDER BY id ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) AS bytes_before
  FROM taken
)
SELECT l.id::text AS id, left(l.mcp_id, ${limits.idMaxBytes + 1}) AS mcp_id, left(l.interaction_id, ${limits.idMaxBytes + 1}) AS interaction_id, m.bytes,
  CASE WHEN m.bytes <= $4::text::int THEN l.data::text END AS data, (SELECT count(*) FROM taken)::int AS locked
FROM measured m JOIN interaction_logs l ON l.id = m.id
WHERE m.bytes_before < $3::text::bigint ORDER BY l.id`;

async function lockRows(transaction: TransactionSql, bounds: TakeBounds): Promise<readonly WaitingRow[]> {
  const { afterId, maxRows, maxBytes, reportMaxBytes } = bounds;
  return transaction.unsafe<WaitingRow[]>(lockSql, [afterId, `${maxRows}`, `${maxBytes}`, `${reportMaxBytes}`], { prepare: true });
}

function reportOf(row: WaitingRow): WaitingReport {
  return { id: row.id, mcpId: row.mcp_id, interactionId: row.interaction_id, dataBytes: row.bytes, data: row.data ?? undefined };
}

function rangeOf(rows: readonly WaitingRow[], bounds: TakeBounds): TakenRange {
  const last = rows.at(-1);
  assert(last !== undefined, "there are rows");
  return { count: rows.length, lastId: last.id, hasMore: last.locked > rows.length || last.locked >= bounds.maxRows };
}

type Aside = { readonly id: string; readonly eventId: string; readonly reason: string };

const asideColumns: readonly Column<Aside>[] = [
  { name: "id", type: "bigint", isOptional: false, of: ({ id }) => id },
  { name: "event_id", type: "text", isOptional: false, of: ({ eventId }) => storable(eventId.slice(0, limits.idMaxBytes)) },
  { name: "reason", type: "text", isOptional: false, of: ({ reason }) => storable(reason.slice(0, limits.messageMaxBytes)) },
];

/** The row as it was, as JSON, by the server itself: it need not be read for that. One that is too long is kept as far as it goes. */
const setAsideSql = `
INSERT INTO dead_letter (source, mcp_id, event_id, reason, frame)
SELECT ${sourceNumbers.table}, left(l.mcp_id, ${limits.idMaxBytes}), a.event_id, a.reason, convert_to(CASE
  WHEN octet_length(l.data::text) <= ${limits.tableAsideMaxChars} THEN json_build_object('id', l.id, 'mcp_id', left(l.mcp_id, ${limits.idMaxBytes + 1}),
    'interaction_id', left(l.interaction_id, ${limits.idMaxBytes + 1}), 'timestamp', l."timestamp", 'data', l.data)::text
  ELSE left(l.data::text, ${limits.tableAsideMaxChars}) END, 'UTF8')
FROM unnest($1::bigint[], $2::text[], $3::text[]) AS a(id, event_id, reason) JOIN interaction_logs l ON l.id = a.id ORDER BY l.id`;

const idColumns: readonly Column<string>[] = [{ name: "id", type: "bigint", isOptional: false, of: (id) => id }];
const removeSql = "DELETE FROM interaction_logs WHERE id = ANY($1::bigint[])";

async function carryOut(
  transaction: TransactionSql,
  reports: readonly WaitingReport[],
  fates: ReadonlyMap<WaitingReport, ReportFate>,
): Promise<void> {
  const asides: Aside[] = [];
  const gone: string[] = [];
  for (const report of reports) {
    const fate = fates.get(report);
    assert(fate !== undefined, "every row has a fate");
    if (fate.kind !== "stays") gone.push(report.id);
    if (fate.kind === "aside") asides.push({ id: report.id, eventId: fate.eventId, reason: fate.reason });
  }
  if (asides.length > 0) await transaction.unsafe(setAsideSql, [...arrays(asideColumns, asides)], { prepare: true });
  if (gone.length > 0) await transaction.unsafe(removeSql, [...arrays(idColumns, gone)], { prepare: true });
}

/** Both read the index of what waits only, up to the bound. */
const backlogSql = `
SELECT (SELECT count(*) FROM (SELECT FROM interaction_logs WHERE NOT processed LIMIT ${limits.tableDepthMaxCount}) AS w)::int AS waiting,
  coalesce((SELECT (extract(epoch FROM now() - "timestamp") * 1000)::float8 FROM interaction_logs WHERE NOT processed ORDER BY id LIMIT 1), 0) AS oldest_ms`;

async function readBacklog(pool: Pool): Promise<Backlog> {
  const [row] = await pool.run(({ sql }) => sql.unsafe<{ waiting: number; oldest_ms: number }[]>(backlogSql, [], { prepare: true }));
  assert(row !== undefined, "a select without from returns one row");
  return { waiting: row.waiting, oldestMs: Math.max(0, row.oldest_ms) };
}
