import { limits } from "../platform/limits.js";
import type { Pool } from "./connect.js";
import type { Aged, RouterDigest, RouterState } from "./store.js";

type DigestRow = {
  readonly coordinator_id: string;
  readonly run_id: string;
  readonly seq: string;
  readonly format: number;
  readonly body: string;
  readonly age_ms: number;
};

/**
 * See Store.exchangeDigests. One statement; an older writing never replaces a newer one while that counts. Afterwards it is the word of a run that is over, and one
 * whose clock went back since, so that its numbers are lower, must not wait until somebody deletes the row.
 */
export async function exchangeDigests(pool: Pool, own: RouterDigest, maxAgeMs: number): Promise<readonly (RouterDigest & Aged)[]> {
  const rows = await pool.run(
    ({ sql }) => sql<DigestRow[]>`
      WITH written AS (
        INSERT INTO router_digest AS d (coordinator_id, run_id, seq, format, body, written_at)
        VALUES (${own.coordinatorId}, ${own.runId}, ${own.seq}, ${own.format}, ${own.body}, clock_timestamp())
        ON CONFLICT (coordinator_id) DO UPDATE SET run_id = EXCLUDED.run_id, seq = EXCLUDED.seq, format = EXCLUDED.format, body = EXCLUDED.body,
          written_at = EXCLUDED.written_at
        WHERE d.seq < EXCLUDED.seq OR d.written_at <= clock_timestamp() - make_interval(secs => ${maxAgeMs / 1000})
      ), gone AS (
        DELETE FROM router_digest WHERE written_at < clock_timestamp() - make_interval(secs => ${maxAgeMs / 1000} * 6)
          AND coordinator_id <> ${own.coordinatorId}
      )
      SELECT coordinator_id, run_id, seq, format, body, greatest(0, extract(epoch FROM clock_timestamp() - written_at) * 1000)::float8 AS age_ms
      FROM router_digest
      WHERE coordinator_id <> ${own.coordinatorId} AND written_at > clock_timestamp() - make_interval(secs => ${maxAgeMs / 1000})`,
  );
  return rows.map((row) => ({
    coordinatorId: row.coordinator_id,
    runId: row.run_id,
    seq: Number(row.seq),
    format: row.format,
    body: row.body,
    ageMs: row.age_ms,
  }));
}

/** See Store.withdrawDigest. */
export async function withdrawDigest(pool: Pool, coordinatorId: string, runId: string): Promise<void> {
  await pool.run(({ sql }) => sql`DELETE FROM router_digest WHERE coordinator_id = ${coordinatorId} AND run_id = ${runId}`);
}

/** See Store.saveRouterState. A process that is not given a name has a new one at each start: without a bound, one that crashes in a loop would leave a row each time. */
export async function saveRouterState(pool: Pool, state: RouterState, maxAgeMs: number): Promise<void> {
  await pool.run(
    ({ sql }) => sql`
      WITH gone AS (
        DELETE FROM router_state WHERE coordinator_id <> ${state.coordinatorId} AND (saved_at < now() - make_interval(secs => ${maxAgeMs / 1000})
          OR coordinator_id NOT IN (SELECT coordinator_id FROM router_state WHERE coordinator_id <> ${state.coordinatorId}
            ORDER BY saved_at DESC, coordinator_id LIMIT ${limits.routerStatesKeptMax - 1}))
      )
      INSERT INTO router_state (coordinator_id, format, body, saved_at)
      VALUES (${state.coordinatorId}, ${state.format}, ${state.body}, now())
      ON CONFLICT (coordinator_id) DO UPDATE SET format = EXCLUDED.format, body = EXCLUDED.body, saved_at = EXCLUDED.saved_at`,
  );
}

type StateRow = { readonly coordinator_id: string; readonly format: number; readonly body: string; readonly age_ms: number };

/** See Store.readRouterStates. */
export async function readRouterStates(pool: Pool, coordinatorId: string, maxCount: number): Promise<readonly (RouterState & Aged)[]> {
  const rows = await pool.run(
    ({ sql }) => sql<StateRow[]>`
      SELECT coordinator_id, format, body, greatest(0, extract(epoch FROM now() - saved_at) * 1000)::float8 AS age_ms
      FROM router_state ORDER BY coordinator_id = ${coordinatorId} DESC, saved_at DESC, coordinator_id LIMIT ${maxCount}`,
  );
  return rows.map((row) => ({ coordinatorId: row.coordinator_id, format: row.format, body: row.body, ageMs: row.age_ms }));
}
