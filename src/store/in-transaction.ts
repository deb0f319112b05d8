import type { TransactionSql } from "postgres";
import type { Pool, Runner } from "./connect.js";
import { faultOf } from "./fault.js";

/** Runs `work` in one transaction on one connection; it is committed when `work` resolves, and leaves nothing behind when it rejects. Errors: as Pool.run. */
export function inTransaction<T>(pool: Pool, work: (sql: TransactionSql) => Promise<T>): Promise<T> {
  // The driver's type says that arrays of promises are unwrapped; `work` gives none.
  return pool.run(async ({ sql }) => (await sql.begin(work)) as T);
}

/** Runs each statement behind a savepoint of its own: one that the database refuses is undone by itself, and the transaction goes on. */
export function behindSavepoints(transaction: TransactionSql): Runner {
  return {
    run: async <T>(statement: (session: { readonly sql: TransactionSql }) => Promise<T>): Promise<T> => {
      try {
        // The driver's type says that arrays of promises are unwrapped; statements give none.
        return (await transaction.savepoint((sql) => statement({ sql }))) as T;
      } catch (thrown) {
        // Translated, as a pool does it.
        throw faultOf(thrown);
      }
    },
  };
}
