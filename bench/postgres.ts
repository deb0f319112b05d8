import { execFileSync, spawn } from "node:child_process";
import { chownSync, existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import postgres from "postgres";

/** A Postgres of our own with its default, durable settings (fsync and synchronous_commit on). */
export type BenchPostgres = {
  readonly version: string;
  readonly pid: () => number;
  /** A URL to a fresh, empty database. */
  readonly freshDatabase: () => Promise<string>;
  /** Stops the server as `pg_ctl stop -m immediate` would, or starts it again on the same data and port. */
  readonly interrupt: () => Promise<void>;
  readonly resume: () => Promise<void>;
  readonly remove: () => Promise<void>;
};

/** The directory of Postgres' programs, newest first; undefined when there is none on this machine. */
export function findPostgres(): string | undefined {
  const debian = "/usr/lib/postgresql";
  const versions = existsSync(debian) ? readdirSync(debian).sort((a, b) => Number(b) - Number(a)) : [];
  const places = [...(process.env.PATH ?? "").split(":"), ...versions.map((version) => join(debian, version, "bin"))];
  return places.find((place) => existsSync(join(place, "initdb")) && existsSync(join(place, "postgres")));
}

/** Makes a cluster in a temporary directory and starts it on a free port of 127.0.0.1. */
export async function startPostgres(bin: string): Promise<BenchPostgres> {
  const dir = mkdtempSync(join(tmpdir(), "mcpc-bench-pg-"));
  // Postgres refuses to run as root; the account that its package made is used then.
  const owner = process.getuid?.() === 0 ? accountOf("postgres") : undefined;
  if (owner !== undefined) chownSync(dir, owner.uid, owner.gid);
  const data = join(dir, "data");
  execFileSync(join(bin, "initdb"), ["-D", data, "-U", "bench", "-A", "trust", "-E", "UTF8"], { stdio: "pipe", cwd: dir, ...owner });
  const port = await freePort();
  const start = () =>
    spawn(join(bin, "postgres"), ["-D", data, "-p", String(port), "-h", "127.0.0.1", "-k", dir], { stdio: "ignore", cwd: dir, ...owner });
  const url = (database: string) => `postgres://bench@127.0.0.1:${port}/${database}`;
  let child = start();
  // Whatever ends this process: nothing may be left behind.
  const sweep = () => {
    child.kill("SIGQUIT");
    rmSync(dir, { recursive: true, force: true });
  };
  process.once("exit", sweep);
  await untilAnswering(url("postgres"));
  let databases = 0;
  const admin = () => postgres(url("postgres"), { max: 1, onnotice: () => undefined });
  const stop = (signal: NodeJS.Signals) =>
    new Promise<void>((resolve) => {
      child.once("exit", () => resolve());
      child.kill(signal);
    });
  const sql = admin();
  const [row] = await sql<{ server_version: string }[]>`SHOW server_version`;
  await sql.end();
  return {
    version: row?.server_version ?? "unknown",
    pid: () => child.pid ?? 0,
    freshDatabase: async () => {
      const name = `bench_${databases++}`;
      const connection = admin();
      await connection.unsafe(`CREATE DATABASE ${name}`);
      await connection.end();
      return url(name);
    },
    interrupt: () => stop("SIGQUIT"),
    resume: async () => {
      child = start();
      await untilAnswering(url("postgres"));
    },
    remove: async () => {
      await stop("SIGINT");
      process.off("exit", sweep);
      rmSync(dir, { recursive: true, force: true });
    },
  };
}

function accountOf(name: string): { uid: number; gid: number } {
  const id = (flag: string) => Number(execFileSync("id", [flag, name], { encoding: "utf8" }).trim());
  return { uid: id("-u"), gid: id("-g") };
}

async function untilAnswering(url: string): Promise<void> {
  for (let attempt = 0; ; attempt++) {
    const sql = postgres(url, { max: 1, connect_timeout: 2, onnotice: () => undefined });
    try {
      await sql`SELECT 1`;
      return;
    } catch (thrown) {
      // Edge of the polling loop: a server that still starts refuses connections; after 30 s it is a failure.
      if (attempt >= 300) throw thrown;
      await new Promise((resolve) => setTimeout(resolve, 100));
    } finally {
      await sql.end({ timeout: 1 });
    }
  }
}

/** A port that was free a moment ago. */
export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const probe = createServer();
    probe.once("error", reject);
    probe.listen(0, "127.0.0.1", () => {
      const address = probe.address();
      probe.close(() => (address !== null && typeof address === "object" ? resolve(address.port) : reject(new Error("no port"))));
    });
  });
}
