import { create } from "@bufbuild/protobuf";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { EventStatus } from "../../gen/mcp/coordinator/v1/events_pb.js";
import { InteractionService, VerifyEventsRequestSchema } from "../../gen/mcp/coordinator/v1/interaction_service_pb.js";
import { createRedisTransport, type RedisTransportOptions } from "../../src/client/transports/redis.js";
import type { OutgoingEvent, Settlement, Transport } from "../../src/client/transports/transport.js";
import { mintUuidV7 } from "../../src/platform/uuid-v7.js";
import { type RunningCoordinator, startCoordinatorProcess } from "../support/coordinator.js";
import { callUnary, openGrpcClient } from "../support/grpc-client.js";
import { makeEvent } from "../support/make-event.js";
import { freshName } from "../support/new-event.js";
import { postgresSkipReason, type RunningPostgres, startPostgres } from "../support/postgres.js";
import { type RunningRedis, redisSkipReason, startRedis } from "../support/redis.js";

const skip = redisSkipReason() ?? postgresSkipReason();
const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

/** A transport that keeps what it is given until it is settled for good, as a spool does. */
type Reporter = {
  readonly transport: Transport;
  readonly settled: ReadonlyMap<string, Settlement>;
  /** Reports an event; it is offered until it is settled. */
  readonly report: (event: OutgoingEvent) => void;
  /** Resolves when everything reported is settled for good. */
  readonly flush: () => Promise<void>;
};

function createReporter(options: RedisTransportOptions): Reporter {
  const settled = new Map<string, Settlement>();
  const kept = new Map<string, OutgoingEvent>();
  const offered = new Set<string>();
  const pump = (): void => {
    const due = [...kept.values()].filter(({ eventId }) => !offered.has(eventId));
    const count = transport.offer(due);
    for (const { eventId } of due.slice(0, count)) offered.add(eventId);
  };
  const transport = createRedisTransport(options, {
    onSettled: (settlement) => {
      offered.delete(settlement.eventId);
      if (settlement.outcome === "deferred") return;
      kept.delete(settlement.eventId);
      settled.set(settlement.eventId, settlement);
    },
    onChange: () => setImmediate(pump),
  });
  return {
    transport,
    settled,
    report: (event) => {
      kept.set(event.eventId, event);
    },
    flush: async () => {
      const untilMs = Date.now() + 180_000;
      while (kept.size > 0) {
        if (Date.now() > untilMs) throw new Error(`${kept.size} events are not settled; health: ${JSON.stringify(transport.health())}`);
        pump();
        await sleep(20);
      }
    },
  };
}

const outgoing = (): OutgoingEvent => {
  const eventId = mintUuidV7();
  return { eventId, event: makeEvent({ interactionId: `i-${eventId}` }) };
};

describe.skipIf(skip)("reporting through a Redis stream", () => {
  let postgres: RunningPostgres;
  let redis: RunningRedis;
  const running: RunningCoordinator[] = [];
  const transports: Transport[] = [];
  beforeAll(async () => {
    postgres = await startPostgres();
  });
  afterEach(async () => {
    for (const transport of transports.splice(0)) await transport.stop(0);
    for (const coordinator of running.splice(0)) await coordinator.stop();
    await redis?.[Symbol.asyncDispose]();
  });
  afterAll(async () => {
    await postgres?.[Symbol.asyncDispose]();
  });

  async function start(databaseUrl: string, more = ""): Promise<RunningCoordinator> {
    const config = `${more}\n[redis]\nurl = "${redis.url}"\nblock_ms = 200\nclaim_idle_ms = 1000\n`;
    const coordinator = await startCoordinatorProcess({ databaseUrl, config });
    running.push(coordinator);
    return coordinator;
  }
  const newDatabase = () => postgres.createDatabase(freshName("db").replaceAll("-", "_"));
  function reporter(more: Partial<RedisTransportOptions> = {}): Reporter {
    const made = createReporter({ url: redis.url, verdictMaxMs: 3_000, ...more });
    transports.push(made.transport);
    return made;
  }

  async function missing(coordinator: RunningCoordinator, eventIds: readonly string[]): Promise<readonly string[]> {
    const client = openGrpcClient(coordinator.target);
    const lost: string[] = [];
    for (let i = 0; i < eventIds.length; i += 1_000) {
      const request = create(VerifyEventsRequestSchema, { mcpId: "demo", eventIds: eventIds.slice(i, i + 1_000) });
      const { response } = await callUnary(client, InteractionService.method.verifyEvents, request);
      lost.push(...(response?.acks ?? []).filter(({ status }) => status !== EventStatus.STORED).map(({ eventId }) => eventId));
    }
    client.close();
    return lost;
  }

  it("settles an event by the coordinator's verdict: stored, repeated, refused", async () => {
    redis = await startRedis();
    const coordinator = await start(await newDatabase());
    const sent = reporter({ verdictMaxMs: 60_000 }); // asked again sooner, it would be a duplicate
    const good = outgoing();
    const bad = { ...outgoing(), event: makeEvent({ interactionId: "" }) };
    sent.report(good);
    sent.report(bad);
    await sent.transport.probe();
    await sent.flush();
    expect(sent.settled.get(good.eventId)).toMatchObject({ outcome: "stored", reason: "" });
    expect(sent.settled.get(bad.eventId)).toMatchObject({
      outcome: "rejected",
      reason: expect.stringContaining("interaction_id: REQUIRED"),
    });
    sent.report(good);
    await sent.flush();
    expect(sent.settled.get(good.eventId)).toMatchObject({ outcome: "duplicate" });
    expect(await missing(coordinator, [good.eventId])).toEqual([]);
  });

  it("says what is wrong while nobody reads, while the stream is full, and while Redis is gone; and goes on by itself", async () => {
    redis = await startRedis({ password: "open-sesame" });
    const sent = reporter({ maxLen: 10, verdictMaxMs: 60_000 });
    await sent.transport.probe();
    expect(sent.transport.health()).toMatchObject({ state: "down", why: expect.stringContaining("no coordinator reads") });
    expect(sent.transport.offer([outgoing()])).toBe(0);
    const wrong = reporter({ url: redis.url.replace("sesame", "says-me") });
    await wrong.transport.probe();
    expect(wrong.transport.health()).toMatchObject({ state: "down", why: expect.stringContaining("WRONGPASS") });
    await start(await newDatabase());
    const one = outgoing();
    sent.report(one);
    await sent.flush();
    for (let i = 0; i < 12; i += 1) await redis.client.xadd("mcp:interactions", "*", "report", "{}");
    await sent.transport.probe();
    expect(sent.transport.health()).toMatchObject({ state: "down", why: expect.stringContaining("full") });
    await redis.kill();
    const probed = reporter();
    await probed.transport.probe();
    expect(probed.transport.health()).toMatchObject({ state: "down", why: expect.stringContaining("ECONNREFUSED") });
    await redis.start();
    const two = outgoing();
    sent.report(two);
    await sent.flush();
    expect(sent.settled.get(two.eventId)?.outcome).toBe("stored");
  });

  it("keeps events that a key cannot bring, and brings them with a better one", async () => {
    redis = await startRedis();
    const key = "sk-story-0123456789abcdef";
    await start(await newDatabase(), `[[auth.keys]]\nid = "demo-key"\nmcp_id = "demo"\nkey = "${key}"\n`);
    const event = outgoing();
    const settlements: Settlement[] = [];
    const refused = createRedisTransport({ url: redis.url }, { onSettled: (one) => settlements.push(one), onChange: () => {} });
    transports.push(refused);
    while (refused.health().state !== "up") {
      await refused.probe();
      await sleep(20);
    }
    expect(refused.offer([event])).toBe(1);
    while (settlements.length === 0) await sleep(20);
    expect(settlements).toMatchObject([{ outcome: "deferred", reason: expect.stringContaining("KEY_MISSING") }]);
    const sent = reporter({ apiKey: key });
    sent.report(event);
    await sent.flush();
    expect(sent.settled.get(event.eventId)?.outcome).toBe("stored");
  });

  it("loses nothing and stores nothing twice while Redis forgets everything, is killed, and two coordinators are killed in turn", {
    timeout: 900_000,
  }, async () => {
    redis = await startRedis({ appendfsync: "everysec" });
    const databaseUrl = await newDatabase();
    let [first, second] = [await start(databaseUrl), await start(databaseUrl)];
    const sent = reporter();
    const ids: string[] = [];
    const report = (count: number): void => {
      for (let i = 0; i < count; i += 1) {
        const event = outgoing();
        ids.push(event.eventId);
        sent.report(event);
      }
    };
    const during = async (hurt: () => Promise<unknown>): Promise<void> => {
      report(2_000);
      const flushing = sent.flush();
      await sleep(50);
      await hurt();
      await flushing;
    };
    await sent.transport.probe();
    await during(() => redis.client.flushall());
    await during(async () => {
      await redis.kill();
      await redis.start();
    });
    await during(async () => {
      first.signal("SIGKILL");
      await first.exited;
    });
    first = await start(databaseUrl);
    await during(async () => {
      second.signal("SIGKILL");
      await second.exited;
    });
    expect(ids.filter((id) => !["stored", "duplicate"].includes(sent.settled.get(id)?.outcome ?? ""))).toEqual([]);
    expect(await missing(first, ids)).toEqual([]);
    second = first;
  });
});
