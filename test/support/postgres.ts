import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { appendFileSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import postgres from "postgres";
import { atEnd } from "./at-end.js";
import { findPrograms, freePort, makeServerDir, serverUser } from "./server-process.js";

/** A throw-away Postgres of its own process, with fsync on. */
export type RunningPostgres = {
  /** Of the superuser, over TCP, for the database `postgres`. */
  readonly url: string;
  readonly port: number;
  readonly pid: number;
  /** A new database; returns its URL. */
  readonly createDatabase: (name: string) => Promise<string>;
  /** Ends it as an administrator would: sessions are cut, data is flushed. The files stay, for `start`; `Symbol.asyncDispose` removes them. */
  readonly stop: () => Promise<void>;
  /** Ends it at once, without a checkpoint: the next start recovers. */
  readonly stopImmediate: () => Promise<void>;
  /** Starts it again on the same data and port. */
  readonly start: () => Promise<void>;
  readonly [Symbol.asyncDispose]: () => Promise<void>;
};

/** The folder with the server's programs, or why there is none. Throws in the second case when MCPC_REQUIRE_POSTGRES is 1. */
export function findPostgres(): { readonly kind: "found"; readonly binDir: string } | { readonly kind: "missing"; readonly why: string } {
  const installed = (folder: string): readonly string[] => {
    try {
      return readdirSync(folder).map((version) => join(folder, version, "bin"));
    } catch {
      return [];
    }
  };
  const binDir = findPrograms(["postgres", "initdb"], [...installed("/usr/lib/postgresql"), ...installed("/usr/pgsql")]);
  if (binDir !== undefined) return { kind: "found", binDir };
  const why = "no Postgres server programs on PATH or in /usr/lib/postgresql";
  if (process.env.MCPC_REQUIRE_POSTGRES === "1") throw new Error(`MCPC_REQUIRE_POSTGRES=1, but ${why}`);
  return { kind: "missing", why };
}

/** Why stories on Postgres are skipped on this machine; undefined when they run. */
export function postgresSkipReason(): string | undefined {
  const found = findPostgres();
  return found.kind === "missing" ? found.why : undefined;
}

/** Makes a cluster and starts it: about a second. `settings` are lines of postgresql.conf. */
export async function startPostgres(settings: readonly string[] = []): Promise<RunningPostgres> {
  const found = findPostgres();
  if (found.kind === "missing") throw new Error(found.why);
  // Postgres refuses to run as root.
  const user = serverUser("postgres");
  const dir = makeServerDir("mcpc-pg-", user);
  const dataDir = join(dir, "data");
  const run = { ...user, cwd: dir, stdio: "ignore" } as const;
  // Without syncing while it is made: a cluster that a crash takes away is made again.
  execFileSync(
    join(found.binDir, "initdb"),
    ["-D", dataDir, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"],
    run,
  );
  const port = await freePort();
  const lines = [
    `port = ${port}`,
    "listen_addresses = '127.0.0.1'",
    `unix_socket_directories = '${dir}'`,
    "max_connections = 50",
    ...settings,
  ];
  appendFileSync(join(dataDir, "postgresql.conf"), `${lines.join("\n")}\n`);

  const url = `postgres://postgres@127.0.0.1:${port}/postgres`;
  let server: ChildProcess | undefined;
  const start = async (): Promise<void> => {
    server = spawn(join(found.binDir, "postgres"), ["-D", dataDir], run);
    await untilReady(url, server);
  };
  const end = async (signal: NodeJS.Signals): Promise<void> => {
    const ending = server;
    server = undefined;
    if (ending === undefined || ending.exitCode !== null || ending.signalCode !== null) return;
    ending.kill(signal);
    await once(ending, "exit");
  };
  const leave = (): void => {
    server?.kill("SIGQUIT");
    rmSync(dir, { recursive: true, force: true });
  };
  const callOff = atEnd(leave);
  await start();
  return {
    url,
    port,
    get pid() {
      if (server?.pid === undefined) throw new Error("the server is stopped");
      return server.pid;
    },
    createDatabase: async (name) => {
      const sql = postgres(url, { max: 1, onnotice: () => {} });
      await sql.unsafe(`CREATE DATABASE "${name}"`);
      await sql.end();
      return url.replace(/postgres$/, name);
    },
    stop: () => end("SIGINT"),
    stopImmediate: () => end("SIGQUIT"),
    start,
    [Symbol.asyncDispose]: async () => {
      callOff();
      await end("SIGQUIT");
      leave();
    },
  };
}

async function untilReady(url: string, server: ChildProcess): Promise<void> {
  const untilMs = Date.now() + 120_000;
  for (;;) {
    const sql = postgres(url, { max: 1, connect_timeout: 30, fetch_types: false, backoff: false, onnotice: () => {} });
    try {
      await sql`SELECT 1`;
      return;
    } catch (thrown) {
      if (server.exitCode !== null || server.signalCode !== null || Date.now() > untilMs) throw thrown;
      await new Promise((resolve) => setTimeout(resolve, 25));
    } finally {
      await sql.end({ timeout: 0 });
    }
  }
}
