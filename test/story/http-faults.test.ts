import { mkdtemp, rm } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { errorAnswer } from "../../src/intake/http/answers.js";
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
      await expect.poll(async () => (await api.ask("/api/v2/health")).body.status).toBe("healthy");
    },
  );
});

describe("bytes that never become a request", () => {
  /** All that comes back, until the connection ends. */
  async function exchange(port: number, ...parts: readonly string[]): Promise<string> {
    const socket = connect(port, "127.0.0.1");
    let heard = "";
    socket.setEncoding("utf8").on("data", (text: string) => {
      heard += text;
    });
    socket.on("error", () => {}); // the end is what counts, however it comes
    const closed = new Promise((resolve) => socket.once("close", resolve));
    for (const part of parts) socket.write(part);
    await closed;
    return heard;
  }

  /** Status, headers and body of the last answer. */
  function lastOf(heard: string) {
    const [head = "", body = ""] = (heard.split(/(?=HTTP\/1\.1 \d{3} )/).at(-1) ?? "").split("\r\n\r\n", 2);
    const headers = new Map(
      head
        .split("\r\n")
        .slice(1)
        .map((line) => [line.split(": ", 1)[0]?.toLowerCase(), line.replace(/^[^:]*: /, "")]),
    );
    return { status: Number(head.split(" ")[1]), headers, body: errorAnswer.parse(JSON.parse(body)) };
  }

  let living: RunningCoordinator;
  beforeAll(async () => {
    living = await startCoordinatorProcess();
  });
  afterAll(() => living?.stop());
  const portOf = (): number => Number(new URL(living.webUrl).port);

  it.each([
    ["no HTTP at all", "\u0016\u0003\u0001 client hello\r\n\r\n", 400, "UNDECODABLE_FRAME"],
    ["HTTP/2 with prior knowledge", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, "UNDECODABLE_FRAME"],
    ["a method that there is not", "REPORT /api/v2/interactions\u0000 HTTP/1.1\r\n\r\n", 400, "UNDECODABLE_FRAME"],
    [
      "two lengths",
      "POST /api/v2/interactions HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n{}",
      400,
      "UNDECODABLE_FRAME",
    ],
    [
      "a chunk without a length",
      "POST /api/v2/interactions HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
      ...([400, "UNDECODABLE_FRAME"] as const),
    ],
    ["headers that are too large", `GET / HTTP/1.1\r\nHost: a\r\nX-Long: ${"x".repeat(64 * 1024)}\r\n\r\n`, 431, "MESSAGE_TOO_LARGE"],
  ])("%s is answered with the envelope, and the connection closes", async (_, bytes, status, reason) => {
    const { headers, ...answer } = lastOf(await exchange(portOf(), bytes));
    expect(answer).toMatchObject({ status, body: { success: false, data: { error: { reason, retryable: false } } } });
    expect(answer.body.detail).toBe(answer.body.message);
    expect([headers.get("content-type"), headers.get("connection"), headers.get("x-request-id")]).toEqual([
      ...["application/json", "close", answer.body.request_id],
    ]);
  });

  it("headers that do not end are answered with 408 and may come again, and so is a body that does not", async () => {
    const port = portOf();
    const head = "POST /api/v2/interactions HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n";
    const answers = await Promise.all([exchange(port, head), exchange(port, `${head}Content-Length: 100\r\n\r\n{`)]);
    for (const { status, body } of answers.map(lastOf)) {
      expect([status, body.data.error]).toMatchObject([408, { code: "late", reason: "DEADLINE_EXCEEDED", retryable: true }]);
    }
  });

  it("a report with nonsense behind it on the connection is stored and answered, and then the nonsense is", async () => {
    const port = portOf();
    const body = JSON.stringify(startOf(freshName("before")));
    const head = "POST /api/v2/interactions HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n";
    const heard = await exchange(port, `${head}Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}nonsense\r\n\r\n`);
    expect([...heard.matchAll(/HTTP\/1\.1 (\d+)/g)].map(([, status]) => status)).toEqual(["200", "400"]);
    expect(lastOf(heard).body.data.error.reason).toBe("UNDECODABLE_FRAME");
    const api = await ApiCaller.open(living.webUrl);
    expect((await api.ask(reports, { body })).body.data.verdict).toBe("duplicate");
  });

  it("a caller who has gone in the middle of its headers costs nothing but its connection", async () => {
    const port = portOf();
    const socket = connect(port, "127.0.0.1");
    await new Promise((resolve) => socket.write("POST /api/v2/interactions HTTP/1.1\r\nHost: ", resolve));
    socket.resetAndDestroy();
    const api = await ApiCaller.open(living.webUrl);
    expect((await api.ask(reports, { body: startOf(freshName("after")) })).status).toBe(200);
    expect(living.log()).not.toContain('"level":50');
  });
});

const scratchDir = (): Promise<string> => mkdtemp(join(tmpdir(), "mcpc-http-"));
