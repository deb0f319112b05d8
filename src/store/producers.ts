import { and, eq, inArray } from "drizzle-orm";
import { arrays, type Column } from "./batch-columns.js";
import type { Pool } from "./connect.js";
import type { ProducerOpened } from "./store.js";
import { producerTable } from "./tables.js";

/** One Hello for a producer. */
export type Opening = { readonly producerId: string; readonly mcpId: string; readonly sessionId: string; readonly coordinatorId: string };

const openingColumns: readonly Column<Opening>[] = [
  { name: "producer_id", type: "text", isOptional: false, of: (opening) => opening.producerId },
  { name: "mcp_id", type: "text", isOptional: false, of: (opening) => opening.mcpId },
  { name: "session_id", type: "text", isOptional: false, of: (opening) => opening.sessionId },
  { name: "coordinator_id", type: "text", isOptional: false, of: (opening) => opening.coordinatorId },
];

type OpenedRow = {
  readonly producer_id: string;
  readonly epoch: string;
  readonly resume_sequence: string;
  readonly silent_ms: number | null;
  readonly session_id_before: string | null;
};

const openSql = `
WITH before AS MATERIALIZED (
  SELECT producer_id, session_id, (extract(epoch FROM now() - seen_at) * 1000)::float8 AS silent_ms
  FROM producer WHERE producer_id = ANY($1::text[])
), opened AS (
  INSERT INTO producer AS p (producer_id, mcp_id, session_id, coordinator_id)
  SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[]) AS o(producer_id, mcp_id, session_id, coordinator_id)
  ORDER BY producer_id COLLATE "C"
  ON CONFLICT (producer_id) DO UPDATE SET
    epoch = p.epoch + 1, mcp_id = EXCLUDED.mcp_id, session_id = EXCLUDED.session_id, coordinator_id = EXCLUDED.coordinator_id, seen_at = now()
  WHERE p.mcp_id IN (EXCLUDED.mcp_id, '')
  RETURNING p.producer_id, p.epoch, p.resume_sequence
)
SELECT opened.*, before.silent_ms, before.session_id AS session_id_before FROM opened LEFT JOIN before USING (producer_id)`;

/**
 * See Store.openProducer, for several producers in one statement; answers by producer, without those that belong to another MCP. A new producer begins
 * with epoch 1; epochs only ever grow. One that was opened without an MCP belongs to the first that comes.     `openings`: of distinct producers.
 */
export async function openProducers(pool: Pool, openings: readonly Opening[]): Promise<ReadonlyMap<string, ProducerOpened>> {
  const rows = await pool.run(({ sql }) => sql.unsafe<OpenedRow[]>(openSql, [...arrays(openingColumns, openings)], { prepare: true }));
  return new Map(rows.map((row) => [row.producer_id, openedOf(row)]));
}

function openedOf(row: OpenedRow): ProducerOpened {
  const epoch = Number(row.epoch);
  return {
    epoch,
    resumeSequence: BigInt(row.resume_sequence),
    isKnown: epoch > 1,
    silentMs: Math.max(0, row.silent_ms ?? 0),
    supersededSessionId: row.session_id_before ?? "",
  };
}

/** See Store.readEpochs. */
export async function readEpochs(pool: Pool, producerIds: readonly string[]): Promise<ReadonlyMap<string, number>> {
  const rows = await pool.run(({ db }) =>
    db
      .select({ producerId: producerTable.producerId, epoch: producerTable.epoch })
      .from(producerTable)
      .where(inArray(producerTable.producerId, [...producerIds])),
  );
  return new Map(rows.map(({ producerId, epoch }) => [producerId, epoch]));
}

/** See Store.readProducer. */
export async function readProducer(pool: Pool, producerId: string, mcpId: string | undefined): Promise<bigint | undefined> {
  const rows = await pool.run(({ db }) =>
    db
      .select({ resumeSequence: producerTable.resumeSequence })
      .from(producerTable)
      .where(and(eq(producerTable.producerId, producerId), mcpId === undefined ? undefined : eq(producerTable.mcpId, mcpId))),
  );
  return rows[0]?.resumeSequence;
}
