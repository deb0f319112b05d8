import { readFileSync } from "node:fs";
import { fromJson } from "@bufbuild/protobuf";
import postgres, { type Sql } from "postgres";
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import { InteractionEventSchema } from "../../gen/mcp/coordinator/v1/events_pb.js";
import { createStreamSession } from "../../src/client/stream-session.js";
import { type RunningCoordinator, startCoordinatorProcess } from "../support/coordinator.js";
import { freshName } from "../support/new-event.js";
import { postgresSkipReason, type RunningPostgres, startPostgres } from "../support/postgres.js";
import { insertReports, type ReportRow, reportRow } from "../support/shared-table.js";

const skip = postgresSkipReason();
const config = "[shared_table]\ninterval_ms = 200\n";
const until = (holds: () => Promise<boolean>): Promise<unknown> => vi.waitUntil(holds, { timeout: 240_000, interval: 20 });

/** The block of SQL in the documentation that says this. */
function documented(words: string): string {
  const page = readFileSync(new URL("../../docs/shared-table.md", import.meta.url), "utf8");
  const block = [...page.matchAll(/```sql\n(.*?)```/gs)].map((match) => match[1] ?? "").find((sql) => sql.includes(words));
  if (block === undefined) throw new Error(`docs/shared-table.md says nothing of ${words}`);
  return block;
}

/** Memory of a process that is in RAM. */
function residentMiB(pid: number): number {
  const line = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"));
  return Number(line?.[1] ?? 0) / 1024;
}

/** Rows of many interactions of three events each. */
function manyRows(stem: string, count: number): readonly ReportRow[] {
  return Array.from({ length: count }, (_, i) =>
    reportRow({
      interactionId: `${stem}-${Math.floor(i / 3)}`,
      detail:
        i % 3 === 0
          ? { case: "start", value: { requestType: "ocr" } }
          : i % 3 === 1
            ? { case: "progress", value: { fraction: 0.5 } }
            : { case: "complete", value: { processingTime: { seconds: 1n } } },
    }),
  );
}

describe.skipIf(skip !== undefined)(`a fleet that reports through the shared table${skip === undefined ? "" : ` (${skip})`}`, () => {
  let server: RunningPostgres;
  let admin: Sql;
  /** The role of a producer, as docs/shared-table.md makes it. */
  let producer: Sql;
  const coordinators: RunningCoordinator[] = [];

  const start = async (): Promise<RunningCoordinator> => {
    const coordinator = await startCoordinatorProcess({ databaseUrl: server.url, config });
    coordinators.push(coordinator);
    return coordinator;
  };
  const stopAll = async (): Promise<void> => {
    for (const coordinator of coordinators.splice(0)) await coordinator.stop();
  };
  const countOf = async (text: string): Promise<number> => Number((await admin.unsafe<{ n: string }[]>(text))[0]?.n ?? -1);
  const storedOf = (stem: string): Promise<number> =>
    countOf(`SELECT count(*) AS n FROM interaction_event WHERE interaction_id LIKE '${stem}%'`);
  const mergedOf = (stem: string): Promise<number> =>
    countOf(`SELECT coalesce(sum(event_count), 0) AS n FROM interaction WHERE interaction_id LIKE '${stem}%'`);
  const waiting = (): Promise<number> => countOf("SELECT count(*) AS n FROM interaction_logs WHERE NOT processed");
  const asides = (): Promise<number> => countOf("SELECT count(*) AS n FROM dead_letter");
  const untilDrained = (): Promise<unknown> => until(async () => (await waiting()) === 0);

  beforeAll(async () => {
    if (skip !== undefined) return;
    server = await startPostgres();
    admin = postgres(server.url, { max: 2, onnotice: () => {} });
    // Migrates the database.
    await start();
    await stopAll();
    await admin.unsafe(documented("GRANT INSERT"));
    producer = postgres(server.url.replace("postgres@", "reporter@"), { max: 1, onnotice: () => {} });
  });
  afterEach(async () => {
    await stopAll();
    await admin?.unsafe("TRUNCATE interaction_logs");
    await admin?.unsafe("TRUNCATE dead_letter");
  });
  afterAll(async () => {
    await producer?.end({ timeout: 0 });
    await admin?.end({ timeout: 0 });
    await server?.[Symbol.asyncDispose]();
  });

  it("stores what a role that may only insert has inserted", async () => {
    await start();
    const stem = freshName("happy");
    const rows = manyRows(stem, 30);
    await insertReports(producer, rows);
    await untilDrained();
    expect([await storedOf(stem), await mergedOf(stem), await asides()]).toEqual([30, 30, 0]);
    expect(await countOf(`SELECT count(*) AS n FROM interaction WHERE interaction_id LIKE '${stem}%' AND state = 3`)).toBe(10);
  });

  it("stores the row of the documentation, and one that was given back after its cause was mended", async () => {
    await start();
    const interactionId = freshName("mended");
    await producer.unsafe(
      documented("VALUES ('ocr_workflow_mcp_001'")
        .replaceAll("2026-11-21T09:30:00.250Z", new Date().toISOString())
        .replace(/"eventId":[^,]*,/, ""),
    );
    await insertReports(producer, [{ ...reportRow({ interactionId }), mcpId: "another" }]);
    await untilDrained();
    expect(await storedOf("req-42")).toBe(1);
    expect(await asides()).toBe(1);
    const again = documented("f->>'mcp_id'").replace("id = …", "true").replace("f->>'mcp_id'", "'demo'");
    await admin.unsafe(again);
    await until(async () => (await storedOf(interactionId)) === 1);
  });

  it.each([
    ["read rows", "SELECT * FROM interaction_logs"],
    ["get rows back", "INSERT INTO interaction_logs (mcp_id, interaction_id, data) VALUES ('m', 'i', '{}') RETURNING id"],
    ["choose an id", "INSERT INTO interaction_logs (id, mcp_id, interaction_id, data) OVERRIDING SYSTEM VALUE VALUES (1, 'm', 'i', '{}')"],
    ["choose a time", "INSERT INTO interaction_logs (mcp_id, interaction_id, data, timestamp) VALUES ('m', 'i', '{}', now())"],
    ["mark rows as processed", "INSERT INTO interaction_logs (mcp_id, interaction_id, data, processed) VALUES ('m', 'i', '{}', true)"],
    ["change rows", "UPDATE interaction_logs SET processed = true"],
    ["delete rows", "DELETE FROM interaction_logs"],
    ["read events", "SELECT * FROM interaction_event"],
    ["write events", "INSERT INTO dead_letter (source, mcp_id, event_id, reason, frame) VALUES (4, '', '', '', '')"],
  ])("a role that may only insert cannot %s", async (_, statement) => {
    await expect(producer.unsafe(statement)).rejects.toMatchObject({ code: "42501" });
  });

  it("with a policy of its own, a role inserts for its MCP only, and coordinators take the rows", async () => {
    const stem = freshName("policy");
    await admin.unsafe(documented("CREATE POLICY"));
    try {
      await expect(insertReports(producer, [reportRow({ mcpId: "another", interactionId: stem })])).rejects.toMatchObject({
        code: "42501",
      });
      await insertReports(producer, [reportRow({ mcpId: "reporter", interactionId: stem })]);
      await start();
      await untilDrained();
      expect(await storedOf(stem)).toBe(1);
    } finally {
      await admin.unsafe("DROP POLICY own_mcp ON interaction_logs");
      await admin.unsafe("ALTER TABLE interaction_logs DISABLE ROW LEVEL SECURITY");
    }
  });

  it("two coordinators drain one table of 20 000 rows, and each event is stored once", async () => {
    const stem = freshName("two");
    await insertReports(producer, manyRows(stem, 20_000));
    await Promise.all([start(), start()]);
    await untilDrained();
    expect([await storedOf(stem), await mergedOf(stem), await asides()]).toEqual([20_000, 20_000, 0]);
  });

  it("a coordinator that is killed while it drains loses nothing and doubles nothing", async () => {
    const stem = freshName("kill");
    await insertReports(producer, manyRows(stem, 30_000));
    for (let kills = 0; kills < 3; kills += 1) {
      const coordinator = await start();
      const before = await storedOf(stem);
      // All of them may be stored by then, on a machine that gives this process little: the kill finds it idle.
      const isDraining = (stored: number): boolean => stored > before || stored === 30_000;
      await until(async () => isDraining(await storedOf(stem)));
      coordinator.signal("SIGKILL");
      await coordinator.exited;
      // In one snapshot: the server may still be committing what the coordinator had sent.
      const known = `(SELECT count(*) FROM interaction_event WHERE interaction_id LIKE '${stem}%') + (SELECT count(*) FROM interaction_logs)`;
      expect(await countOf(`SELECT ${known} AS n`)).toBe(30_000);
    }
    await start();
    await untilDrained();
    expect([await storedOf(stem), await mergedOf(stem), await asides()]).toEqual([30_000, 30_000, 0]);
  });

  it("goes on after the database has crashed under it", async () => {
    const stem = freshName("restart");
    await insertReports(producer, manyRows(stem, 30_000));
    const coordinator = await start();
    await until(async () => (await storedOf(stem)) > 0);
    await server.stopImmediate();
    await until(async () => coordinator.log().includes("shared table cannot be taken from"));
    await server.start();
    await until(async () => (await waiting()) === 0);
    expect([await storedOf(stem), await mergedOf(stem), await asides()]).toEqual([30_000, 30_000, 0]);
    await until(async () => coordinator.log().includes("shared table is taken from again"));
  });

  it("rows that somebody holds a lock on wait, and the others pass them", async () => {
    const stem = freshName("lock");
    await insertReports(producer, manyRows(stem, 100));
    let release = (): void => {};
    const holding = admin.begin(async (sql) => {
      await sql`SELECT FROM interaction_logs ORDER BY id LIMIT 10 FOR UPDATE`;
      await new Promise<void>((resolve) => {
        release = resolve;
      });
    });
    try {
      await start();
      await until(async () => (await storedOf(stem)) === 90);
    } finally {
      release();
      await holding;
    }
    await untilDrained();
    expect([await storedOf(stem), await asides()]).toEqual([100, 0]);
  });

  it("text that is no JSON is refused by the INSERT, which is the producer's to see", async () => {
    const insert = "INSERT INTO interaction_logs (mcp_id, interaction_id, data) VALUES ('m', 'i', '{not json')";
    await expect(producer.unsafe(insert)).rejects.toMatchObject({ code: "22P02" });
    expect(await countOf("SELECT count(*) AS n FROM interaction_logs")).toBe(0);
  });

  it("bad rows among good ones become dead letters, and the good ones are stored", async () => {
    await start();
    const stem = freshName("bad");
    const good = manyRows(stem, 300);
    const bad = ["[]", "7", "{}", '{"event":{"interactionId":[]}}', '{"event":{"start":{}}}', '{"action":"no such action"}'];
    const rows = good.flatMap((row, i) => (i % 50 === 7 ? [row, { ...row, data: bad[Math.floor(i / 50)] ?? "{}" }] : [row]));
    await insertReports(producer, rows);
    await untilDrained();
    expect([await storedOf(stem), await mergedOf(stem), await asides()]).toEqual([300, 300, 6]);
  });

  it("the same event by the table and by the stream at once, 10 000 times, is stored once each", async () => {
    const coordinator = await start();
    const stem = freshName("both");
    const rows = Array.from({ length: 10_000 }, (_, i) => ({
      i,
      ...reportRow({ interactionId: `${stem}-${i % 100}`, detail: { case: "progress", value: { fraction: (i % 10) / 10 } } }),
    }));
    let settled = 0;
    const verdicts = new Map<string, number>();
    const session = createStreamSession({
      endpoint: { target: coordinator.target, key: undefined },
      mcpId: "demo",
      batchEvents: 64,
      onSettled: ({ verdict }) => {
        settled += 1;
        verdicts.set(verdict, (verdicts.get(verdict) ?? 0) + 1);
      },
    });
    const streaming = (async () => {
      for (const { data } of rows) {
        const event = fromJson(InteractionEventSchema, JSON.parse(data).event);
        while (session.report(event) === undefined) await session.whenWritable();
      }
    })();
    for (let from = 0; from < rows.length; from += 1_000) await insertReports(producer, rows.slice(from, from + 1_000));
    await streaming;
    await until(async () => settled === rows.length);
    await session.close();
    await untilDrained();
    expect([await storedOf(stem), await mergedOf(stem), await asides()]).toEqual([10_000, 10_000, 0]);
    expect((verdicts.get("stored") ?? 0) + (verdicts.get("duplicate") ?? 0)).toBe(10_000);
  });

  it("a backlog of 100 000 rows drains in bounded memory", async () => {
    const stem = freshName("backlog");
    // Made by the server: reports without ids of their own, each of another time.
    await admin.unsafe(`INSERT INTO interaction_logs (mcp_id, interaction_id, data)
      SELECT 'demo', '${stem}-' || n % 1000, json_build_object('event', json_build_object('occurredAt',
        to_char((now() - n * interval '1 ms') AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), 'progress', json_build_object('fraction', 0.5)))
      FROM generate_series(1, 100000) AS n`);
    const coordinator = await start();
    await until(async () => (await storedOf(stem)) > 0);
    const early = residentMiB(coordinator.pid);
    let peak = early;
    await until(async () => {
      peak = Math.max(peak, residentMiB(coordinator.pid));
      return (await waiting()) === 0;
    });
    expect([await storedOf(stem), await mergedOf(stem), await asides()]).toEqual([100_000, 100_000, 0]);
    expect(peak - early).toBeLessThan(150);
  });
});
