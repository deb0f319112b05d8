import { randomBytes } from "node:crypto";
import { assert } from "../platform/assert.js";
import type { Pool } from "./connect.js";

/** See Store.instanceKey. Whoever comes first makes it; the update that changes nothing returns what is there. */
export async function readInstanceKey(pool: Pool): Promise<string> {
  const [row] = await pool.run(
    ({ sql }) => sql<{ value: string }[]>`
      INSERT INTO instance_setting AS s (key, value) VALUES ('instance_key', ${randomBytes(32).toString("hex")})
      ON CONFLICT (key) DO UPDATE SET value = s.value RETURNING value`,
  );
  assert(row !== undefined, "an upsert returns its row");
  return row.value;
}
