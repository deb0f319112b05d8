import { create, toBinary } from "@bufbuild/protobuf";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { EventStatus, InteractionEventSchema } from "../../gen/mcp/coordinator/v1/events_pb.js";
import { InteractionService, VerifyEventsRequestSchema } from "../../gen/mcp/coordinator/v1/interaction_service_pb.js";
import { deadLetterKey, verdictKeyPrefix } from "../../src/interaction/redis-contract.js";
import { mintUuidV7 } from "../../src/platform/uuid-v7.js";
import { type CoordinatorOptions, type RunningCoordinator, startCoordinatorProcess } from "../support/coordinator.js";
import { callUnary, openGrpcClient } from "../support/grpc-client.js";
import { makeEvent } from "../support/make-event.js";
import { freshName } from "../support/new-event.js";
import { postgresSkipReason, type RunningPostgres, startPostgres } from "../support/postgres.js";
import { type RunningRedis, redisSkipReason, startRedis } from "../support/redis.js";

const group = "mcp-coordinators";
const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

/** Waits until `found` gives something, for at most four minutes. */
async function until<T>(what: string, found: () => Promise<T | undefined | false>): Promise<T> {
  const untilMs = Date.now() + 240_000;
  for (;;) {
    const value = await found();
    if (value !== undefined && value !== false) return value;
    if (Date.now() > untilMs) throw new Error(`not within four minutes: ${what}`);
    await sleep(20);
  }
}

/** Fields of an entry as Redis' answer has them. */
function fieldsOf(flat: readonly string[]): Readonly<Record<string, string>> {
  return Object.fromEntries(flat.flatMap((name, i) => (i % 2 === 0 ? [[name, flat[i + 1] ?? ""]] : [])));
}

const stores = [
  { kind: "embedded", skip: redisSkipReason() },
  { kind: "postgres", skip: redisSkipReason() ?? postgresSkipReason() },
] as const;

describe.each(stores)("reports from a Redis stream into the $kind store", ({ kind, skip }) => {
  let postgres: RunningPostgres | undefined;
  let redis: RunningRedis;
  const running: RunningCoordinator[] = [];
  let databaseUrl: string | undefined;

  beforeAll(async () => {
    if (skip !== undefined) return;
    if (kind === "postgres") postgres = await startPostgres();
    redis = await startRedis({ appendfsync: "always" });
  });
  afterEach(async () => {
    for (const coordinator of running.splice(0)) await coordinator.stop();
    databaseUrl = undefined;
  });
  afterAll(async () => {
    await redis?.[Symbol.asyncDispose]();
    await postgres?.[Symbol.asyncDispose]();
  });

  /** A stream that no other test uses, and a coordinator that reads it. */
  async function start(stream: string, settings = "", more: CoordinatorOptions = {}): Promise<RunningCoordinator> {
    if (postgres !== undefined) databaseUrl ??= await postgres.createDatabase(freshName("db").replaceAll("-", "_"));
    const config = `${more.config ?? ""}\n[redis]\nurl = "${redis.url}"\nstream = "${stream}"\nblock_ms = 200\n${settings}\n`;
    const coordinator = await startCoordinatorProcess({ ...(databaseUrl === undefined ? {} : { databaseUrl }), ...more, config });
    running.push(coordinator);
    return coordinator;
  }

  const binary = (eventId: string, more = {}) =>
    Buffer.from(toBinary(InteractionEventSchema, create(InteractionEventSchema, makeEvent({ eventId, ...more }))));
  const json = (eventId: string, more = {}) => JSON.stringify({ event: { ...eventJson(eventId), ...more } });
  const eventJson = (eventId: string) => ({
    eventId,
    mcpId: "demo",
    interactionId: "i-1",
    occurredAt: new Date().toISOString(),
    start: { requestType: "search" },
  });

  async function statusesOf(coordinator: RunningCoordinator, eventIds: readonly string[]): Promise<readonly EventStatus[]> {
    const client = openGrpcClient(coordinator.target);
    try {
      const statuses: EventStatus[] = [];
      for (let i = 0; i < eventIds.length; i += 1_000) {
        const request = create(VerifyEventsRequestSchema, { mcpId: "demo", eventIds: eventIds.slice(i, i + 1_000) });
        const { response } = await callUnary(client, InteractionService.method.verifyEvents, request);
        statuses.push(...(response?.acks ?? []).map(({ status }) => status));
      }
      return statuses;
    } finally {
      client.close();
    }
  }

  /** Waits until nothing of the stream is unread or unacknowledged. */
  async function untilTaken(stream: string): Promise<void> {
    await until(`everything of ${stream} is acknowledged`, async () => {
      const groups = (await redis.client.xinfo("GROUPS", stream).catch(() => [])) as unknown[][];
      const own = groups.map((flat) => fieldsOf(flat.map(String))).find(({ name }) => name === group);
      const info = fieldsOf(((await redis.client.xinfo("STREAM", stream).catch(() => [])) as unknown[]).map(String));
      return own?.pending === "0" && own["last-delivered-id"] === info["last-generated-id"];
    });
  }

  async function addMany(stream: string, count: number): Promise<readonly string[]> {
    const ids = Array.from({ length: count }, () => mintUuidV7());
    for (let i = 0; i < ids.length; i += 500) {
      const commands = ids.slice(i, i + 500).map((id) => ["xadd", stream, "*", "event", binary(id, { interactionId: `i-${id}` })]);
      await redis.client.pipeline(commands).exec();
    }
    return ids;
  }

  it.skipIf(skip)("stores what is in the stream, as bytes and as JSON, and acknowledges it only then", async () => {
    const stream = freshName("stream");
    const ids = [mintUuidV7(), mintUuidV7(), mintUuidV7()];
    const [first = "", second = "", third = ""] = ids;
    await redis.client.xadd(stream, "*", "event", binary(first));
    const coordinator = await start(stream);
    await redis.client.xadd(stream, "*", "report", json(second, { interactionId: "i-2" }));
    await redis.client.xadd(stream, "*", "event", JSON.stringify({ ...eventJson(third), interactionId: "i-3" }), "note", "ignored");
    await untilTaken(stream);
    expect(await statusesOf(coordinator, ids)).toEqual([EventStatus.STORED, EventStatus.STORED, EventStatus.STORED]);
    expect(await redis.client.exists(deadLetterKey(stream))).toBe(0);
  });

  it.skipIf(skip)("tells a producer that waits what became of its event, and of the same event again", async () => {
    const stream = freshName("stream");
    await start(stream);
    const replyTo = `${verdictKeyPrefix(stream)}p1`;
    const id = mintUuidV7();
    const entry = binary(id);
    const added = await redis.client.xadd(stream, "*", "event", entry, "reply_to", replyTo);
    await redis.client.xadd(stream, "*", "event", entry, "reply_to", replyTo);
    await redis.client.xadd(stream, "*", "event", binary(mintUuidV7(), { mcpId: "" }), "reply_to", replyTo);
    const replies = await until("three verdicts", async () => {
      const found = await redis.client.xrange(replyTo, "-", "+");
      return found.length === 3 && found.map(([, flat]) => fieldsOf(flat));
    });
    // In the order in which they were decided: what needs no store comes first.
    expect(new Map(replies.map((reply) => [reply.verdict, reply]))).toMatchObject(
      new Map([
        ["STORED", { entry: added, event_id: id, retryable: "0", reason: "" }],
        ["DUPLICATE", { event_id: id, retryable: "0" }],
        ["INVALID", { retryable: "0", reason: expect.stringContaining("mcp_id: REQUIRED") }],
      ]),
    );
    expect(await redis.client.pttl(replyTo)).toBeGreaterThan(0);
  });

  it.skipIf(skip)("takes the documented `xadd(stream, interaction_data)`: the fields of the entry are the report", async () => {
    const stream = freshName("stream");
    const replyTo = `${verdictKeyPrefix(stream)}p1`;
    await start(stream);
    const report = { interaction_id: "int_1", mcp_id: "ocr_workflow_mcp_001", timestamp: String(Date.now() / 1000), reply_to: replyTo };
    const started = { ...report, action: "interaction_start", request_data: JSON.stringify({ request_type: "ocr" }) };
    const ended = { ...report, action: "interaction_complete", result_data: JSON.stringify({ success: true, processing_time: 1.5 }) };
    for (const fields of [started, ended, { ...ended, action: "interaction_explode" }]) {
      await redis.client.xadd(stream, "*", ...Object.entries(fields).flat());
    }
    await untilTaken(stream);
    const replies = (await redis.client.xrange(replyTo, "-", "+")).map(([, flat]) => fieldsOf(flat));
    expect(replies.map(({ verdict }) => verdict).sort()).toEqual(["INVALID", "STORED", "STORED"]);
    expect(replies.find(({ verdict }) => verdict === "INVALID")?.reason).toContain("action: MALFORMED");
  });

  it.skipIf(skip)("sets poison aside with its reason and its fields, and its neighbours are stored", async () => {
    const stream = freshName("stream");
    const coordinator = await start(stream);
    const good = [mintUuidV7(), mintUuidV7()];
    const poison: readonly (readonly [string[] | [string, Buffer], string])[] = [
      [["report", "{not json"], "report: MALFORMED"],
      [["report", "[]"], "report: MALFORMED"],
      [["report", "{}", "event", "{}"], "report: AMBIGUOUS"],
      [["event", Buffer.from([0xff, 0xff, 0xff])], "event: MALFORMED"],
      [["api_key", "only"], "report: REQUIRED"],
      [["report", json(mintUuidV7()), "report", json(mintUuidV7())], "report: REPEATED"],
      [["report", json(mintUuidV7()), "reply_to", "some-other-key"], "reply_to: NOT_ALLOWED"],
      [["report", json(mintUuidV7(), { interactionId: "" })], "interaction_id: REQUIRED"],
      [["report", "x".repeat(1024 * 1024 + 1)], "entry: TOO_LARGE"],
    ];
    await redis.client.xadd(stream, "*", "event", binary(good[0] ?? ""));
    for (const [fields] of poison) await redis.client.call("xadd", stream, "*", ...fields);
    await redis.client.xadd(stream, "*", "event", binary(good[1] ?? "", { interactionId: "i-2" }), "api_key", "not asked for");
    await untilTaken(stream);
    expect(await statusesOf(coordinator, good)).toEqual([EventStatus.STORED, EventStatus.STORED]);
    const dead = (await redis.client.xrange(deadLetterKey(stream), "-", "+")).map(([, flat]) => fieldsOf(flat));
    expect(dead.map(({ dead_reason }) => dead_reason)).toEqual(poison.map(([, reason]) => expect.stringContaining(reason)));
    expect(dead[0]).toMatchObject({ report: "{not json", dead_verdict: "INVALID", dead_deliveries: "1" });
    expect(dead[4], "keys are not kept").not.toHaveProperty("api_key");
    expect(await redis.client.exists("some-other-key")).toBe(0);
  });

  it.skipIf(skip)("asks for a key in the entry when the coordinator asks for keys, and lets no key report for another MCP", async () => {
    const stream = freshName("stream");
    const key = "sk-story-0123456789abcdef";
    const coordinator = await start(stream, "", {
      config: `[[auth.keys]]\nid = "demo-key"\nmcp_id = "demo"\nkey = "${key}"\n`,
    });
    const replyTo = `${verdictKeyPrefix(stream)}p1`;
    const id = mintUuidV7();
    await redis.client.xadd(stream, "*", "event", binary(id, { mcpId: "" }), "api_key", key, "reply_to", replyTo);
    await redis.client.xadd(stream, "*", "event", binary(mintUuidV7()), "reply_to", replyTo);
    await redis.client.xadd(stream, "*", "event", binary(mintUuidV7()), "api_key", "sk-wrong-0123456789");
    await redis.client.xadd(stream, "*", "event", binary(mintUuidV7(), { mcpId: "other" }), "api_key", key);
    await untilTaken(stream);
    const replies = (await redis.client.xrange(replyTo, "-", "+")).map(([, flat]) => fieldsOf(flat));
    expect(new Map(replies.map((reply) => [reply.verdict, reply.reason]))).toEqual(
      new Map([
        ["STORED", ""],
        ["PERMISSION_DENIED", expect.stringContaining("api_key: KEY_MISSING")],
      ]),
    );
    const dead = (await redis.client.xrange(deadLetterKey(stream), "-", "+")).map(([, flat]) => fieldsOf(flat));
    expect(dead.map(({ dead_reason }) => dead_reason)).toEqual([expect.stringContaining("api_key: KEY_UNKNOWN"), expect.anything()]);
    expect(dead.map(({ dead_verdict }) => dead_verdict)).toEqual(["PERMISSION_DENIED", "PERMISSION_DENIED"]);
    expect(coordinator.log()).not.toContain("sk-wrong");
  });

  it.skipIf(skip)("takes up a new group after FLUSHALL, and goes on", async () => {
    const stream = freshName("stream");
    const coordinator = await start(stream);
    const [before] = await addMany(stream, 1);
    await untilTaken(stream);
    await redis.client.flushall();
    const after = await addMany(stream, 10);
    await untilTaken(stream);
    const statuses = await statusesOf(coordinator, [before ?? "", ...after]);
    expect(new Set(statuses)).toEqual(new Set([EventStatus.STORED]));
  });

  it.skipIf(skip)("waits while the key of the stream holds something else, and reads as soon as it does not", async () => {
    const stream = freshName("stream");
    await redis.client.set(stream, "a text");
    const coordinator = await start(stream);
    await until("it says why", async () => coordinator.log().includes("WRONGTYPE"));
    await redis.client.del(stream);
    const ids = await addMany(stream, 5);
    await untilTaken(stream);
    expect(new Set(await statusesOf(coordinator, ids))).toEqual(new Set([EventStatus.STORED]));
  });

  it.skipIf(skip)("loses nothing that Redis had kept when Redis is killed again and again under load", async () => {
    const stream = freshName("stream");
    const coordinator = await start(stream);
    const ids: string[] = [];
    for (let round = 0; round < 4; round += 1) {
      ids.push(...(await addMany(stream, 1_000)));
      await sleep(30 * round);
      await redis.kill();
      await redis.start();
    }
    await untilTaken(stream);
    expect((await statusesOf(coordinator, ids)).filter((status) => status !== EventStatus.STORED)).toEqual([]);
    await expect.poll(() => coordinator.log()).toContain("Redis cannot be used");
  });

  it.skipIf(skip)("stores what a killed coordinator had taken and not acknowledged, once", async () => {
    const stream = freshName("stream");
    const first = await start(stream, "claim_idle_ms = 500");
    const ids = await addMany(stream, 4_000);
    first.signal("SIGKILL");
    await first.exited;
    const second = await start(stream, "claim_idle_ms = 500", kind === "embedded" ? { dataDir: first.dataDir } : {});
    await untilTaken(stream);
    expect((await statusesOf(second, ids)).filter((status) => status !== EventStatus.STORED)).toEqual([]);
  });

  it.skipIf(skip)("finishes and acknowledges what it has read when it is drained", async () => {
    const stream = freshName("stream");
    const coordinator = await start(stream);
    await addMany(stream, 3_000);
    const readOf = async () => ((await redis.client.xinfo("GROUPS", stream)) as unknown[][]).map((flat) => fieldsOf(flat.map(String)));
    await until("it has begun to read", async () => (await readOf()).some((one) => one["last-delivered-id"] !== "0-0"));
    coordinator.signal("SIGTERM");
    expect(await coordinator.exited).toBe(0);
    const [pending] = (await redis.client.xpending(stream, group)) as [number];
    expect(pending).toBe(0);
  });

  it.skipIf(skip)("gives an entry up after five deliveries that came to nothing", async () => {
    const stream = freshName("stream");
    const id = mintUuidV7();
    await redis.client.xadd(stream, "*", "event", binary(id), "reply_to", `${verdictKeyPrefix(stream)}p1`);
    await redis.client.xgroup("CREATE", stream, group, "0");
    await redis.client.xreadgroup("GROUP", group, "victim-1", "STREAMS", stream, ">");
    const [[entry]] = (await redis.client.xpending(stream, group, "-", "+", 1)) as [[string]];
    for (let victim = 2; victim <= 5; victim += 1) await redis.client.xclaim(stream, group, `victim-${victim}`, 0, entry);
    const coordinator = await start(stream, "claim_idle_ms = 100");
    await untilTaken(stream);
    const [dead] = (await redis.client.xrange(deadLetterKey(stream), "-", "+")).map(([, flat]) => fieldsOf(flat));
    expect(dead).toMatchObject({ dead_entry: entry, dead_deliveries: "6", dead_reason: expect.stringContaining("TOO_MANY_DELIVERIES") });
    expect(await statusesOf(coordinator, [id])).toEqual([EventStatus.NOT_FOUND]);
  });

  it.skipIf(skip)("says so when entries were trimmed before they were read, and stores the rest", async () => {
    const stream = freshName("stream");
    const ids = await addMany(stream, 10);
    await redis.client.xgroup("CREATE", stream, group, "0");
    await redis.client.xreadgroup("GROUP", group, "victim", "COUNT", 2, "STREAMS", stream, ">");
    await redis.client.xtrim(stream, "MAXLEN", 4);
    const coordinator = await start(stream, "claim_idle_ms = 100");
    await untilTaken(stream);
    expect(await statusesOf(coordinator, ids)).toEqual(ids.map((_, i) => (i < 6 ? EventStatus.NOT_FOUND : EventStatus.STORED)));
    await expect.poll(() => coordinator.log().match(/an entry was trimmed before it was stored/g)).toHaveLength(2);
    const metrics = async () => (await fetch(`${coordinator.webUrl}/metrics`)).text();
    // Two that a consumer had been given, for certain; of the four that nobody had read as many as Redis still told.
    await expect.poll(metrics).toMatch(/^mcp_coordinator_transport_dropped_total\{transport="redis"\} [2-6]$/m);
    expect(await metrics()).not.toMatch(/dropped_total\{transport="(grpc|http|table)"\}/);
  });

  it.skipIf(skip)("keeps the stream short by trimming what is acknowledged, and never what another group has not read", async () => {
    const stream = freshName("stream");
    await redis.client.xgroup("CREATE", stream, "others", "0", "MKSTREAM");
    const coordinator = await start(stream, "max_len = 100");
    const ids = await addMany(stream, 1_000);
    await untilTaken(stream);
    await sleep(2_500);
    expect(await redis.client.xlen(stream)).toBe(1_000);
    await redis.client.xgroup("SETID", stream, "others", "$");
    await until("the stream is short", async () => (await redis.client.xlen(stream)) <= 200);
    expect((await statusesOf(coordinator, ids)).filter((status) => status !== EventStatus.STORED)).toEqual([]);
  });

  it.skipIf(skip)(
    "trims a stream long before it is so long that careful producers hold back: what is done with must not keep them away",
    async () => {
      const stream = freshName("stream");
      await start(stream, "max_len = 600");
      await addMany(stream, 300);
      await until("what is done with is gone", async () => (await redis.client.xlen(stream)) < 300);
    },
  );
});
