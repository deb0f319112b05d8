import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import postgresDriver from "postgres";
import { afterAll, afterEach, beforeAll, describe, expect, it, onTestFinished } from "vitest";
import { createConnection } from "../../src/client/connect.js";
import { createReporter, type Reporter, type ReporterOptions, type TransportName } from "../../src/client/index.js";
import { lookUp } from "../../src/client/verify.js";
import { limits } from "../../src/platform/limits.js";
import { openStore } from "../../src/store/open.js";
import { type RunningCoordinator, startCoordinatorProcess } from "../support/coordinator.js";
import { freshName } from "../support/new-event.js";
import { storeOptions } from "../support/open-store.js";
import { findPostgres, type RunningPostgres, startPostgres } from "../support/postgres.js";
import { insertReports, reportRow } from "../support/shared-table.js";

const story = it.runIf(findPostgres().kind === "found");
const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

/** SIGSTOP: the process keeps its connections, its system answers for it, and it says nothing any more. */
describe("a coordinator that stands still", () => {
  let postgres: RunningPostgres;
  let first: RunningCoordinator;
  let second: RunningCoordinator;
  let dir = "";
  const reporters: Reporter[] = [];
  beforeAll(async () => {
    if (findPostgres().kind !== "found") return;
    dir = mkdtempSync(join(tmpdir(), "mcpc-still-"));
    postgres = await startPostgres();
    first = await startCoordinatorProcess({ databaseUrl: postgres.url });
    second = await startCoordinatorProcess({ databaseUrl: postgres.url });
  });
  afterEach(async () => {
    first?.signal("SIGCONT");
    for (const reporter of reporters.splice(0)) await reporter.close();
  });
  afterAll(async () => {
    await first?.stop();
    await second?.stop();
    await postgres?.[Symbol.asyncDispose]();
    if (dir !== "") rmSync(dir, { recursive: true, force: true });
  });

  /** Reports ten interactions at a time until stopped. */
  function reportTo(options: Partial<ReporterOptions>) {
    const mcpId = freshName("ocr");
    const stored = new Map<TransportName, number>();
    const reporter = createReporter({
      ...{ mcpId, coordinatorUrl: second.webUrl, localCachePath: join(dir, mcpId), retryDelay: 0.1, ...options },
      onResolved: ({ transport }) => stored.set(transport, (stored.get(transport) ?? 0) + 1),
    });
    reporters.push(reporter);
    const resolvedCount = () => [...stored.values()].reduce((sum, count) => sum + count, 0);
    const ids: string[] = [];
    const isStopped = { now: false };
    onTestFinished(() => {
      isStopped.now = true;
    });
    const reporting = (async () => {
      while (!isStopped.now) {
        // At the pace of the machine: what waits is enough to be in flight when it stands still.
        for (let index = 0; index < 10 && 2 * ids.length - resolvedCount() < 4_000; index += 1) {
          const id = `i-${ids.length}`;
          ids.push(id);
          reporter.reportStart(id, { requestType: "ocr" });
          reporter.reportComplete(id, { processingTimeMs: 5 });
        }
        await sleep(20);
      }
    })();
    const finish = async (): Promise<readonly string[]> => {
      isStopped.now = true;
      await reporting;
      expect(await reporter.flush(120_000)).toBe(true);
      expect(reporter.setAside).toEqual([]);
      const connection = createConnection({ target: second.target, key: undefined });
      const wrong: string[] = [];
      for (let from = 0; from < ids.length; from += 1_000) {
        const interactionIds = ids.slice(from, from + 1_000);
        const { tallies } = await lookUp(connection, { mcpId, events: [], interactionIds }, 60_000);
        for (const id of interactionIds) {
          const { storedEvents, mergedEvents } = tallies?.get(id) ?? { storedEvents: 0, mergedEvents: 0 };
          if (storedEvents !== 2 || mergedEvents !== 2) wrong.push(`${id}: ${storedEvents} stored, ${mergedEvents} merged`);
        }
      }
      connection.close();
      return wrong;
    };
    return { stored, finish, resolvedCount };
  }

  story(
    "is left for the other one's web port; it stores nothing twice when it goes on, and nothing is lost",
    { timeout: 300_000 },
    async () => {
      const { stored, finish } = reportTo({ grpcTarget: first.target });
      await expect.poll(() => stored.get("grpc") ?? 0, { timeout: 60_000 }).toBeGreaterThan(100);
      first.signal("SIGSTOP");
      await expect.poll(() => stored.get("http") ?? 0, { timeout: 60_000 }).toBeGreaterThan(100);
      first.signal("SIGCONT");
      await sleep(500);
      expect(await finish()).toEqual([]);
    },
  );

  story(
    "is left for the next target of a client that knows only gRPC, long before heartbeats would tell",
    { timeout: 300_000 },
    async () => {
      const { stored, finish, resolvedCount } = reportTo({ transport: "grpc", grpcTarget: `${first.target},${second.target}` });
      await expect.poll(() => stored.get("grpc") ?? 0, { timeout: 60_000 }).toBeGreaterThan(100);
      first.signal("SIGSTOP");
      await sleep(1_000);
      const whenStill = resolvedCount();
      await expect.poll(resolvedCount, { timeout: 30_000 }).toBeGreaterThan(whenStill + 100);
      first.signal("SIGCONT");
      await sleep(500);
      expect(await finish()).toEqual([]);
    },
  );

  story(
    "inside of a transaction loses it, with its locks, to Postgres: the rows are where they were, and the next transaction has them",
    async () => {
      // A database that no coordinator polls.
      const databaseUrl = await postgres.createDatabase("still");
      const store = await openStore(storeOptions({ databaseUrl }));
      const sql = postgresDriver(databaseUrl, { max: 1, onnotice: () => {} });
      await insertReports(sql, [reportRow()]);
      const bounds = { afterId: "0", maxRows: 10, maxBytes: 1_000_000, reportMaxBytes: 100_000 };
      await expect(
        store.takeReports(bounds, async ({ reports }) => {
          const isOpen = () => sql`SELECT FROM pg_stat_activity WHERE datname = 'still' AND state LIKE 'idle in transaction%'`;
          do await sleep(limits.idleInTransactionMs);
          while ((await isOpen()).length > 0);
          return new Map(reports.map((report) => [report, { kind: "resolved" as const }]));
        }),
      ).rejects.toMatchObject({ kind: expect.stringMatching(/^(?:transient|outage)$/) });
      const taken = await store.takeReports(
        bounds,
        async ({ reports }) => new Map(reports.map((report) => [report, { kind: "resolved" as const }])),
      );
      expect(taken.count).toBe(1);
      await sql.end();
      await store.close();
    },
  );
});
