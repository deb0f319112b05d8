import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { z } from "zod";
import { type RunningCoordinator, runCli, startCoordinatorProcess } from "../support/coordinator.js";
import { findPostgres, type RunningPostgres, startPostgres } from "../support/postgres.js";

/** One live coordinator on a store that outlives it. */
export type Site = AsyncDisposable & {
  /** Bound to one MCP; `operator` may act for all. */
  readonly keys: { readonly client: string; readonly operator: string };
  readonly store: "postgres" | "embedded";
  /** Undefined while it is down. */
  readonly coordinator: () => RunningCoordinator | undefined;
  /** Ends it without a word. */
  readonly kill: () => Promise<void>;
  /** Asks it to drain, and waits until it is gone. */
  readonly terminate: () => Promise<void>;
  readonly start: () => Promise<void>;
};

const madeKey = z.object({ key: z.string(), toml: z.string() });

/** Makes keys and a store, Postgres where its programs are, and starts a coordinator. Errors: when it does not start, with its log. */
export async function openSite(mcpId: string, heartbeatSeconds: number, wantsPostgres: boolean): Promise<Site> {
  const scratch = await mkdtemp(join(tmpdir(), "mcpc-conformance-"));
  const postgres: RunningPostgres | undefined =
    wantsPostgres && findPostgres().kind === "found" ? await startPostgres(["fsync = off"]) : undefined;
  const client = await makeKey(mcpId);
  const operator = await makeKey("*");
  const settings = `[session]\nheartbeat_interval_seconds = ${heartbeatSeconds}\n[ingest]\nmax_clock_skew_seconds = 2\n`;
  let running: RunningCoordinator | undefined;
  const site: Site = {
    keys: { client: client.key, operator: operator.key },
    store: postgres === undefined ? "embedded" : "postgres",
    coordinator: () => running,
    kill: async () => {
      const ending = running;
      running = undefined;
      await ending?.stop();
    },
    terminate: async () => {
      const ending = running;
      running = undefined;
      ending?.signal("SIGTERM");
      await ending?.exited;
      await ending?.stop();
    },
    start: async () => {
      running = await startCoordinatorProcess({
        config: `${settings}${client.toml}\n${operator.toml}`,
        dataDir: join(scratch, "data"),
        ...(postgres === undefined ? {} : { databaseUrl: postgres.url }),
      });
    },
    [Symbol.asyncDispose]: async () => {
      await site.kill();
      await postgres?.[Symbol.asyncDispose]();
      await rm(scratch, { recursive: true, force: true });
    },
  };
  try {
    await site.start();
  } catch (thrown) {
    await site[Symbol.asyncDispose](); // cleans up, and passes it on
    throw thrown;
  }
  return site;
}

async function makeKey(mcpId: string): Promise<{ readonly key: string; readonly toml: string }> {
  const made = await runCli(["keys", "generate", "--mcp-id", mcpId, "--json"]);
  if (made.code !== 0) throw new Error(`no key was made: ${made.stderr}`);
  return madeKey.parse(JSON.parse(made.stdout));
}
