import { getTableColumns, getTableName } from "drizzle-orm";
import { getTableConfig } from "drizzle-orm/pg-core";
import postgres from "postgres";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { NewEvent } from "../../src/interaction/event.js";
import { limits } from "../../src/platform/limits.js";
import { partitionName } from "../../src/store/partitions.js";
import type { AckedRoutes, ListCursor, Publication, Store } from "../../src/store/store.js";
import { tables } from "../../src/store/tables.js";
import { freshId, freshName, newEvent } from "../support/new-event.js";
import { createStoreHome, type StoreHome, storeKinds } from "../support/open-store.js";
import { tellStories } from "../support/store-stories.js";

const dayMs = 86_400_000;
const anything = { mcpId: undefined, state: undefined, requestType: undefined, sessionId: undefined };

describe.each(storeKinds)("reading from the $kind store", (each) => {
  const at = tellStories(each, { maxRecords: 500 });

  const appendAll = async (events: readonly NewEvent[]): Promise<void> => {
    for (let start = 0; start < events.length; start += 500) await at.store.append(0, events.slice(start, start + 500));
  };

  at.story("pages through interactions, newest last event first, each exactly once", async () => {
    const mcpId = freshName("mcp");
    // Three to a microsecond, over more than two slots of the index.
    const events = Array.from({ length: 60 }, (_, index) =>
      newEvent({ mcpId, interactionId: `i-${index % 7}-${index}`, occurredAtUs: Date.now() * 1000 - Math.floor(index / 3) * 1_500_000 }),
    );
    await appendAll(events);
    const seen: string[] = [];
    let cursor: ListCursor | undefined;
    for (;;) {
      const page = await at.store.listInteractions({ ...anything, mcpId }, 7, cursor);
      seen.push(...page.map((interaction) => interaction.interactionId));
      const last = page.at(-1);
      if (last === undefined) break;
      cursor = { lastEventAtUs: last.lastEventAtUs, mcpId: last.mcpId, interactionId: last.interactionId };
    }
    const expected = [...events].sort((a, b) => b.occurredAtUs - a.occurredAtUs || (a.interactionId < b.interactionId ? 1 : -1));
    expect(seen).toEqual(expected.map((event) => event.interactionId));
  });

  at.story("gives the events of an interaction up to a page's worth of bytes, and never none", async () => {
    const mcpId = freshName("mcp");
    const events = Array.from({ length: 20 }, () => newEvent({ mcpId, interactionId: "large", body: `{"text":"${"x".repeat(200_000)}"}` }));
    const giant = newEvent({ mcpId, interactionId: "giant", body: '{"n":1}', raw: Buffer.alloc(limits.pageMaxBytes + 1) });
    await appendAll([...events, giant]);
    const read = await at.store.readEvents(mcpId, "large", { maxCount: 1_000 });
    const oldest = events.map(({ eventId }) => eventId).sort();
    expect(read.events.map(({ eventId }) => eventId)).toEqual(oldest.slice(0, Math.ceil(limits.pageMaxBytes / 200_012)));
    expect((await at.store.readEvents(mcpId, "large", { maxCount: 3 })).events).toHaveLength(3);
    const single = await at.store.readEvents(mcpId, "giant", { maxCount: 1_000 });
    expect(single).toMatchObject({ events: [{ eventId: giant.eventId, body: { n: 1 } }], hasMore: false });
    expect(await readAll(mcpId, "large", 1_000), "pages bounded by bytes").toEqual(oldest);
    expect(await readAll(mcpId, "large", oldest.length), "a page that holds all").toEqual(oldest);
    expect(await readAll(mcpId, "large", 5), "pages bounded by count").toEqual(oldest);
  });

  async function readAll(mcpId: string, interactionId: string, maxCount: number): Promise<readonly string[]> {
    const read: string[] = [];
    for (;;) {
      const page = await at.store.readEvents(mcpId, interactionId, { maxCount, afterId: read.at(-1) });
      read.push(...page.events.map(({ eventId }) => eventId));
      expect(page.events.length).toBeLessThanOrEqual(maxCount);
      if (!page.hasMore) return read;
    }
  }

  at.story("tallies interactions: rows of the log beside what was merged, for one MCP, repeated events once", async () => {
    const mcpId = freshName("mcp");
    const twice = newEvent({ mcpId, interactionId: "two", kind: "start" });
    await appendAll([
      twice,
      newEvent({ mcpId, interactionId: "two", kind: "complete" }),
      newEvent({ mcpId, interactionId: 'one, "odd" \\ name\n' }),
      newEvent({ mcpId: freshName("mcp"), interactionId: "two" }),
    ]);
    await appendAll([twice]);
    const tallies = await at.store.tallyInteractions(mcpId, ["two", "none", 'one, "odd" \\ name\n', "two"]);
    expect([...tallies].sort((a, b) => (a.interactionId < b.interactionId ? -1 : 1))).toEqual([
      { interactionId: 'one, "odd" \\ name\n', storedEvents: 1, mergedEvents: 1 },
      { interactionId: "two", storedEvents: 2, mergedEvents: 2 },
    ]);
    expect(await at.store.tallyInteractions(mcpId, [])).toEqual([]);
  });

  at.story("filters by state, request type and session", async () => {
    const mcpId = freshName("mcp");
    const start = (requestType: string, sessionId: string) =>
      ({
        kind: "start",
        requestType,
        sessionId,
        userPseudonym: "",
        routingDecisionId: "",
        inputBytes: 0,
        qualityLevel: "",
        privacyLevel: "",
      }) as const;
    await appendAll([
      newEvent({ mcpId, interactionId: "a", kind: "start", facts: start("ocr", "s1") }),
      newEvent({ mcpId, interactionId: "b", kind: "start", facts: start("ocr", "s2") }),
      newEvent({ mcpId, interactionId: "b", kind: "complete" }),
      newEvent({ mcpId, interactionId: "c", kind: "start", facts: start("asr", "s2") }),
    ]);
    const ids = async (more: object) =>
      (await at.store.listInteractions({ ...anything, mcpId, ...more }, 10, undefined)).map((found) => found.interactionId).sort();
    expect(await ids({ state: "started" })).toEqual(["a", "c"]);
    expect(await ids({ state: "completed" })).toEqual(["b"]);
    expect(await ids({ requestType: "ocr", sessionId: "s2" })).toEqual(["b"]);
    expect(await ids({ state: "failed" })).toEqual([]);
  });

  at.story("figures equal those computed from the events", async () => {
    const mcpId = freshName("mcp");
    const startMs = Date.now() - 60_000;
    const durations = Array.from({ length: 101 }, (_, index) => index * 10);
    const ended = (interactionId: string, atMs: number, success: boolean, durationMs: number | undefined) =>
      newEvent({
        mcpId,
        interactionId,
        kind: "complete",
        occurredAtUs: atMs * 1000,
        facts: { kind: "terminal", success, durationMs, qualityScore: undefined, errorCode: "", adapterUsed: "" },
      });
    await appendAll([
      ...durations.map((durationMs, index) => ended(`in-${index}`, startMs + index, index % 4 !== 0, durationMs)),
      ended("before", startMs - 1, true, 99_999),
      ended("at the end", startMs + 1_000, true, 99_999),
      ended("no duration", startMs + 999, true, undefined),
      newEvent({ mcpId, interactionId: "open", kind: "start" }),
    ]);
    expect(await at.store.readPerformance(mcpId, startMs, startMs + 1_000)).toEqual({
      total: 102,
      completed: 76,
      failed: 26,
      avgMs: 500,
      minMs: 0,
      maxMs: 1_000,
      p50Ms: 500,
      p95Ms: 950,
      p99Ms: 990,
    });
    expect(await at.store.countInteractions(mcpId)).toMatchObject({ total: 105, active: 1, completed: 78, failed: 26 });
    const [firstMs, lastMs] = [Date.parse("0001-01-01T00:00:00Z"), Date.parse("9999-12-31T23:59:59Z")];
    expect(await at.store.readPerformance(mcpId, firstMs, lastMs)).toMatchObject({ total: 104, completed: 78, failed: 26 });
    expect(await at.store.readPerformance(mcpId, lastMs - 1_000, lastMs)).toMatchObject({ total: 0 });
    const empty = { avgMs: undefined, minMs: undefined, maxMs: undefined, p50Ms: undefined, p95Ms: undefined, p99Ms: undefined };
    expect(await at.store.readPerformance(freshName("mcp"), startMs, startMs + 1)).toEqual({ total: 0, completed: 0, failed: 0, ...empty });
  });

  at.story("a publisher whose term has passed publishes nothing", async () => {
    const first = await at.store.acquireTerm();
    const publication: Publication = {
      term: first.term,
      version: first.version + 1,
      digest: "0123456789abcdef",
      routes: [{ mcpId: "a", weight: 10_000, state: "active", why: [{ name: "errors", contribution: -0.5 }] }],
      policyId: "p",
      reason: "initial",
      publishedAtMs: 1_700_000_000_123,
    };
    expect(await at.store.publish(publication)).toBe(true);
    expect(await at.store.publish(publication), "a retry after a lost answer").toBe(true);
    const second = await at.store.acquireTerm();
    expect(second).toEqual({ term: first.term + 1, version: publication.version });
    expect(await at.store.publish({ ...publication, version: publication.version + 1 })).toBe(false);
    expect(await at.store.readPublication()).toEqual(publication);
    expect(await at.store.publish({ ...publication, term: second.term, version: publication.version + 1 })).toBe(true);
    expect(await at.store.readPublication()).toMatchObject({ term: second.term, version: publication.version + 1 });
  });

  at.story("keeps the last ack of each producer, whatever arrives late", async () => {
    const [one, two] = [freshName("p"), freshName("p")];
    const ack = (producerId: string, status: AckedRoutes["status"], ackedAtMs: number): AckedRoutes => ({
      producerId,
      mcpId: "mcp",
      status,
      term: 1,
      version: 2,
      digest: "d",
      detail: "because",
      ackedAtMs,
      answered: { term: 1, version: 3, digest: "e" },
      rejection: status === "rejected" ? "content" : undefined,
      verdicts: status === "rejected" ? [{ mcpId: "a", reason: "because" }] : [],
      applyTimeMs: 1.25,
      ackDelayMs: status === "expired" ? undefined : 12.5,
    });
    const nowMs = Date.now();
    await at.store.recordAcks([]);
    await at.store.recordAcks([ack(one, "received", nowMs), ack(two, "rejected", nowMs), ack(one, "applied", nowMs)]);
    await at.store.recordAcks([ack(one, "expired", nowMs - 1)]);
    const listed = await at.store.listAcks(10);
    expect(listed.filter((found) => found.producerId === one)).toEqual([ack(one, "applied", nowMs)]);
    expect(listed.filter((found) => found.producerId === two)).toEqual([ack(two, "rejected", nowMs)]);
  });

  at.story("has one instance key, which every opening finds again", async () => {
    const key = await at.store.instanceKey();
    expect(key).toMatch(/^[0-9a-f]{64}$/);
    expect(await at.store.instanceKey()).toBe(key);
  });

  at.story("makes partitions a week ahead, drops those past retention, and refuses their events from then on", async () => {
    const today = Math.floor(Date.now() / dayMs);
    expect(await at.store.maintain(Date.now())).toMatchObject({ partitionsCreated: [], partitionsDropped: [], daysAhead: 7 });
    const old = newEvent({
      mcpId: freshName("mcp"),
      eventId: freshId(Date.now() - 7 * dayMs),
      occurredAtUs: (Date.now() - 7 * dayMs) * 1000,
    });
    await at.store.append(0, [old]);
    const long = { mcpId: old.mcpId, interactionId: "long" };
    await at.store.append(0, [newEvent({ ...long, eventId: freshId(Date.now() - 7 * dayMs) }), newEvent(long)]);
    expect(await at.store.tallyInteractions(old.mcpId, ["long"])).toMatchObject([{ storedEvents: 2, mergedEvents: 2 }]);
    const laterMs = Date.now() + 24 * dayMs;
    const report = await at.store.maintain(laterMs, laterMs);
    expect(report.partitionsCreated).toContain(partitionName(today + 31));
    expect(report.partitionsDropped).toEqual([partitionName(today - 7)]);
    expect(report.daysAhead).toBe(7);
    expect(report.interactionsDeleted).toBe(1);
    expect(await at.store.readInteraction(old.mcpId, old.interactionId)).toBeUndefined();
    expect(await at.store.tallyInteractions(old.mcpId, ["long"]), "what is left is not taken for a lost or doubled event").toMatchObject([
      { storedEvents: 1, mergedEvents: 0 },
    ]);
    await expect(at.store.append(0, [old])).rejects.toMatchObject({ kind: "poison" });
  });

  at.story(
    "makes the partition of a day that maintenance has not come to, after a sleep longer than partitions are made ahead",
    async () => {
      const sleptMs = Date.now() + 60 * dayMs;
      const [mcpId, today] = [freshName("mcp"), Math.floor(sleptMs / dayMs)];
      const events = [
        newEvent({ mcpId, eventId: freshId(sleptMs) }),
        newEvent({ mcpId, eventId: freshId(sleptMs + dayMs) }),
        newEvent({ mcpId }),
      ];
      expect(await at.store.append(0, events)).toMatchObject([{ kind: "stored" }, { kind: "stored" }, { kind: "stored" }]);
      expect(await at.store.append(0, events)).toMatchObject([{ kind: "duplicate" }, { kind: "duplicate" }, { kind: "duplicate" }]);
      const appendOfDay3 = (lane: number) =>
        at.store.append(lane % at.store.laneCount, [newEvent({ mcpId, eventId: freshId(sleptMs + 2 * dayMs) })]);
      expect((await Promise.all([0, 1, 2].map(appendOfDay3))).flat(), "several lanes at once").toMatchObject(
        Array.from({ length: 3 }, () => ({ kind: "stored" })),
      );
      expect((await at.store.maintain(sleptMs, Date.now())).partitionsCreated).not.toContain(partitionName(today));
    },
  );

  at.story("keeps an interaction for as long as its events, however long ago they say that they happened", async () => {
    // A device whose clock stands in 1970 until somebody sets it, and a report of what happened last year.
    const [mcpId, aYearAgoUs] = [freshName("mcp"), (Date.now() - 365 * dayMs) * 1000];
    await at.store.append(0, [
      newEvent({ mcpId, interactionId: "1970", occurredAtUs: 1, kind: "start" }),
      newEvent({ mcpId, interactionId: "history", occurredAtUs: aYearAgoUs, kind: "start" }),
      newEvent({ mcpId, interactionId: "history", occurredAtUs: aYearAgoUs + 5, kind: "complete" }),
    ]);
    expect((await at.store.maintain(Date.now())).interactionsDeleted).toBe(0);
    expect(await at.store.readInteraction(mcpId, "1970")).toMatchObject({ eventCount: 1, startedAtUs: 1 });
    expect(await at.store.readInteraction(mcpId, "history")).toMatchObject({ eventCount: 2, state: "completed" });
  });

  at.story("throws nothing away because of a coordinator whose clock is a year ahead", async () => {
    const [event, aYearMs] = [newEvent({ mcpId: freshName("mcp") }), 365 * dayMs];
    await at.store.append(0, [event]);
    const { partitionsDropped, interactionsDeleted, clockAheadMs, daysAhead } = await at.store.maintain(Date.now() + aYearMs);
    expect([partitionsDropped, interactionsDeleted, daysAhead]).toEqual([[], 0, 7]);
    expect(Math.abs(clockAheadMs - aYearMs)).toBeLessThan(dayMs);
    expect(await at.store.readInteraction(event.mcpId, event.interactionId)).toBeDefined();
    // One that is behind keeps what others would throw away.
    expect(await at.store.maintain(Date.now() - aYearMs, Date.now())).toMatchObject({ partitionsDropped: [], interactionsDeleted: 0 });
  });

  at.story("deletes the oldest interactions above the bound, and several coordinators may do so at once", async () => {
    const mcpId = freshName("mcp");
    const events = Array.from({ length: 700 }, (_, index) =>
      newEvent({ mcpId, interactionId: `i-${index}`, occurredAtUs: (Date.now() + 60_000 + index * 10_000) * 1000 }),
    );
    await appendAll(events);
    const before = (await at.store.countInteractions(undefined)).total;
    await Promise.all([at.store.maintain(Date.now()), at.store.maintain(Date.now())]);
    await at.store.maintain(Date.now());
    expect(before).toBeGreaterThan(700);
    expect((await at.store.countInteractions(undefined)).total).toBe(500);
    expect(await at.store.readInteraction(mcpId, "i-199")).toBeUndefined();
    expect(await at.store.readInteraction(mcpId, "i-200")).toBeDefined();
  });

  at.story("keeps its promise line free of secrets, and answers a ping", async () => {
    expect(at.store.promise).toMatch(
      each.kind === "postgres" ? /^Postgres \d+.* at 127\.0\.0\.1:\d+\/postgres: / : /^embedded database \(PGlite\) in /,
    );
    await at.store.ping();
  });
});

describe.runIf(storeKinds.every((entry) => entry.skip === undefined))("the schema", () => {
  let home: StoreHome;
  let store: Store;
  let sql: postgres.Sql;
  beforeAll(async () => {
    home = await createStoreHome("postgres");
    store = await home.open();
    sql = postgres(home.postgres?.url ?? "", { max: 1, onnotice: () => {} });
  });
  afterAll(async () => {
    await sql?.end();
    await store?.close();
    await home?.[Symbol.asyncDispose]();
  });

  it("has the columns that Drizzle reads: same names, types and nullability, and no table more", async () => {
    const columns = await sql<{ table: string; column: string; type: string; nullable: boolean }[]>`
      SELECT c.relname AS "table", a.attname AS "column", format_type(a.atttypid, a.atttypmod) AS type, NOT a.attnotnull AS nullable
      FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
      WHERE n.nspname = 'public' AND c.relname <> 'coordinator_migration' AND c.relkind IN ('r', 'p') AND NOT c.relispartition AND a.attnum > 0 AND NOT a.attisdropped`;
    const line = (table: string, column: string, type: string, nullable: boolean) =>
      `${table}.${column} ${type}${nullable ? "" : " not null"}`;
    const known = tables.flatMap((table) => {
      const keys = new Set(getTableConfig(table).primaryKeys.flatMap((key) => key.columns.map((column) => column.name)));
      return Object.values(getTableColumns(table)).map((column) =>
        line(getTableName(table), column.name, column.getSQLType(), !column.notNull && !column.primary && !keys.has(column.name)),
      );
    });
    expect(columns.map((found) => line(found.table, found.column, found.type, found.nullable)).sort()).toEqual(known.sort());
  });

  const planOf = async (query: string): Promise<string> => {
    const rows = await sql.begin(async (transaction) => {
      // A small table is read whole whatever indexes it has; what counts is which index serves.
      await transaction`SET LOCAL enable_seqscan = off`;
      return transaction.unsafe<{ "QUERY PLAN": string }[]>(`EXPLAIN ${query}`);
    });
    return rows.map((row) => row["QUERY PLAN"]).join("\n");
  };

  it.each([
    ["about one MCP", "chosen = 'ocr_001'", "chosen_decision_id_idx"],
    ["under one policy", "policy_id = 'least-requests/1'", "policy_id_decision_id_idx"],
    ["of one policy about one MCP", "policy_id = 'least-requests/1' AND chosen = 'ocr_001'", "_decision_id_idx"],
  ])("serves a page of the decisions %s from an index, in their order", async (_, condition, index) => {
    const plan = await planOf(`SELECT * FROM route_decision WHERE ${condition} ORDER BY decision_id LIMIT 100`);
    expect(plan).toContain(index);
    expect(plan).not.toContain("Sort ");
  });

  it.each([
    ["a list", "ORDER BY last_event_slot DESC, last_event_at DESC, mcp_id DESC, interaction_id DESC LIMIT 10", "interaction_recent"],
    ["a list of one MCP", "WHERE mcp_id = 'm-1' ORDER BY last_event_slot DESC, last_event_at DESC LIMIT 10", "interaction_mcp_recent"],
    ["one interaction", "WHERE mcp_id = 'm-1' AND interaction_id = 'b'", "interaction_pkey"],
    ["a range of start times", "WHERE started_at BETWEEN now() - interval '1 hour' AND now()", "interaction_started_at"],
    ["a range of creation times", "WHERE created_at > now() - interval '1 hour'", "interaction_created_at"],
  ])("serves %s from an index", async (_, rest, index) => {
    await store.append(
      0,
      Array.from({ length: 500 }, (_, i) =>
        newEvent({ mcpId: `m-${i % 50}`, interactionId: freshName("i"), occurredAtUs: (Date.now() - i * 60_000) * 1000 }),
      ),
    );
    await sql`ANALYZE interaction`;
    expect(await planOf(`SELECT * FROM interaction ${rest}`)).toContain(index);
  });

  it("looks into one partition for the ids of one day", async () => {
    const [id, name] = [freshId(Date.now()), partitionName(Math.floor(Date.now() / dayMs))];
    const plan = await planOf(
      `SELECT * FROM interaction_event WHERE event_id >= '${id}' AND event_id <= '${id}' AND event_id = ANY('{${id}}')`,
    );
    expect([...new Set(plan.match(/interaction_event_\d{8}/g))]).toEqual([name]);
  });
});
