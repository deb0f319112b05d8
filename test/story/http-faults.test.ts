import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { type RunningCoordinator, startCoordinatorProcess } from "../support/coordinator.js";
import { ApiCaller } from "../support/http-api.js";
import { freshName } from "../support/new-event.js";
import { createStoreHome, type StoreHome, storeKinds } from "../support/open-store.js";
import { postgresSkipReason, type RunningPostgres, startPostgres } from "../support/postgres.js";

const reports = "/api/v2/interactions";
const startOf = (interaction_id: string) => ({ action: "start", mcp_id: "ocr", interaction_id, timestamp: Math.floor(Date.now() / 1_000) });

let coordinator: RunningCoordinator | undefined;
let home: StoreHome | undefined;
let postgres: RunningPostgres | undefined;
afterEach(async () => {
  await coordinator?.stop();
  await home?.[Symbol.asyncDispose]();
  await postgres?.[Symbol.asyncDispose]();
  coordinator = home = postgres = undefined;
});

describe.each(storeKinds)("reports over HTTP on the $kind store", ({ kind, skip }) => {
  const story = it.skipIf(skip !== undefined);

  /** A coordinator on the same store each time. */
  async function startAgain(dataDir: string): Promise<ApiCaller> {
    coordinator = await startCoordinatorProcess(home?.postgres === undefined ? { dataDir } : { databaseUrl: home.postgres.url });
    return ApiCaller.open(coordinator.webUrl);
  }

  /** Posts over several connections until it is told to stop or nobody answers; gives every body and the status of its answer. */
  async function postUntil(
    api: ApiCaller,
    isOver: () => boolean,
  ): Promise<ReadonlyMap<string, { readonly body: object; readonly status: number }>> {
    const answers = new Map<string, { readonly body: object; readonly status: number }>();
    const one = async () => {
      while (!isOver()) {
        const body = startOf(freshName("post"));
        const status = await api.ask(reports, { body }).then(
          (answer) => answer.status,
          () => 0, // the connection broke: the report may be stored or not
        );
        answers.set(body.interaction_id, { body, status });
        if (status === 0) return;
      }
    };
    await Promise.all(Array.from({ length: 8 }, one));
    return answers;
  }

  async function verdictOf(api: ApiCaller, body: object): Promise<unknown> {
    return (await api.ask(reports, { body })).body.data.verdict;
  }

  story("what was answered with 200 outlives kill -9", async () => {
    home = await createStoreHome(kind);
    const dataDir = await scratchDir();
    const api = await startAgain(dataDir);
    let count = 0;
    const posting = postUntil(api, () => {
      count += 1;
      if (count === 100) coordinator?.signal("SIGKILL");
      return count > 10_000;
    });
    const answers = await posting;
    await coordinator?.exited;
    const stored = [...answers.values()].filter(({ status }) => status === 200);
    expect(stored.length).toBeGreaterThan(50);
    const next = await startAgain(dataDir);
    for (const { body } of stored) expect(await verdictOf(next, body)).toBe("duplicate");
    await rm(dataDir, { recursive: true, force: true });
  });

  story("a drain loses none: each post is stored and 200, or refused, or its connection closes", async () => {
    home = await createStoreHome(kind);
    const dataDir = await scratchDir();
    const api = await startAgain(dataDir);
    let count = 0;
    const posting = postUntil(api, () => {
      count += 1;
      if (count === 100) coordinator?.signal("SIGTERM");
      return count > 10_000;
    });
    const answers = await posting;
    expect(await coordinator?.exited).toBe(0);
    const byStatus = new Set([...answers.values()].map(({ status }) => status));
    expect([0, 200, 503]).toEqual(expect.arrayContaining([...byStatus]));
    const next = await startAgain(dataDir);
    for (const { body, status } of answers.values()) {
      if (status === 200) expect(await verdictOf(next, body)).toBe("duplicate");
      if (status === 503) expect(await verdictOf(next, body)).toBe("stored");
    }
    await rm(dataDir, { recursive: true, force: true });
  });
});

describe("while Postgres is away", () => {
  it.skipIf(postgresSkipReason() !== undefined)(
    "reports are 503 with a delay, health is degraded, and the same bytes are stored once afterwards",
    async () => {
      postgres = await startPostgres();
      coordinator = await startCoordinatorProcess({ databaseUrl: postgres.url });
      const api = await ApiCaller.open(coordinator.webUrl);
      const body = startOf(freshName("outage"));
      expect((await api.ask(reports, { body: startOf(freshName("before")) })).status).toBe(200);
      await postgres.stopImmediate();
      const away = await api.ask(reports, { body });
      expect([away.status, away.headers.get("retry-after"), away.body.success]).toEqual([503, "2", false]);
      expect((await api.ask("/api/v2/health")).body).toMatchObject({ status: "degraded", processor_running: false });
      expect((await api.ask("/api/v2/interactions/stats")).status).toBe(503);
      await postgres.start();
      await expect.poll(async () => (await api.ask(reports, { body })).status, { timeout: 60_000, interval: 250 }).toBe(200);
      expect((await api.ask(reports, { body })).body.data.verdict).toBe("duplicate");
      await expect.poll(async () => (await api.ask("/api/v2/health")).body.status, { timeout: 30_000 }).toBe("healthy");
    },
  );
});

const scratchDir = (): Promise<string> => mkdtemp(join(tmpdir(), "mcpc-http-"));
