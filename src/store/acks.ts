import { desc } from "drizzle-orm";
import { assert } from "../platform/assert.js";
import { limits } from "../platform/limits.js";
import type { Pool } from "./connect.js";
import type { AckedRoutes, RoutingAckStatus, RoutingRejectionName, StoredRejection } from "./store.js";
import { ackStatusNumbers, rejectionNumbers, routingAckTable } from "./tables.js";

/** See Store.recordAcks. Of several acks of one producer the last given is its last; all of them are logged. */
export async function recordAcks(pool: Pool, acks: readonly AckedRoutes[]): Promise<void> {
  if (acks.length === 0) return;
  const text = JSON.stringify(acks.map(toInput));
  await pool.run(
    ({ sql }) => sql`
      WITH input AS MATERIALIZED (
        SELECT t.*, to_timestamp("ackedAtMs" / 1000) AS acked_at
        FROM json_to_recordset(${text}::text::json) AS t("producerId" text, "mcpId" text, status smallint, term bigint, version bigint,
          digest text, detail text, "ackedAtMs" float8, "order" int, "answeredTerm" bigint, "answeredVersion" bigint, "answeredDigest" text,
          rejection smallint, verdicts jsonb, "applyUs" bigint, "ackDelayUs" bigint)
      ), logged AS (
        INSERT INTO routing_ack_log (producer_id, mcp_id, status, term, version, digest, detail, acked_at, answered_term, answered_version,
          answered_digest, rejection, verdicts, apply_us, ack_delay_us)
        SELECT "producerId", "mcpId", status, term, version, digest, detail, acked_at, "answeredTerm", "answeredVersion", "answeredDigest",
          rejection, verdicts, "applyUs", "ackDelayUs" FROM input ORDER BY "order"
      )
      INSERT INTO routing_ack AS a (producer_id, mcp_id, status, term, version, digest, detail, acked_at, answered_term, answered_version,
        answered_digest, rejection, verdicts, apply_us, ack_delay_us)
      SELECT DISTINCT ON ("producerId") "producerId", "mcpId", status, term, version, digest, detail, acked_at, "answeredTerm",
        "answeredVersion", "answeredDigest", rejection, verdicts, "applyUs", "ackDelayUs"
      FROM input ORDER BY "producerId", "order" DESC
      ON CONFLICT (producer_id) DO UPDATE SET mcp_id = EXCLUDED.mcp_id, status = EXCLUDED.status, term = EXCLUDED.term,
        version = EXCLUDED.version, digest = EXCLUDED.digest, detail = EXCLUDED.detail, acked_at = EXCLUDED.acked_at,
        answered_term = EXCLUDED.answered_term, answered_version = EXCLUDED.answered_version, answered_digest = EXCLUDED.answered_digest,
        rejection = EXCLUDED.rejection, verdicts = EXCLUDED.verdicts, apply_us = EXCLUDED.apply_us, ack_delay_us = EXCLUDED.ack_delay_us
      WHERE a.acked_at <= EXCLUDED.acked_at`,
  );
}

function toInput(ack: AckedRoutes, order: number): object {
  const { answered, status, rejection, applyTimeMs, ackDelayMs, ...rest } = ack;
  return {
    ...rest,
    order,
    status: ackStatusNumbers[status],
    ...{ answeredTerm: answered.term, answeredVersion: answered.version, answeredDigest: answered.digest },
    rejection: rejection === undefined ? null : rejectionNumbers[rejection],
    applyUs: toMicros(applyTimeMs),
    ackDelayUs: toMicros(ackDelayMs),
  };
}

function toMicros(ms: number | undefined): number | null {
  return ms === undefined ? null : Math.round(ms * 1_000);
}

function fromMicros(us: number | null): number | undefined {
  return us === null ? undefined : us / 1_000;
}

/** See Store.listAcks. Newest first. */
export async function listAcks(pool: Pool, maxCount: number): Promise<readonly AckedRoutes[]> {
  const rows = await pool.run(({ db }) => db.select().from(routingAckTable).orderBy(desc(routingAckTable.ackedAt)).limit(maxCount));
  return rows.map((row) => {
    const { ackedAt, status, answeredTerm, answeredVersion, answeredDigest, rejection, verdicts, applyUs, ackDelayUs, ...rest } = row;
    return {
      ...rest,
      status: statusOf(status),
      ackedAtMs: Math.floor(ackedAt / 1000),
      answered: { term: answeredTerm, version: answeredVersion, digest: answeredDigest },
      rejection: rejection === null ? undefined : rejectionNames.get(rejection),
      // Only `recordAcks` writes this column, from the same type.
      verdicts: verdicts as AckedRoutes["verdicts"],
      applyTimeMs: fromMicros(applyUs),
      ackDelayMs: fromMicros(ackDelayUs),
    };
  });
}

type RejectionRow = {
  readonly id: string;
  readonly mcp_id: string;
  readonly producer_id: string;
  readonly answered_digest: string;
  readonly detail: string;
};

/** See Store.readRejections. */
export async function readRejections(pool: Pool, position: number): Promise<readonly StoredRejection[]> {
  const rows = await pool.run(
    ({ sql }) => sql<RejectionRow[]>`
      SELECT id, mcp_id, producer_id, answered_digest, detail FROM routing_ack_log
      WHERE rejection = 1 AND id > ${position}
        AND (${position} > 0 OR acked_at > now() - make_interval(secs => ${limits.rejectionMemoryMs / 1_000}::float8))
      ORDER BY id LIMIT ${limits.rejectionPageMax}`,
  );
  return rows.map((row) => ({
    position: Number(row.id),
    mcpId: row.mcp_id,
    producerId: row.producer_id,
    digest: row.answered_digest,
    detail: row.detail,
  }));
}

const statuses = new Map(Object.entries(ackStatusNumbers).map(([name, number]) => [number as number, name as RoutingAckStatus]));
const rejectionNames = new Map(Object.entries(rejectionNumbers).map(([name, number]) => [number as number, name as RoutingRejectionName]));

function statusOf(number: number): RoutingAckStatus {
  const status = statuses.get(number);
  assert(status !== undefined, `routing_ack.status ${number} has a name`);
  return status;
}
