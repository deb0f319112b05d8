import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { rmSync } from "node:fs";
import { join } from "node:path";
import { Redis } from "ioredis";
import { atEnd } from "./at-end.js";
import { findPrograms, freePort, makeServerDir, serverUser } from "./server-process.js";

/** A throw-away Redis of its own process. */
export type RunningRedis = {
  /** With the password, when it has one. */
  readonly url: string;
  readonly port: number;
  readonly pid: number;
  /** A client of the test's own; it ends with the server. */
  readonly client: Redis;
  /** kill -9. The files stay, for `start`. */
  readonly kill: () => Promise<void>;
  /** Starts it again on the same files and port. */
  readonly start: () => Promise<void>;
  readonly [Symbol.asyncDispose]: () => Promise<void>;
};

export type RedisSettings = {
  /** When what was written is on disk: `always`, `everysec`, or not at all. Default: not at all. */
  readonly appendfsync?: "always" | "everysec";
  readonly password?: string;
};

/** The server's program, or why there is none. Throws in the second case when MCPC_REQUIRE_REDIS is 1. */
export function findRedis(): { readonly kind: "found"; readonly program: string } | { readonly kind: "missing"; readonly why: string } {
  const folder = findPrograms(["redis-server"], ["/usr/bin", "/usr/local/bin"]);
  if (folder !== undefined) return { kind: "found", program: join(folder, "redis-server") };
  const why = "no redis-server on PATH";
  if (process.env.MCPC_REQUIRE_REDIS === "1") throw new Error(`MCPC_REQUIRE_REDIS=1, but ${why}`);
  return { kind: "missing", why };
}

/** Why stories on Redis are skipped on this machine; undefined when they run. */
export function redisSkipReason(): string | undefined {
  const found = findRedis();
  return found.kind === "missing" ? found.why : undefined;
}

/** Starts one on a free port of loopback, in a folder of its own. */
export async function startRedis(settings: RedisSettings = {}): Promise<RunningRedis> {
  const found = findRedis();
  if (found.kind === "missing") throw new Error(found.why);
  const user = serverUser("redis");
  const dir = makeServerDir("mcpc-redis-", user);
  const port = await freePort();
  const args = ["--port", String(port), "--bind", "127.0.0.1", "--dir", dir, "--save", "", "--daemonize", "no"];
  if (settings.appendfsync !== undefined) args.push("--appendonly", "yes", "--appendfsync", settings.appendfsync);
  if (settings.password !== undefined) args.push("--requirepass", settings.password);
  const url = `redis://${settings.password === undefined ? "" : `:${settings.password}@`}127.0.0.1:${port}`;
  let server: ChildProcess | undefined;
  const start = async (): Promise<void> => {
    server = spawn(found.program, args, { ...user, cwd: dir, stdio: "ignore" });
    await untilReady(url, server);
  };
  const kill = async (): Promise<void> => {
    const ending = server;
    server = undefined;
    if (ending === undefined || ending.exitCode !== null || ending.signalCode !== null) return;
    ending.kill("SIGKILL");
    await once(ending, "exit");
  };
  const leave = (): void => {
    server?.kill("SIGKILL");
    rmSync(dir, { recursive: true, force: true });
  };
  const callOff = atEnd(leave);
  await start();
  const client = new Redis(url, { maxRetriesPerRequest: null, retryStrategy: () => 20 });
  client.on("error", () => {}); // the server is killed on purpose; what is asked meanwhile waits
  return {
    url,
    port,
    get pid() {
      if (server?.pid === undefined) throw new Error("the server is stopped");
      return server.pid;
    },
    client,
    kill,
    start,
    [Symbol.asyncDispose]: async () => {
      callOff();
      client.disconnect();
      await kill();
      leave();
    },
  };
}

async function untilReady(url: string, server: ChildProcess): Promise<void> {
  const untilMs = Date.now() + 120_000;
  for (;;) {
    const client = new Redis(url, { lazyConnect: true, retryStrategy: () => null });
    client.on("error", () => {}); // connect rejects too
    try {
      await client.connect();
      if ((await client.ping()) === "PONG") return;
    } catch (thrown) {
      if (server.exitCode !== null || server.signalCode !== null || Date.now() > untilMs) throw thrown;
      await new Promise((resolve) => setTimeout(resolve, 25));
    } finally {
      client.disconnect();
    }
  }
}
