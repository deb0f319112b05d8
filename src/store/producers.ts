import { and, eq, inArray } from "drizzle-orm";
import type { Pool } from "./connect.js";
import type { ProducerOpened } from "./store.js";
import { producerTable } from "./tables.js";

type OpenedRow = {
  readonly epoch: string;
  readonly resume_sequence: string;
  readonly silent_ms: number | null;
  readonly session_id_before: string | null;
};

/** See Store.openProducer. A new producer begins with epoch 1; epochs only ever grow. One that was opened without an MCP belongs to the first that comes. */
export async function openProducer(
  pool: Pool,
  producerId: string,
  mcpId: string,
  sessionId: string,
  coordinatorId: string,
): Promise<ProducerOpened | undefined> {
  const [row] = await pool.run(
    ({ sql }) => sql<OpenedRow[]>`
      WITH before AS MATERIALIZED (
        SELECT session_id, (extract(epoch FROM now() - seen_at) * 1000)::float8 AS silent_ms FROM producer WHERE producer_id = ${producerId}
      )
      INSERT INTO producer AS p (producer_id, mcp_id, session_id, coordinator_id)
      VALUES (${producerId}, ${mcpId}, ${sessionId}, ${coordinatorId})
      ON CONFLICT (producer_id) DO UPDATE SET
        epoch = p.epoch + 1, mcp_id = EXCLUDED.mcp_id, session_id = EXCLUDED.session_id, coordinator_id = EXCLUDED.coordinator_id, seen_at = now()
      WHERE p.mcp_id IN (EXCLUDED.mcp_id, '')
      RETURNING p.epoch, p.resume_sequence,
        (SELECT silent_ms FROM before) AS silent_ms, (SELECT session_id FROM before) AS session_id_before`,
  );
  if (row === undefined) return undefined;
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
