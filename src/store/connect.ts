import { Socket } from "node:net";
import { drizzle, type PostgresJsDatabase } from "drizzle-orm/postgres-js";
import postgres from "postgres";
import type { Clock } from "../platform/clock.js";
import { limits } from "../platform/limits.js";
import type { Logger } from "../platform/log.js";
import { faultOf, isConnectionSpent } from "./fault.js";
import { StoreFault } from "./store.js";
import type { Target } from "./target.js";

export type Sql = postgres.Sql;

/** What a statement runs on: the driver for raw SQL, Drizzle for plain reads; both use the same connections. */
type Session = { readonly sql: Sql; readonly db: PostgresJsDatabase };

export type PoolOptions = {
  readonly target: Target;
  readonly maxConnections: number;
  /** Shown in pg_stat_activity. */
  readonly name: string;
  /** A statement without an answer by then is given up, and with it the whole pool.     Units: milliseconds. */
  readonly watchdogMs: number;
  /** Server settings of every connection of this pool besides those of all. */
  readonly settings: Readonly<Record<string, string>>;
  readonly clock: Clock;
  readonly log: Logger;
};

/** Connections that heal: whatever happens to them, the next statement gets a fresh chance. */
export type Pool = {
  /** Runs one statement, or one transaction. Errors: StoreFault, after `watchdogMs` at the latest. */
  readonly run: <T>(statement: (session: Session) => Promise<T>) => Promise<T>;
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

  const replace = (client: Client, isAnswering: boolean): void => {
    current = createClient(options);
    const retirement = client.discard(isAnswering ? limits.poolDrainMs : 0).finally(() => retiring.delete(retirement));
    retiring.add(retirement);
  };

  return {
    run: async (statement) => {
      const client = current;
      if (client === undefined) throw new StoreFault("outage", "CLOSED", "the store is closed");
      try {
        return await client.use((session) => withDeadline(options, () => statement(session)));
      } catch (thrown) {
        const fault = faultOf(thrown);
        if (fault instanceof StoreFault && isConnectionSpent(fault) && current === client) {
          options.log.warn({ pool: options.name, code: fault.code }, `database connection lost: ${fault.message}`);
          replace(client, fault.code !== "WATCHDOG");
        }
        throw fault;
      }
    },
    close: async () => {
      const client = current;
      current = undefined;
      await Promise.all([client?.end(), ...retiring]);
    },
  };
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
  const sockets = createSockets(options.maxConnections);
  const driverOptions = {
    max: options.maxConnections,
    prepare: true,
    fetch_types: false,
    connect_timeout: limits.connectTimeoutMs / 1000,
    keep_alive: limits.keepAliveMs / 1000,
    backoff: () => 0,
    max_lifetime: null,
    onnotice: () => {},
    connection: {
      application_name: options.name,
      TimeZone: "UTC",
      statement_timeout: limits.statementTimeoutMs,
      lock_timeout: limits.lockTimeoutMs,
      idle_in_transaction_session_timeout: limits.idleInTransactionMs,
      ...options.settings,
    },
    socket: sockets.open,
  };
  const sql = target.kind === "url" ? postgres(target.url, driverOptions) : postgres({ ...driverOptions, path: target.path });
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

/**
 * A socket whose end is never silent: one that the server closes in good order fails like one that was reset. The driver drops its socket before it rejects what
 * waits on it; the ROLLBACK of a transaction then meets no socket at all, in a callback that nobody can catch (postgres issues 1066, 1154, 1208). After an error
 * the socket is still there, and takes the ROLLBACK to its grave. Before the server has answered anything, the driver's own retry is left alone.
 */
class DriverSocket extends Socket {
  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    const isSilent = error === null && this.bytesRead > 0 && this.listenerCount("error") > 0;
    const closed = Object.assign(new Error("the server closed the connection"), { code: "CONNECTION_CLOSED" });
    super._destroy(isSilent ? closed : error, callback);
  }
}

/** What postgres.js hands to its `socket` option: its options after parsing. */
type ParsedOptions = { readonly host: readonly string[]; readonly port: readonly number[]; readonly path: string | false | undefined };

type Sockets = { readonly open: (parsed: ParsedOptions) => Promise<Socket>; readonly destroy: () => void };

/**
 * The sockets of one postgres.js instance. Of several hosts each attempt takes the next. After the first attempts there is a pause before each:
 * against a peer that accepts and closes, the driver retries without one.
 */
function createSockets(maxConnections: number): Sockets {
  const sockets = new Set<Socket>();
  let attemptCount = 0;
  let isDestroyed = false;
  return {
    open: async (parsed) => {
      const index = attemptCount % parsed.host.length;
      const pauseMs = attemptCount < maxConnections ? 0 : limits.storeBackoff.firstMs;
      attemptCount += 1;
      // Also with 0: after an await the driver gets to listen for errors before even an immediate one is emitted.
      await new Promise((resolve) => setTimeout(resolve, pauseMs));
      for (const old of sockets) if (old.destroyed) sockets.delete(old);
      // The driver reads `host` for the server name of TLS and `port` for its messages.
      const socket = Object.assign(new DriverSocket(), { host: parsed.host[index], port: parsed.port[index] });
      if (isDestroyed) return socket.destroy();
      sockets.add(socket);
      return parsed.path ? socket.connect(parsed.path) : socket.connect(parsed.port[index] ?? 5432, parsed.host[index] ?? "localhost");
    },
    destroy: () => {
      isDestroyed = true;
      for (const socket of sockets) socket.destroy();
    },
  };
}
