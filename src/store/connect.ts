import { drizzle, type PostgresJsDatabase } from "drizzle-orm/postgres-js";
import postgres from "postgres";
import type { Clock } from "../platform/clock.js";
import { createDriverSockets, driverOptions } from "../platform/driver-sockets.js";
import { limits } from "../platform/limits.js";
import type { Logger } from "../platform/log.js";
import { faultOf, isConnectionSpent } from "./fault.js";
import { StoreFault } from "./store.js";
import type { Target } from "./target.js";
import { type TurnOptions, Turns } from "./turns.js";

export type Sql = postgres.Sql;

/** What a statement runs on: the driver for raw SQL, Drizzle for plain reads; both use the same connections. */
type Session = { readonly sql: Sql; readonly db: PostgresJsDatabase };

export type PoolOptions = {
  readonly target: Target;
  readonly maxConnections: number;
  /** Shown in pg_stat_activity. */
  readonly name: string;
  /** A statement without an answer so long after it was sent is given up, and with it the whole pool.     Units: milliseconds. */
  readonly watchdogMs: number;
  /** Server settings of every connection of this pool besides those of all. */
  readonly settings: Readonly<Record<string, string>>;
  readonly clock: Clock;
  readonly log: Logger;
};

/** Where raw statements run: a pool, or a transaction (in-transaction.ts). Errors: StoreFault. */
export type Runner = {
  readonly run: <T>(statement: (session: { readonly sql: postgres.ISql }) => Promise<T>, turn?: TurnOptions) => Promise<T>;
};

/** Connections that heal: whatever happens to them, the next statement gets a fresh chance. */
export type Pool = {
  /** Runs one statement, or one transaction, when a connection is free. Errors: StoreFault, `watchdogMs` after that at the latest; those of Turns before. */
  readonly run: <T>(statement: (session: Session) => Promise<T>, turn?: TurnOptions) => Promise<T>;
  /** Lets statements in flight end, within limits.poolDrainMs. No statement may be started afterwards. */
  readonly close: () => Promise<void>;
};

/**
 * A pool over postgres.js, which by itself waits for ever on a half-open socket and may not come back from a failed connection attempt
 * (postgres issues 1089, 1193, 1214). Therefore: every statement has a deadline, and a pool that lost a connection is replaced as a whole.
 */
export function createPool(options: PoolOptions): Pool {
  let current: Client | undefined = createClient(options);
  const retiring = new Set<Promise<void>>();
  const turns = new Turns(options.maxConnections, options.clock);

  const replace = (client: Client, isAnswering: boolean): void => {
    current = createClient(options);
    const retirement = client.discard(isAnswering ? limits.poolDrainMs : 0).finally(() => retiring.delete(retirement));
    retiring.add(retirement);
  };

  const runNow = async <T>(statement: (session: Session) => Promise<T>): Promise<T> => {
    const client = current;
    if (client === undefined) throw closed();
    try {
      return await client.use((session) => withDeadline(options, () => statement(session)));
    } catch (thrown) {
      const fault = faultOf(thrown);
      if (fault instanceof StoreFault && isConnectionSpent(fault) && current === client) {
        options.log.warn({ pool: options.name, code: fault.code }, `database connection lost: ${fault.message}`);
        replace(client, fault.code !== "WATCHDOG");
        // Each of those who wait would find out by itself, one watchdog after the other.
        if (fault.code === "WATCHDOG") turns.refuseAll(fault);
      }
      throw fault;
    }
  };

  return {
    run: (statement, turn) => turns.take(() => runNow(statement), turn),
    close: async () => {
      const client = current;
      current = undefined;
      turns.refuseAll(closed());
      await Promise.all([client?.end(), ...retiring]);
    },
  };
}

function closed(): StoreFault {
  return new StoreFault("outage", "CLOSED", "the store is closed");
}

async function withDeadline<T>(options: PoolOptions, start: () => Promise<T>): Promise<T> {
  let cancel = (): void => {};
  const deadline = new Promise<never>((_, reject) => {
    const text = `the database did not answer within ${options.watchdogMs} ms`;
    cancel = options.clock.after(options.watchdogMs, () => reject(new StoreFault("outage", "WATCHDOG", text)));
  });
  try {
    return await Promise.race([start(), deadline]);
  } finally {
    cancel();
  }
}

/** One postgres.js instance. */
type Client = {
  readonly use: <T>(statement: (session: Session) => Promise<T>) => Promise<T>;
  /** Takes leave of the server, once no statement is in flight. */
  readonly end: () => Promise<void>;
  /** Ends without a word. Statements in flight may end first, within `drainMs`. */
  readonly discard: (drainMs: number) => Promise<void>;
};

function createClient(options: PoolOptions): Client {
  const { target } = options;
  const sockets = createDriverSockets(options.maxConnections);
  const connectOptions = {
    ...driverOptions(sockets),
    max: options.maxConnections,
    prepare: true,
    connection: {
      application_name: options.name,
      TimeZone: "UTC",
      statement_timeout: limits.statementTimeoutMs,
      lock_timeout: limits.lockTimeoutMs,
      idle_in_transaction_session_timeout: limits.idleInTransactionMs,
      ...options.settings,
    },
  };
  const sql = target.kind === "url" ? postgres(target.url, connectOptions) : postgres({ ...connectOptions, path: target.path });
  const session: Session = { sql, db: drizzle(sql) };
  const inFlight = new Set<Promise<unknown>>();
  const drain = async (maxMs: number): Promise<void> => {
    let cancel = (): void => {};
    const deadline = new Promise<void>((resolve) => {
      cancel = options.clock.after(maxMs, resolve);
    });
    await Promise.race([Promise.allSettled(inFlight), deadline]);
    cancel();
  };
  const leave = async (maxSeconds: number): Promise<void> => {
    await sql.end({ timeout: maxSeconds });
    // The driver asks its sockets to end, which on a half-open one takes the system a quarter of an hour.
    sockets.destroy();
  };
  return {
    use: async (statement) => {
      const running = statement(session);
      inFlight.add(running);
      try {
        return await running;
      } finally {
        inFlight.delete(running);
      }
    },
    end: async () => {
      await drain(limits.poolDrainMs);
      await leave(1);
    },
    discard: async (drainMs) => {
      await drain(drainMs);
      await leave(0);
    },
  };
}
