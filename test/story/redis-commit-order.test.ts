import { create, toBinary } from "@bufbuild/protobuf";
import { pino } from "pino";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { InteractionEventSchema } from "../../gen/mcp/coordinator/v1/events_pb.js";
import { createIngest } from "../../src/ingest/ingest.js";
import { createRedisIntake } from "../../src/intake/redis-stream/intake.js";
import type { Transport } from "../../src/intake/transport.js";
import { systemClock } from "../../src/platform/clock.js";
import { limits } from "../../src/platform/limits.js";
import { systemRng } from "../../src/platform/rng.js";
import { mintUuidV7 } from "../../src/platform/uuid-v7.js";
import { StoreFault } from "../../src/store/store.js";
import { GatedStore } from "../support/gated-store.js";
import { makeEvent } from "../support/make-event.js";
import { freshName } from "../support/new-event.js";
import { type RunningRedis, redisSkipReason, startRedis } from "../support/redis.js";
import { startTcpProxy, type TcpProxy } from "../support/tcp-proxy.js";

const group = "mcp-coordinators";

/** Waits until something is so, for at most four minutes. */
async function until(what: string, isSo: () => Promise<boolean> | boolean): Promise<void> {
  const untilMs = Date.now() + 240_000;
  while (!(await isSo())) {
    if (Date.now() > untilMs) throw new Error(`not within four minutes: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

describe.skipIf(redisSkipReason())("entries of a Redis stream and the commit that stores them", () => {
  let redis: RunningRedis;
  let proxy: TcpProxy;
  const intakes: Transport[] = [];
  beforeAll(async () => {
    redis = await startRedis();
    proxy = await startTcpProxy(redis.port);
  });
  afterEach(async () => {
    proxy.set("pass");
    for (const intake of intakes.splice(0)) await intake.drain(0);
  });
  afterAll(async () => {
    await proxy?.[Symbol.asyncDispose]();
    await redis?.[Symbol.asyncDispose]();
  });

  /** A way in whose store answers when the test says so. */
  function start(stream: string, store: GatedStore, claimIdleMs = 60_000, coordinatorId = freshName("c")): Transport {
    const shared = { clock: systemClock, rng: systemRng, log: pino({ level: "silent" }) };
    const gated = { laneCount: 1, append: store.append, setAside: store.setAside };
    const rules = { pseudonym: (userId: string) => userId, maxClockSkewMs: 60_000, dedupeHorizonMs: 86_400_000 };
    const url = `redis://127.0.0.1:${proxy.port}`;
    const config = { stream, group, count: 100, blockMs: 50, maxLen: 100_000, claimIdleMs, maxDeliveries: 5 };
    const ingest = createIngest({ ...shared, ...rules, store: gated });
    const authenticate = () => ({ kind: "anyone" }) as const;
    const intake = createRedisIntake({ ...shared, url, config, coordinatorId, ingest, authenticate });
    intakes.push(intake);
    intake.start();
    return intake;
  }

  async function add(stream: string, count: number): Promise<void> {
    const entries = Array.from({ length: count }, () => {
      const eventId = mintUuidV7();
      const event = create(InteractionEventSchema, makeEvent({ eventId, interactionId: `i-${eventId}` }));
      return ["xadd", stream, "*", "event", Buffer.from(toBinary(InteractionEventSchema, event))];
    });
    await redis.client.pipeline(entries).exec();
  }

  const pendingOf = async (stream: string): Promise<number> => ((await redis.client.xpending(stream, group)) as [number])[0];

  /** Answers every commit, those to come included, until everything is acknowledged. */
  async function commitAll(stream: string, store: GatedStore): Promise<void> {
    let answered = 0;
    await until("everything is acknowledged", async () => {
      for (; answered < store.calls.length; answered += 1) await store.calls[answered]?.resolve();
      return (await pendingOf(stream)) === 0;
    });
  }

  it("acknowledges nothing before the commit has returned", async () => {
    const stream = freshName("stream");
    const store = new GatedStore();
    await add(stream, 10);
    const intake = start(stream, store);
    await until("the store was asked", () => store.calls.length > 0);
    expect(await pendingOf(stream)).toBe(10);
    await commitAll(stream, store);
    await until("it knows that they are acknowledged", () => intake.figures().resolved === 10);
    expect(intake.figures()).toMatchObject({ state: "up", received: 10, refused: 0, deadLettered: 0, dropped: 0 });
  });

  it("tells Redis on the next connection what was committed while there was none, and stores nothing again", async () => {
    const stream = freshName("stream");
    const store = new GatedStore();
    await add(stream, 10);
    const intake = start(stream, store);
    await until("the store was asked", () => store.calls.length > 0);
    proxy.set("close");
    proxy.cut("reset");
    await until("the connection is gone", () => intake.figures().state === "down");
    await store.last.resolve();
    expect(await pendingOf(stream)).toBe(10);
    proxy.set("pass");
    await until("everything is acknowledged", async () => (await pendingOf(stream)) === 0);
    await until("it knows that they are acknowledged", () => intake.figures().resolved === 10);
    expect(store.calls).toHaveLength(1);
    expect(intake.figures().received).toBe(10);
  });

  it("takes at once what its name was given before, and says which of it was trimmed meanwhile", async () => {
    const stream = freshName("stream");
    const store = new GatedStore();
    await add(stream, 250);
    await redis.client.xgroup("CREATE", stream, group, "0");
    await redis.client.xreadgroup("GROUP", group, "c-1", "STREAMS", stream, ">");
    await redis.client.xtrim(stream, "MAXLEN", 150);
    const intake = start(stream, store, 60_000, "c-1");
    await commitAll(stream, store);
    await until("it knows that they are acknowledged", () => intake.figures().resolved === 150);
    expect(intake.figures()).toMatchObject({ received: 150, deadLettered: 0, dropped: 100 });
  });

  it("holds entries through an outage of the store: no other coordinator takes them, and no delivery is counted", async () => {
    const stream = freshName("stream");
    const [mine, theirs] = [new GatedStore(), new GatedStore()];
    await add(stream, 10);
    start(stream, mine, 4_000);
    await until("the store was asked", () => mine.calls.length > 0);
    start(stream, theirs, 4_000);
    await mine.last.reject(new StoreFault("outage", "GONE", "the store is away"));
    const rowsOf = async () => (await redis.client.xpending(stream, group, "-", "+", 10)) as [string, string, number, number][];
    // Young again three times: the whole of `claim_idle_ms` has passed meanwhile.
    let [youngAgain, idleMs] = [0, 0];
    await until("they have been kept young", async () => {
      const nowIdleMs = (await rowsOf())[0]?.[2] ?? 0;
      if (nowIdleMs < idleMs) youngAgain += 1;
      idleMs = nowIdleMs;
      return youngAgain === 4;
    });
    const rows = await rowsOf();
    expect(rows.map(([, , , deliveries]) => deliveries)).toEqual(Array.from({ length: 10 }, () => 1));
    expect(theirs.calls).toEqual([]);
    await commitAll(stream, mine);
  });

  it("reads no more than it may hold, and goes on when there is room", async () => {
    const stream = freshName("stream");
    const store = new GatedStore();
    const count = limits.redisInFlightMaxEntries + 1_000;
    await add(stream, count);
    const intake = start(stream, store);
    await until("it is full", () => intake.figures().received >= limits.redisInFlightMaxEntries);
    await until("it has looked at the stream since", () => intake.figures().depth === count);
    expect(await pendingOf(stream)).toBe(limits.redisInFlightMaxEntries);
    expect(intake.figures().state).toBe("up");
    await commitAll(stream, store);
    await until("all are resolved", () => intake.figures().resolved === count);
  });

  it("finishes what it has read when it is drained, and reads nothing after", async () => {
    const stream = freshName("stream");
    const store = new GatedStore();
    await add(stream, 10);
    const intake = start(stream, store);
    await until("the store was asked", () => store.calls.length > 0);
    const drained = intake.drain(60_000);
    await add(stream, 10);
    await commitAll(stream, store);
    await drained;
    expect(await redis.client.xlen(stream)).toBe(20);
    const taken = intake.figures().resolved;
    await add(stream, 10);
    expect(await pendingOf(stream)).toBe(0);
    expect(intake.figures()).toMatchObject({ state: "down", resolved: taken });
  });
});
