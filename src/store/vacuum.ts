import type { Pool } from "./connect.js";

/** Transactions after which a table is frozen although it hardly changes; the database stops at 2 000 million. */
const freezeAge = 100_000_000;

/**
 * Vacuums what changes in place, and what has become old: PGlite has no autovacuum. Partitions of the log are written once and wait for their age.
 * One statement per table, since everybody else waits meanwhile.
 */
export async function vacuum(pool: Pool): Promise<void> {
  const tables = await pool.run(
    ({ sql }) => sql<{ name: string }[]>`
      SELECT c.oid::regclass::text AS name FROM pg_class c
      WHERE c.relkind = 'r' AND age(c.relfrozenxid) > ${freezeAge}
        OR c.oid IN ('interaction'::regclass, 'producer'::regclass, 'routing_head'::regclass, 'routing_ack'::regclass, 'pg_class'::regclass,
          'pg_attribute'::regclass)`,
  );
  for (const { name } of tables) await pool.run(({ sql }) => sql.unsafe(`VACUUM (ANALYZE) ${name}`));
}
