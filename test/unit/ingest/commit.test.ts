import { pino } from "pino";
import { describe, expect, it } from "vitest";
import { CommitQueue } from "../../../src/ingest/commit.js";
import { flowOf } from "../../../src/ingest/fair-queue.js";
import type { CommitTiming } from "../../../src/ingest/pending.js";
import type { NewEvent, Outcome } from "../../../src/interaction/event.js";
import { limits } from "../../../src/platform/limits.js";
import { StoreFault } from "../../../src/store/store.js";
import { noonMs } from "../../support/draft.js";
import { eventOf } from "../../support/event.js";
import { GatedStore } from "../../support/gated-store.js";
import { ManualClock, turn } from "../../support/manual-clock.js";

const outage = () => new StoreFault("outage", "ECONNREFUSED", "connection refused");
const poison = () => new StoreFault("poison", "22P05", "untranslatable character");

function setUp(laneCount = 1) {
  const clock = new ManualClock(noonMs);
  const store = new GatedStore();
  const settled: [string, Outcome["kind"]][] = [];
  const timings: CommitTiming[] = [];
  const queue = new CommitQueue({
    laneCount,
    append: store.append,
    setAside: store.setAside,
    settle: (items, outcomes, timing) => {
      timings.push(timing);
      for (const item of items) settled.push([item.event.interactionId, outcomes.get(item)?.kind ?? "poison"]);
    },
    clock,
    rng: () => 1,
    log: pino({ level: "silent" }),
  });
  const offer = (event: NewEvent, lane = 0, flow = flowOf("producer", event.producerId)) =>
    queue.offer({ lane, flow }, { event, origin: { settled: () => {}, flushed: () => {} }, receivedAtMs: clock.monotonicMs() });
  const offerNamed = (...names: string[]) => {
    for (const name of names) offer(eventOf({ interactionId: name }));
  };
  return { clock, store, settled, timings, queue, offer, offerNamed };
}

const names = (events: readonly NewEvent[] | undefined) => events?.map((event) => event.interactionId);

describe("CommitQueue", () => {
  it("commits a lone event at once", async () => {
    const { store, offerNamed } = setUp();
    offerNamed("a");
    await turn();
    expect(names(store.last.events)).toEqual(["a"]);
  });

  it("forms the next batch while one commits, and settles only after the commit", async () => {
    const { store, settled, offerNamed } = setUp();
    offerNamed("a");
    await turn();
    offerNamed("b", "c");
    await turn();
    expect(store.calls).toHaveLength(1);
    expect(settled).toEqual([]);
    await store.last.resolve();
    expect(settled).toEqual([["a", "stored"]]);
    expect(names(store.last.events)).toEqual(["b", "c"]);
  });

  it("takes no more than the bound into one batch", async () => {
    const { store, offerNamed } = setUp();
    offerNamed(...Array.from({ length: limits.commitMaxEvents + 1 }, (_, i) => `i${i}`));
    await turn();
    expect(store.last.events).toHaveLength(limits.commitMaxEvents);
  });

  it("lets lanes commit side by side, and keeps a producer on one", async () => {
    const { store, queue, offer } = setUp(2);
    offer(eventOf({ interactionId: "a" }), 0);
    offer(eventOf({ interactionId: "b" }), 1);
    await turn();
    expect(store.calls.map((call) => call.lane)).toEqual([0, 1]);
    const placeOf = (key: string) => queue.placeOf(key, flowOf("producer", key));
    expect(placeOf("producer-7")).toEqual(placeOf("producer-7"));
    expect(new Set(Array.from({ length: 50 }, (_, i) => placeOf(`p${i}`).lane))).toEqual(new Set([0, 1]));
  });

  it("takes the producers of a lane in turns: the single event of one stands in the next statement, behind whatever another has brought", async () => {
    const { store, settled, offer } = setUp();
    const flood = (name: string) => eventOf({ interactionId: name }, "flood");
    offer(flood("first"));
    await turn();
    for (let i = 0; i < 3 * limits.commitMaxEvents; i += 1) offer(flood(`f${i}`));
    offer(eventOf({ interactionId: "single" }, "modest"));
    await store.last.resolve();
    expect(store.last.events).toHaveLength(limits.commitMaxEvents);
    expect(names(store.last.events)).toContain("single");
    for (let statements = 2; settled.length < 3 * limits.commitMaxEvents + 2; statements += 1) {
      expect(store.calls).toHaveLength(statements);
      await store.last.resolve();
    }
    const flooded = settled.flatMap(([name]) => (name.startsWith("f") ? [name] : []));
    expect(flooded).toEqual(["first", ...Array.from({ length: 3 * limits.commitMaxEvents }, (_, i) => `f${i}`)]);
  });

  it("tells how long the oldest event of a statement had waited, and the oldest of all, whoever's turn it was", async () => {
    const { clock, store, timings, queue, offer } = setUp();
    offer(eventOf({ interactionId: "first" }, "flood"));
    await turn();
    await clock.advance(10);
    for (let i = 0; i < limits.commitMaxEvents; i += 1) offer(eventOf({ interactionId: `f${i}` }, "flood"));
    await clock.advance(10);
    offer(eventOf({ interactionId: "young" }, "modest"));
    await clock.advance(10);
    expect(queue.oldestReceivedAtMs).toBe(0);
    await store.last.resolve();
    expect(queue.oldestReceivedAtMs).toBe(10);
    await store.last.resolve();
    expect(queue.oldestReceivedAtMs).toBe(10);
    await store.last.resolve();
    expect(timings.map(({ queueWaitMs, batchEvents }) => [queueWaitMs, batchEvents])).toEqual([
      [0, 1],
      [20, limits.commitMaxEvents],
      [20, 1],
    ]);
    expect(queue.oldestReceivedAtMs).toBeUndefined();
  });

  it("sends an event that stands twice in a batch once, and calls the second a duplicate", async () => {
    const { store, settled, offer } = setUp();
    const event = eventOf({ interactionId: "a" });
    offer(event);
    offer({ ...event });
    await turn();
    expect(store.last.events).toHaveLength(1);
    await store.last.resolve();
    expect(settled.map(([, kind]) => kind)).toEqual(["stored", "duplicate"]);
  });

  it("knows the stored content behind a conflict again", async () => {
    const { store, settled, offer } = setUp();
    const event = eventOf({ interactionId: "a" });
    offer({ ...event, digest: "0".repeat(32) });
    offer(event);
    await turn();
    expect(store.last.events).toHaveLength(1);
    await store.last.resolve([{ kind: "conflict", storedDigest: event.digest, storedAtMs: 1 }]);
    expect(store.calls).toHaveLength(1);
    expect(settled.map(([, kind]) => kind)).toEqual(["conflict", "duplicate"]);
  });

  it("calls other content behind a stored one a conflict, and asks the store no more", async () => {
    const { store, settled, offer } = setUp();
    const event = eventOf({ interactionId: "a" });
    offer(event);
    for (let variant = 0; variant < 9; variant += 1) offer({ ...event, digest: String(variant).repeat(32) });
    await turn();
    await store.last.resolve();
    expect(store.calls).toHaveLength(1);
    expect(settled.map(([, kind]) => kind)).toEqual(["stored", ...new Array(9).fill("conflict")]);
  });

  it("never lets the verdict on a fenced session fall upon the session that replaced it", async () => {
    const { store, settled, offer } = setUp();
    const event = eventOf({ interactionId: "a", sequence: 7n }, "p-1");
    offer({ ...event, epoch: 1 });
    offer({ ...event, epoch: 2 });
    await turn();
    await store.last.resolve([{ kind: "fenced" }]);
    expect(store.last.events.map(({ epoch }) => epoch)).toEqual([2]);
    await store.last.resolve();
    expect(settled.map(([, kind]) => kind)).toEqual(["fenced", "stored"]);
  });

  it("stores nothing of a producer ahead of an event of it that is not decided yet: its resume point would pass that event", async () => {
    const { store, settled, offer } = setUp();
    const late = eventOf({ interactionId: "a", sequence: 7n }, "p-1");
    const next = eventOf({ interactionId: "b", sequence: 8n }, "p-1");
    const other = eventOf({ interactionId: "c", sequence: 1n }, "p-2");
    offer({ ...late, epoch: 1 });
    offer({ ...late, epoch: 2 });
    offer({ ...next, epoch: 2 });
    offer({ ...other, epoch: 5 });
    await turn();
    expect(names(store.last.events)).toEqual(["a", "c"]);
    await store.last.resolve([{ kind: "fenced" }, { kind: "stored", storedAtMs: 1 }]);
    expect(names(store.last.events)).toEqual(["a", "b"]);
    expect(store.last.events.map(({ epoch }) => epoch)).toEqual([2, 2]);
    await store.last.resolve();
    expect(settled).toEqual([
      ["a", "fenced"],
      ["a", "stored"],
      ["b", "stored"],
      ["c", "stored"],
    ]);
  });

  it("sends the resent events of one session with what is new behind them in one statement", async () => {
    const { store, offer } = setUp();
    const event = { ...eventOf({ interactionId: "a", sequence: 7n }, "p-1"), epoch: 2 };
    offer(event);
    offer({ ...event });
    offer({ ...eventOf({ interactionId: "b", sequence: 8n }, "p-1"), epoch: 2 });
    await turn();
    expect(names(store.last.events)).toEqual(["a", "b"]);
  });

  it("tries the same batch again through an outage, settles nothing meanwhile, and goes on by itself", async () => {
    const { clock, store, settled, queue, offerNamed } = setUp();
    const changes: boolean[] = [];
    queue.watchAvailability((isAvailable) => changes.push(isAvailable));
    offerNamed("a");
    await turn();
    await store.last.reject(outage());
    offerNamed("b");
    for (let i = 0; i < 5; i += 1) {
      await clock.advance(limits.storeBackoff.maxMs);
      await store.last.reject(outage());
    }
    expect(settled).toEqual([]);
    expect(queue.isAvailable).toBe(false);
    expect(queue.pendingEvents).toBe(2);
    await clock.advance(limits.storeBackoff.maxMs);
    expect(names(store.last.events)).toEqual(["a"]);
    await store.last.resolve();
    await store.last.resolve();
    expect(settled).toEqual([
      ["a", "stored"],
      ["b", "stored"],
    ]);
    expect(changes).toEqual([false, true]);
    expect(queue.pendingEvents).toBe(0);
    expect(queue.pendingBytes).toBe(0);
  });

  it("retries a deadlock without calling the store unavailable, unless it goes on and on", async () => {
    const { clock, store, queue, offerNamed } = setUp();
    offerNamed("a");
    await turn();
    for (let i = 0; i < limits.transientRetryMax; i += 1) {
      await store.last.reject(new StoreFault("transient", "40P01", "deadlock detected"));
      expect(queue.isAvailable).toBe(true);
      await clock.advance(limits.storeBackoff.maxMs);
    }
    await store.last.reject(new StoreFault("transient", "40P01", "deadlock detected"));
    expect(queue.isAvailable).toBe(false);
  });

  it("bisects a poison event into a dead letter and stores its neighbours", async () => {
    const { store, settled, offerNamed } = setUp();
    offerNamed("a", "b", "bad", "c", "d");
    await turn();
    while (settled.length === 0) {
      const call = store.last;
      if (names(call.events)?.some((name) => name === "bad")) await call.reject(poison());
      else await call.resolve();
    }
    expect(settled).toEqual([
      ["a", "stored"],
      ["b", "stored"],
      ["bad", "poison"],
      ["c", "stored"],
      ["d", "stored"],
    ]);
    expect(store.buried.map(({ event, reason }) => [event.interactionId, reason])).toEqual([["bad", "22P05: untranslatable character"]]);
  });

  it("treats a bug of ours as the poison of one event, so that it cannot stop the others", async () => {
    const { store, settled, offerNamed } = setUp();
    offerNamed("a", "bad");
    await turn();
    while (settled.length === 0) {
      const call = store.last;
      if (names(call.events)?.some((name) => name === "bad")) await call.reject(new TypeError("undefined is not a function"));
      else await call.resolve();
    }
    expect(settled.map(([, kind]) => kind)).toEqual(["stored", "poison"]);
  });

  it("has no room above its bound, and says when half of it is free again", async () => {
    const { store, queue, offer } = setUp();
    const event = eventOf({ interactionId: "a" });
    for (let i = 0; i < limits.pendingMaxEvents; i += 1) offer({ ...event, eventId: `${i}` });
    expect(queue.hasRoom).toBe(false);
    let resumed = 0;
    queue.whenRoom(() => {
      resumed += 1;
    });
    await turn();
    let commits = 0;
    for (; resumed === 0; commits += 1) await store.last.resolve();
    expect(commits).toBe(limits.pendingMaxEvents / 2 / limits.commitMaxEvents);
    expect(queue.hasRoom).toBe(true);
    for (; queue.pendingEvents > 0; ) await store.last.resolve();
    expect(resumed).toBe(1);
  });

  it.each([
    ["events", 600, limits.pendingMaxEvents],
    ["bytes", Math.ceil(limits.pendingMaxBytes / 100), 100],
  ])("full by its %s it has room for the calls of a flow of which nothing waits, until the reserve is used up", (_, costBytes, count) => {
    const { queue, offer } = setUp();
    const event = { ...eventOf({ interactionId: "a" }), costBytes };
    const [flood, modest, other] = [flowOf("mcp", "flood"), flowOf("mcp", "modest"), flowOf("mcp", "other")];
    const roomFor = () => [flood, modest, other].map((flow) => queue.hasRoomFor(flow));
    for (let i = 1; i < count; i += 1) offer({ ...event, eventId: `${i}` }, 0, flood);
    expect([queue.hasRoom, ...roomFor()]).toEqual([true, true, true, true]);
    offer(event, 0, flood);
    expect([queue.hasRoom, ...roomFor()]).toEqual([false, false, true, true]);
    offer({ ...event, eventId: "modest" }, 0, modest);
    expect(roomFor()).toEqual([false, false, true]);
    for (let i = 0; queue.hasRoomFor(flowOf("mcp", `${i}`)); i += 1) offer({ ...event, eventId: `reserve ${i}` }, 0, flowOf("mcp", `${i}`));
    expect(queue.pendingEvents).toBe(Math.round(count * (1 + limits.pendingReserveShare)));
    expect(roomFor()).toEqual([false, false, false]);
  });

  it("stops trying when it is closed, and settles nothing then", async () => {
    const { clock, store, settled, queue, offerNamed } = setUp();
    offerNamed("a");
    await turn();
    await store.last.reject(outage());
    queue.close();
    await clock.advance(limits.storeBackoff.maxMs);
    expect(store.calls).toHaveLength(1);
    expect(settled).toEqual([]);
  });
});
