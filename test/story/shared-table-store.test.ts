import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pino } from "pino";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { createIngest, type Ingest } from "../../src/ingest/ingest.js";
import { type TakenBatch, takeBatch } from "../../src/intake/shared-table/take-batch.js";
import type { NewEvent } from "../../src/interaction/event.js";
import { systemClock } from "../../src/platform/clock.js";
import { limits } from "../../src/platform/limits.js";
import { systemRng } from "../../src/platform/rng.js";
import { createAppend } from "../../src/store/append.js";
import { createPool, type Pool } from "../../src/store/connect.js";
import { setAside } from "../../src/store/dead-letters.js";
import { startEmbedded } from "../../src/store/embedded.js";
import { maintain } from "../../src/store/maintain.js";
import { migrateTarget } from "../../src/store/migrate.js";
import { createSharedTableStore } from "../../src/store/shared-table.js";
import { parseTarget, type Target } from "../../src/store/target.js";
import type { SharedTableStore, TakeBounds } from "../../src/store/waiting-reports.js";
import { readReport } from "../../src/wire/report-body.js";
import { freshName } from "../support/new-event.js";
import { storeKinds, storeOptions, workerUrl } from "../support/open-store.js";
import { startPostgres } from "../support/postgres.js";
import { insertReports, reportRow } from "../support/shared-table.js";

const log = pino({ level: "silent" });
const bounds: TakeBounds = {
  afterId: "0",
  maxRows: 1_000,
  maxBytes: limits.tableBatchMaxBytes,
  reportMaxBytes: limits.tableReportMaxBytes,
};

type Home = { readonly target: Target; readonly end: () => Promise<void> };

async function openHome(kind: "embedded" | "postgres"): Promise<Home> {
  if (kind === "postgres") {
    const server = await startPostgres();
    return { target: parseTarget(server.url), end: () => server[Symbol.asyncDispose]() };
  }
  const dataDir = mkdtempSync(join(tmpdir(), "mcpc-data-"));
  const embedded = await startEmbedded({ dataDir, workerUrl, clock: systemClock, log, onFatal: () => {} });
  const end = async (): Promise<void> => {
    await embedded.close();
    rmSync(dataDir, { recursive: true, force: true });
  };
  return { target: { kind: "socket", path: embedded.socketPath }, end };
}

describe.each(storeKinds)("taking reports out of the shared table of the $kind store", ({ kind, skip }) => {
  let home: Home;
  let pool: Pool;
  let store: SharedTableStore;
  let ingest: Ingest;
  const followed: NewEvent[] = [];
  beforeAll(async () => {
    if (skip !== undefined) return;
    home = await openHome(kind);
    await migrateTarget(home.target, { clock: systemClock, log });
    pool = createPool({
      target: home.target,
      maxConnections: 1,
      name: "test",
      watchdogMs: 10_000,
      settings: {},
      clock: systemClock,
      log,
    });
    await maintain(pool, storeOptions({ databaseUrl: "" }), Date.now());
    store = createSharedTableStore(pool);
    ingest = createIngest({
      store: { laneCount: 1, append: createAppend(pool, 1), setAside: (event, reason) => setAside(pool, event, reason) },
      pseudonym: (userId) => `u_${userId.length}`,
      maxClockSkewMs: 600_000,
      dedupeHorizonMs: 7 * 86_400_000,
      clock: systemClock,
      rng: systemRng,
      log,
    });
    ingest.follow((events) => followed.push(...events));
  });
  afterAll(async () => {
    await pool?.close();
    await home?.end();
  });
  afterEach(async () => {
    followed.length = 0;
    await query("TRUNCATE interaction_logs");
    await query("TRUNCATE dead_letter");
  });
  const story = skip === undefined ? it : (name: string, _: () => Promise<void>) => it.skip(`${name} (${skip})`, () => {});
  const query = <Row extends object>(text: string, parameters: readonly string[] = []): Promise<readonly Row[]> =>
    pool.run(({ sql }) => sql.unsafe<Row[]>(text, [...parameters]));
  const insert = (rows: Parameters<typeof insertReports>[1]): Promise<void> => pool.run(({ sql }) => insertReports(sql, rows));
  const take = (more: Partial<TakeBounds> = {}): Promise<TakenBatch> =>
    takeBatch({ store, ingest, read: readReport, clock: systemClock }, { ...bounds, ...more });
  const waiting = async (): Promise<number> => (await query("SELECT FROM interaction_logs")).length;
  const stored = async (interactionId: string): Promise<number> =>
    (await query("SELECT FROM interaction_event WHERE interaction_id = $1 AND source = 4", [interactionId])).length;
  const asides = (): Promise<
    readonly { readonly reason: string; readonly event_id: string; readonly mcp_id: string; readonly frame: Buffer }[]
  > => query("SELECT reason, event_id, mcp_id, frame FROM dead_letter ORDER BY id");

  story("stores the events, removes the rows and tells the followers once", async () => {
    const interactionId = freshName("i");
    const rows = Array.from({ length: 25 }, () => reportRow({ interactionId }));
    await insert(rows);
    expect(await take({ maxRows: 10 })).toMatchObject({ count: 10, resolved: 10, hasMore: true });
    expect(await take()).toMatchObject({ count: 15, resolved: 15, hasMore: false });
    expect(await waiting()).toBe(0);
    expect(await stored(interactionId)).toBe(25);
    expect(await query("SELECT event_count FROM interaction WHERE interaction_id = $1", [interactionId])).toEqual([{ event_count: 25 }]);
    expect(followed.map((event) => event.eventId)).toEqual(rows.map((row) => row.eventId));
  });

  story("does nothing at all when what becomes of the rows cannot be decided", async () => {
    const interactionId = freshName("i");
    await insert([reportRow({ interactionId })]);
    const gaveUp = store.takeReports(bounds, async ({ reports, append }) => {
      const judged = ingest.judge(
        { principal: { kind: "anyone" }, mcpId: "demo", producerId: "", epoch: 0, labels: {}, source: "table" },
        // The row holds a report.
        (readReport(JSON.parse(reports[0]?.data ?? "")) as { kind: "draft"; draft: Parameters<Ingest["judge"]>[1] }).draft,
      );
      if (judged.kind === "accepted") expect(await append([judged.event])).toMatchObject([{ kind: "stored" }]);
      throw new Error("the process ends here");
    });
    await expect(gaveUp).rejects.toThrow("the process ends here");
    expect(await waiting()).toBe(1);
    expect(await stored(interactionId)).toBe(0);
    expect(await take()).toMatchObject({ resolved: 1 });
    expect(await stored(interactionId)).toBe(1);
  });

  story("an event that another way in has stored, and one that stands in two rows, are stored once", async () => {
    const interactionId = freshName("i");
    const row = reportRow({ interactionId });
    await insert([row]);
    await take();
    followed.length = 0;
    const twice = reportRow({ interactionId });
    await insert([row, twice, twice]);
    expect(await take()).toMatchObject({ count: 3, resolved: 3, refused: 0 });
    expect(await stored(interactionId)).toBe(2);
    expect(followed.map((event) => event.eventId)).toEqual([twice.eventId]);
    expect(await waiting()).toBe(0);
  });

  story("sets aside with the reason, as it came, what can never be stored, and stores its neighbours", async () => {
    const interactionId = freshName("i");
    const good = [reportRow({ interactionId }), reportRow({ interactionId })];
    const [first, last] = good;
    if (first === undefined || last === undefined) throw new Error("two rows");
    const conflicting = reportRow({ interactionId, eventId: first.eventId, detail: { case: "progress", value: { fraction: 0.1 } } });
    const bad: readonly (readonly [data: string, reason: RegExp])[] = [
      ["[1,2,3]", /INVALID/],
      ['"text"', /INVALID/],
      ["null", /INVALID/],
      ['{"event":7}', /INVALID/],
      ['{"event":{"interactionId":7}}', /INVALID; event.interaction_id MALFORMED/],
      [reportRow({ mcpId: "other" }).data, /INVALID; mcp_id CONTRADICTS_COLUMN/],
      [reportRow({ mcpId: "demo", interactionId: "another" }).data, /INVALID; interaction_id CONTRADICTS_COLUMN/],
      [JSON.stringify({ event: { interactionId, occurredAt: "2001-01-01T00:00:00Z", start: {} } }), /TOO_OLD/],
      [JSON.stringify({ event: { interactionId, start: {} } }), /INVALID; occurred_at/],
      [`{"event":{"labels":{"x":"${"y".repeat(limits.tableReportMaxBytes)}"}}}`, /INVALID; data TOO_LARGE/],
      [JSON.stringify({ event: { interactionId, note: "\u0000" } }), /INVALID/],
      ["[".repeat(5_000) + "]".repeat(5_000), /INVALID/],
    ];
    await insert([first, ...bad.map(([data]) => ({ mcpId: "demo", interactionId, data })), conflicting, last]);
    expect(await take()).toMatchObject({ count: bad.length + 3, resolved: 2, stayed: 0, hasMore: false });
    expect(await waiting()).toBe(0);
    expect(await stored(interactionId)).toBe(2);
    const kept = await asides();
    expect(kept.map(({ reason }) => reason)).toEqual([
      ...bad.map(([, reason]) => expect.stringMatching(reason)),
      expect.stringMatching(/^CONFLICT/),
    ]);
    for (const [i, { frame, mcp_id }] of kept.entries()) {
      expect(mcp_id).toBe("demo");
      const data = bad[i]?.[0] ?? conflicting.data;
      if (!data.includes("[[[")) expect(JSON.parse(frame.toString()).data).toEqual(JSON.parse(data));
    }
  });

  story("an event that the database refuses is found among its neighbours and set aside", async () => {
    await query(`CREATE OR REPLACE FUNCTION refuse_poison() RETURNS trigger LANGUAGE plpgsql AS $$
      BEGIN IF NEW.interaction_id LIKE 'poison%' THEN RAISE check_violation USING MESSAGE = 'poison'; END IF; RETURN NEW; END $$`);
    await query("CREATE TRIGGER refuse_poison BEFORE INSERT ON interaction_event FOR EACH ROW EXECUTE FUNCTION refuse_poison()");
    try {
      const interactionId = freshName("i");
      const poison = freshName("poison");
      const rows = Array.from({ length: 40 }, (_, i) => reportRow({ interactionId: i % 13 === 5 ? poison : interactionId }));
      await insert(rows);
      expect(await take()).toMatchObject({ count: 40, resolved: 37, refused: 3 });
      expect(await waiting()).toBe(0);
      expect(await stored(interactionId)).toBe(37);
      expect(await stored(poison)).toBe(0);
      expect((await asides()).map(({ event_id }) => event_id)).toEqual(
        rows.filter((row) => row.interactionId === poison).map((row) => row.eventId),
      );
      expect(ingest.tally().bySource.table).toMatchObject({ deadLetters: 3 });
    } finally {
      await query("DROP TRIGGER refuse_poison ON interaction_event");
    }
  });

  story("the columns speak for a body that names nobody", async () => {
    const interactionId = freshName("i");
    const { data } = reportRow({ mcpId: "", interactionId: "" });
    await insert([{ mcpId: "demo", interactionId, data }]);
    expect(await take()).toMatchObject({ resolved: 1 });
    expect(await query("SELECT mcp_id FROM interaction_event WHERE interaction_id = $1", [interactionId])).toEqual([{ mcp_id: "demo" }]);
  });

  story("an event that is a little ahead of its time stays, and others pass it", async () => {
    const interactionId = freshName("i");
    const early = reportRow({
      interactionId,
      eventId: "",
      occurredAt: { seconds: BigInt(Math.floor(Date.now() / 1000) + 3_600), nanos: 0 },
    });
    await insert([early, reportRow({ interactionId })]);
    expect(await take({ maxRows: 1 })).toMatchObject({ count: 1, stayed: 1, hasMore: true });
    const first = await take({ maxRows: 1 });
    expect(await take({ maxRows: 1, afterId: first.lastId })).toMatchObject({ resolved: 1 });
    expect(await waiting()).toBe(1);
    expect(await asides()).toEqual([]);
  });

  story("takes no more bytes at once than it was told, and never less than a row", async () => {
    const interactionId = freshName("i");
    await insert(Array.from({ length: 6 }, () => reportRow({ interactionId, labels: { note: "x".repeat(200) } })));
    const first = await take({ maxBytes: 500 });
    expect(first).toMatchObject({ hasMore: true });
    expect(first.count).toBeLessThan(3);
    expect(await take({ maxBytes: 1 })).toMatchObject({ count: 1, hasMore: true });
  });

  story("rows that somebody has marked as processed are not touched", async () => {
    await insert([reportRow()]);
    await query("UPDATE interaction_logs SET processed = true");
    expect(await take()).toMatchObject({ count: 0, hasMore: false });
    expect(await store.readBacklog()).toEqual({ waiting: 0, oldestMs: 0 });
    expect(await waiting()).toBe(1);
  });

  story("tells how many rows wait and since when the oldest does", async () => {
    await insert([reportRow(), reportRow(), reportRow()]);
    await query(
      `UPDATE interaction_logs SET "timestamp" = now() - interval '90 seconds' WHERE id = (SELECT min(id) FROM interaction_logs)`,
    );
    const { waiting: depth, oldestMs } = await store.readBacklog();
    expect(depth).toBe(3);
    expect(oldestMs).toBeGreaterThanOrEqual(90_000);
    expect(oldestMs).toBeLessThan(600_000);
  });
});
