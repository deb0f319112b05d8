import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import postgres, { type Sql } from "postgres";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { createConnection } from "../../src/client/connect.js";
import { createReporter, type Reporter, type ReporterOptions } from "../../src/client/index.js";
import { openSpool } from "../../src/client/spool/open-spool.js";
import { lookUp } from "../../src/client/verify.js";
import { encodeEvent } from "../../src/client/wire/frames.js";
import { mintUuidV7 } from "../../src/platform/uuid-v7.js";
import { type RunningCoordinator, startCoordinatorProcess } from "../support/coordinator.js";
import { makeEvent } from "../support/make-event.js";
import { freshName } from "../support/new-event.js";
import { postgresSkipReason, type RunningPostgres, startPostgres } from "../support/postgres.js";
import { type RunningRedis, redisSkipReason, startRedis } from "../support/redis.js";

const skip = redisSkipReason() ?? postgresSkipReason();
/** Long enough for the slowest way back: what Redis has lost is offered again when no verdict came for 30 s. */
const flushMaxMs = 120_000;

let server: RunningPostgres;
let redis: RunningRedis;
let coordinator: RunningCoordinator;
let admin: Sql;
const reporters: Reporter[] = [];
const folders: string[] = [];

const startCoordinator = (): Promise<RunningCoordinator> =>
  startCoordinatorProcess({
    databaseUrl: server.url,
    config: `[redis]\nurl = "${redis.url}"\nblock_ms = 200\nclaim_idle_ms = 1000\n\n[shared_table]\ninterval_ms = 200\n`,
  });

const openAdmin = (): Sql => postgres(server.url, { max: 1, onnotice: () => {} });

/** One way without any other beside it, and what ends the server that it goes through. */
type Way = {
  readonly transport: "redis" | "database";
  readonly address: () => Partial<ReporterOptions>;
  readonly kill: () => Promise<void>;
  readonly start: () => Promise<void>;
  /** An interaction id that this way refuses for good, and what the reason says then. */
  readonly refused: { readonly interactionId: string; readonly reason: string };
};

const ways: readonly Way[] = [
  {
    transport: "redis",
    address: () => ({ redisUrl: redis.url }),
    kill: () => redis.kill(),
    start: () => redis.start(),
    refused: { interactionId: "", reason: "interaction_id: REQUIRED" },
  },
  {
    transport: "database",
    address: () => ({ databaseUrl: server.url }),
    kill: () => server.stopImmediate(),
    start: async () => {
      await server.start();
      await admin.end({ timeout: 0 });
      admin = openAdmin();
    },
    refused: { interactionId: "zero \u0000 byte", reason: "the database refuses the row: unsupported Unicode escape sequence, \\u0000" },
  },
];

describe.skipIf(skip !== undefined)(`the reporter with one way only${skip === undefined ? "" : ` (${skip})`}`, () => {
  beforeAll(async () => {
    if (skip !== undefined) return;
    [server, redis] = await Promise.all([startPostgres(), startRedis()]);
    admin = openAdmin();
    coordinator = await startCoordinator();
  });
  afterEach(async () => {
    for (const reporter of reporters.splice(0)) await reporter.close();
    for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
  });
  afterAll(async () => {
    await coordinator?.stop();
    await admin?.end({ timeout: 0 });
    await redis?.[Symbol.asyncDispose]();
    await server?.[Symbol.asyncDispose]();
  });

  function newSpool(): string {
    const folder = mkdtempSync(join(tmpdir(), "mcpc-ways-"));
    folders.push(folder);
    return join(folder, "spool");
  }

  function open(way: Way, mcpId: string, localCachePath: string, more: Partial<ReporterOptions> = {}): Reporter {
    const reporter = createReporter({
      ...{ mcpId, localCachePath, transport: way.transport, retryDelay: 0.1, closeMaxMs: 0 },
      ...{ ...way.address(), ...more },
    });
    reporters.push(reporter);
    return reporter;
  }

  /** Reports interactions of two events each; gives their ids. */
  function report(reporter: Reporter, count: number): readonly string[] {
    const ids = Array.from({ length: count }, () => freshName("way"));
    for (const id of ids) {
      expect(reporter.reportStart(id, { requestType: "ocr" })).toBe(true);
      expect(reporter.reportComplete(id, { processingTimeMs: 5 })).toBe(true);
    }
    return ids;
  }

  /** Every interaction is stored with both of its events, each once. A row of the shared table is on its way for a moment longer. */
  async function expectStored(mcpId: string, ids: readonly string[]): Promise<void> {
    const wrong = async (): Promise<readonly string[]> => {
      const connection = createConnection({ target: coordinator.target, key: undefined });
      try {
        const { tallies } = await lookUp(connection, { mcpId, events: [], interactionIds: ids }, 60_000);
        return ids.filter((id) => tallies?.get(id)?.storedEvents !== 2 || tallies.get(id)?.mergedEvents !== 2);
      } finally {
        connection.close();
      }
    };
    await expect.poll(wrong, { timeout: 60_000, interval: 200 }).toEqual([]);
  }

  describe.each(ways)("$transport", (way) => {
    test("what is reported arrives once each, over that way, and the spool is empty then", async () => {
      const mcpId = freshName("one");
      const reporter = open(way, mcpId, newSpool());
      const ids = report(reporter, 300);
      expect(await reporter.flush(flushMaxMs)).toBe(true);
      const { transport, transports, counters, spool, setAside } = { ...reporter.state, setAside: reporter.setAside };
      expect({ transport, names: transports.map(({ name }) => name) }).toEqual({ transport: way.transport, names: [way.transport] });
      expect({ resolved: counters.stored + counters.duplicate, kind: spool.kind, events: spool.events, setAside }).toEqual({
        ...{ resolved: 600, kind: "disk", events: 0, setAside: [] },
      });
      await expectStored(mcpId, ids);
    });

    test("what is refused for good is set aside with the reason and outlives the reporter; its neighbours are stored", async () => {
      const mcpId = freshName("refused");
      const localCachePath = newSpool();
      const [before, after] = [freshName("before"), freshName("after")];
      // As a client that knew other rules would have left them.
      const spool = openSpool({ directory: localCachePath });
      const put = (more: Parameters<typeof makeEvent>[0]): void => {
        const eventId = mintUuidV7();
        spool.put(eventId, "start", encodeEvent(makeEvent({ eventId, mcpId, ...more })));
      };
      const complete = { case: "complete", value: {} } as const;
      put({ interactionId: before });
      put({ interactionId: before, detail: complete });
      put({ interactionId: way.refused.interactionId });
      put({ interactionId: after });
      put({ interactionId: after, detail: complete });
      await spool.close();
      const troubles: string[] = [];
      const reporter = open(way, mcpId, localCachePath, { onTrouble: ({ kind }) => troubles.push(kind) });
      await reporter.durable();
      expect(await reporter.flush(flushMaxMs)).toBe(true);
      await reporter.close();
      expect(reporter.state.counters).toMatchObject({ stored: 4, setAside: 1 });
      expect(troubles).toContain("set_aside");
      const later = open(way, mcpId, localCachePath);
      await later.durable();
      await expect.poll(() => later.state.spool.kind).toBe("disk");
      expect(later.setAside.map(({ event, reason }) => [event.interactionId, reason])).toEqual([
        [way.refused.interactionId, expect.stringContaining(way.refused.reason)],
      ]);
      await expectStored(mcpId, [before, after]);
    });

    test("kill -9 of the coordinator and a crash of the server in between lose nothing, and nothing is stored twice", {
      timeout: 480_000,
    }, async () => {
      const mcpId = freshName("kill");
      const reporter = open(way, mcpId, newSpool());
      const ids = [...report(reporter, 200)];
      await expect.poll(() => reporter.state.counters.stored, { timeout: 60_000, interval: 5 }).toBeGreaterThan(0);
      coordinator.signal("SIGKILL");
      await coordinator.exited;
      ids.push(...report(reporter, 200));
      await reporter.durable();
      coordinator = await startCoordinator();
      ids.push(...report(reporter, 200));
      await way.kill();
      ids.push(...report(reporter, 200));
      expect(await reporter.flush(500)).toBe(false);
      expect(reporter.state.spool.events).toBeGreaterThanOrEqual(400);
      await way.start();
      expect(await reporter.flush(flushMaxMs)).toBe(true);
      const { stored, duplicate, setAside } = reporter.state.counters;
      expect({ resolved: stored + duplicate, setAside }).toEqual({ resolved: 1_600, setAside: 0 });
      await expectStored(mcpId, ids);
    });

    test("close waits for what is under way, and leaves in the spool what could not go: the next reporter brings it", async () => {
      const mcpId = freshName("close");
      const localCachePath = newSpool();
      const patient = open(way, mcpId, localCachePath, { closeMaxMs: flushMaxMs });
      const ids = [...report(patient, 100)];
      await patient.close();
      expect(patient.state).toMatchObject({ kind: "closed", counters: { stored: 200 } });
      await way.kill();
      const hasty = open(way, mcpId, localCachePath, { closeMaxMs: 100 });
      ids.push(...report(hasty, 100));
      await hasty.close();
      expect(hasty.state.counters).toMatchObject({ reported: 200, stored: 0 });
      await way.start();
      const next = open(way, mcpId, localCachePath);
      expect(await next.flush(flushMaxMs)).toBe(true);
      expect(next.state.counters).toMatchObject({ reported: 0, stored: 200 });
      await expectStored(mcpId, ids);
    });
  });

  test("over Redis an event is forgotten on the coordinator's verdict and not before, however long Redis has had it", async () => {
    const [way] = ways;
    if (way === undefined) return expect.unreachable();
    const mcpId = freshName("verdict");
    const reporter = open(way, mcpId, newSpool());
    const first = report(reporter, 1);
    expect(await reporter.flush(flushMaxMs)).toBe(true);
    coordinator.signal("SIGKILL");
    await coordinator.exited;
    const ids = report(reporter, 50);
    await expect.poll(() => redis.client.xlen("mcp:interactions")).toBeGreaterThanOrEqual(100);
    expect(await reporter.flush(1_000)).toBe(false);
    expect(reporter.state).toMatchObject({ counters: { stored: 2 }, spool: { events: 100 } });
    coordinator = await startCoordinator();
    expect(await reporter.flush(flushMaxMs)).toBe(true);
    await expectStored(mcpId, [...first, ...ids]);
  });

  test("over the shared table an event is forgotten when its row is committed; what the coordinator refuses is a dead letter with its reason", async () => {
    const [, way] = ways;
    if (way === undefined) return expect.unreachable();
    const mcpId = freshName("row");
    const localCachePath = newSpool();
    const spool = openSpool({ directory: localCachePath });
    const eventId = mintUuidV7();
    spool.put(eventId, "start", encodeEvent(makeEvent({ eventId, mcpId, interactionId: "" })));
    await spool.close();
    coordinator.signal("SIGKILL");
    await coordinator.exited;
    const reporter = open(way, mcpId, localCachePath);
    const ids = report(reporter, 50);
    expect(await reporter.flush(flushMaxMs)).toBe(true);
    const rows = await admin.unsafe<{ n: number }[]>(`SELECT count(*)::int AS n FROM interaction_logs WHERE mcp_id = '${mcpId}'`);
    expect(rows[0]?.n).toBe(101);
    coordinator = await startCoordinator();
    await expectStored(mcpId, ids);
    const letters = async () => admin.unsafe<{ reason: string }[]>(`SELECT reason FROM dead_letter WHERE event_id = '${eventId}'`);
    const reasons = async () => (await letters()).map(({ reason }) => reason);
    await expect.poll(reasons).toEqual([expect.stringContaining("interaction_id REQUIRED")]);
  });
});
