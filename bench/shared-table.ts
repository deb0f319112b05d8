// What a drained row costs: deleted, as this coordinator does, or marked as processed, as the specification has it. Bytes, not times: they do not depend on the
// load of the machine. Prints a table.  npx tsx bench/shared-table.ts [rows]

import postgres, { type Sql } from "postgres";
import { systemClock } from "../src/platform/clock.js";
import { createLog } from "../src/platform/log.js";
import { migrateTarget } from "../src/store/migrate.js";
import { parseTarget } from "../src/store/target.js";
import { startPostgres } from "../test/support/postgres.js";

const rows = Number(process.argv[2] ?? 100_000);
const batch = 1_000;

const ways = {
  deleted: "DELETE FROM interaction_logs WHERE id = ANY(ARRAY(SELECT id FROM taken))",
  marked: "UPDATE interaction_logs SET processed = true WHERE id = ANY(ARRAY(SELECT id FROM taken))",
} as const;

async function measure(sql: Sql, statement: string): Promise<readonly (string | number)[]> {
  await sql`TRUNCATE interaction_logs`;
  await sql`INSERT INTO interaction_logs (mcp_id, interaction_id, data)
    SELECT 'mcp', 'i-' || n % 1000, json_build_object('event', json_build_object('note', repeat(md5(n::text), 8))) FROM generate_series(1, ${rows}) AS n`;
  await sql`CHECKPOINT`;
  const [before] = await sql<{ lsn: string }[]>`SELECT pg_current_wal_lsn()::text AS lsn`;
  for (let done = 0; done < rows; done += batch) {
    await sql.unsafe(
      `WITH taken AS MATERIALIZED (SELECT id FROM interaction_logs WHERE NOT processed ORDER BY id LIMIT ${batch} FOR UPDATE SKIP LOCKED) ${statement}`,
    );
  }
  const [after] = await sql<{ wal: string }[]>`SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), ${before?.lsn ?? ""}::pg_lsn)::bigint AS wal`;
  await sql`VACUUM interaction_logs`;
  const [size] = await sql<{ heap: string; indexes: string }[]>`
    SELECT pg_relation_size('interaction_logs') AS heap, pg_indexes_size('interaction_logs') AS indexes`;
  return [Number(after?.wal), Number(size?.heap), Number(size?.indexes)];
}

const server = await startPostgres(["autovacuum = off"]);
try {
  await migrateTarget(parseTarget(server.url), { clock: systemClock, log: createLog("warn", {}) });
  const sql = postgres(server.url, { max: 1, onnotice: () => {} });
  process.stdout.write(
    `${rows} rows, drained ${batch} at a time\n\n| rows are | bytes of WAL | table after VACUUM | its indexes |\n|---|---|---|---|\n`,
  );
  for (const [way, statement] of Object.entries(ways))
    process.stdout.write(`| ${[way, ...(await measure(sql, statement))].join(" | ")} |\n`);
  await sql.end();
} finally {
  await server[Symbol.asyncDispose]();
}
