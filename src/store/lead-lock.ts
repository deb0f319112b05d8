import type { Pool } from "./connect.js";

/** Key of the advisory lock of the coordinator that publishes; any number, as long as all coordinators use the same. */
const leadLockKey = 7_267_002_019_113_001n;

/**
 * Whether this process holds the lock of the publisher, taking it when it is free. The lock belongs to a database session, so `pool` has one connection
 * and no other use: the lock ends with the connection, however the process ends, and asking again on a new one tells the truth.
 * The lock only says who may take the next term; what keeps an old publisher out is the term itself.
 */
export async function holdLead(pool: Pool): Promise<boolean> {
  const [row] = await pool.run(
    ({ sql }) => sql<{ readonly holds: boolean }[]>`
      SELECT CASE
        WHEN EXISTS (
          SELECT FROM pg_locks
          WHERE locktype = 'advisory' AND pid = pg_backend_pid() AND granted
            AND (classid::bigint << 32) | objid::bigint = ${leadLockKey.toString()}::bigint
        ) THEN true
        ELSE pg_try_advisory_lock(${leadLockKey.toString()}::bigint)
      END AS holds`,
  );
  return row?.holds ?? false;
}
