import fc from "fast-check";
import { expect, test } from "vitest";
import { createMemorySpool } from "../../../src/client/memory-spool.js";
import { Pump, type Resolved } from "../../../src/client/pump.js";
import type { OutgoingEvent, Settlement, Transport, TransportName } from "../../../src/client/transports/transport.js";
import { encodeEvent } from "../../../src/client/wire/frames.js";
import { limits } from "../../../src/platform/limits.js";
import { seededRng } from "../../../src/platform/rng.js";
import { ManualClock, turn } from "../../support/manual-clock.js";

/** A peer that keeps what it takes until the test settles it. */
function peerOf(name: TransportName, room: () => number) {
  const held: OutgoingEvent[] = [];
  const transport: Transport = {
    name,
    health: () => ({ state: "up", why: "" }),
    offer: (events) => {
      const taken = Math.max(0, Math.min(events.length, room() - held.length));
      held.push(...events.slice(0, taken));
      return taken;
    },
    probe: async () => undefined,
    stop: async () => undefined,
  };
  return { transport, held };
}

test("a throttle holds over every transport, together and through a change: in t seconds no more batches than one second's and t seconds'", async () => {
  const perSecond = fc.constantFrom(0.5, 1, 3, 10);
  const steps = fc.array(fc.record({ reports: fc.integer({ min: 0, max: 1_500 }), ms: fc.integer({ min: 1, max: 3_000 }) }), {
    maxLength: 12,
  });
  const names = fc.shuffledSubarray<TransportName>(["grpc", "http", "redis", "database"], { minLength: 1 });
  await fc.assert(
    fc.asyncProperty(perSecond, steps, names, fc.integer({ min: 1, max: 600 }), async (batchesPerSecond, plan, order, room) => {
      const clock = new ManualClock(1_000_000);
      const offeredMs: number[] = [];
      const peers = order.map((name) => peerOf(name, () => room));
      let current = 0;
      const pump: Pump = new Pump({
        ...{ clock, rng: seededRng(1), rules: { maxRetries: 1, retryDelayMs: 100, batchesPerSecond }, isAtBest: () => true },
        current: () => {
          const peer = peers[current % peers.length];
          if (peer === undefined) return undefined;
          return {
            ...peer.transport,
            offer: (events) => {
              const taken = peer.transport.offer(events);
              if (taken > 0) offeredMs.push(clock.monotonicMs());
              return taken;
            },
          };
        },
        ...{ onResolved: () => undefined, onDeferred: () => undefined, onForgotten: () => undefined },
        onFault: (thrown) => expect.unreachable(String(thrown)),
      });
      const spool = createMemorySpool(clock);
      const readable = pump.addSource(spool);
      let reported = 0;
      const settleAll = (): void => {
        for (const { held, transport } of peers)
          for (const { eventId } of held.splice(0)) pump.settle(transport.name, { eventId, outcome: "stored", reason: "" });
      };
      for (const { reports, ms } of plan) {
        for (let index = 0; index < reports; index += 1, reported += 1)
          readable(spool.put(`e-${reported}`, "start", encodeEvent({ eventId: `e-${reported}`, interactionId: "i" })) ?? 0);
        await clock.advance(ms);
        settleAll();
        const before = peers[current % peers.length];
        current += 1;
        if (before !== undefined && peers.length > 1) pump.recall(before.transport.name);
        await turn();
      }
      // Whatever waited goes out in the end: nothing is lost to a throttle.
      for (let round = 0; spool.figures().events > 0 && round < 100_000; round += 1) {
        await clock.advance(1_000 / batchesPerSecond);
        settleAll();
        await turn();
      }
      expect(spool.figures().events).toBe(0);
      const burst = Math.max(1, batchesPerSecond);
      for (const [index, fromMs] of offeredMs.entries())
        for (let last = index; last < Math.min(offeredMs.length, index + 100); last += 1) {
          const seconds = ((offeredMs[last] ?? 0) - fromMs) / 1_000;
          expect(last - index + 1).toBeLessThanOrEqual(burst + batchesPerSecond * seconds + 1e-6);
        }
    }),
    { numRuns: 40 },
  );
});

test("without a throttle batches go as fast as they are taken", async () => {
  const clock = new ManualClock(1_000_000);
  const peer = peerOf("grpc", () => 100_000);
  const pump = new Pump({
    ...{ clock, rng: seededRng(1), rules: { maxRetries: 1, retryDelayMs: 100 }, current: () => peer.transport, isAtBest: () => true },
    ...{ onResolved: () => undefined, onDeferred: () => undefined, onForgotten: () => undefined },
    onFault: (thrown) => expect.unreachable(String(thrown)),
  });
  const spool = createMemorySpool(clock);
  const readable = pump.addSource(spool);
  for (let index = 0; index < 6_000; index += 1)
    readable(spool.put(`e-${index}`, "start", encodeEvent({ eventId: `e-${index}`, interactionId: "i" })) ?? 0);
  await turn();
  expect(peer.held).toHaveLength(6_000);
});

const action = fc.oneof(
  fc.record({ kind: fc.constant("report" as const), count: fc.integer({ min: 1, max: 50 }) }),
  fc.record({
    kind: fc.constant("settle" as const),
    outcome: fc.constantFrom<Settlement["outcome"]>("stored", "duplicate", "deferred", "rejected"),
  }),
  fc.record({ kind: fc.constant("switch" as const) }),
  fc.record({ kind: fc.constant("wait" as const), ms: fc.integer({ min: 1, max: 5_000 }) }),
);

test("whatever transports do, each event is resolved exactly once, and what is not stays in the spool", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(action, { maxLength: 40 }), fc.integer({ min: 1, max: 100 }), fc.integer(), async (actions, room, seed) => {
      const clock = new ManualClock(1_000_000);
      const rng = seededRng(seed);
      const peers = [peerOf("grpc", () => room), peerOf("http", () => room)] as const;
      let current: (typeof peers)[number] = peers[0];
      const resolved: Resolved[] = [];
      const rules = { maxRetries: 1, retryDelayMs: 100 };
      const pump = new Pump({
        ...{
          clock,
          rng,
          rules,
          current: () => current.transport,
          isAtBest: () => current === peers[0],
          onResolved: (one) => void resolved.push(one),
        },
        ...{ onDeferred: () => undefined, onForgotten: () => undefined, onFault: (thrown) => expect.unreachable(String(thrown)) },
      });
      const spool = createMemorySpool(clock);
      const readable = pump.addSource(spool);
      const reported: string[] = [];
      const settleOne = (outcome: Settlement["outcome"]) => {
        const peer = peers[rng() < 0.5 ? 0 : 1];
        const [event] = peer.held.splice(Math.floor(rng() * peer.held.length), 1);
        const reason = rng() < 0.5 ? "INVALID" : "PERMISSION_DENIED";
        if (event !== undefined) pump.settle(peer.transport.name, { eventId: event.eventId, outcome, reason });
      };
      for (const one of actions) {
        if (one.kind === "report") {
          for (let index = 0; index < one.count; index += 1) {
            const eventId = `e-${reported.length}`;
            reported.push(eventId);
            readable(spool.put(eventId, "start", encodeEvent({ eventId, interactionId: eventId })) ?? 0);
          }
        } else if (one.kind === "settle") for (let index = 0; index < 20; index += 1) settleOne(one.outcome);
        else if (one.kind === "wait") await clock.advance(one.ms);
        else {
          const before = current;
          current = current === peers[0] ? peers[1] : peers[0];
          pump.recall(before.transport.name);
        }
        await turn();
      }
      expect(new Set(resolved.map(({ eventId }) => eventId)).size).toBe(resolved.length);
      expect(spool.figures().events).toBeGreaterThanOrEqual(reported.length - resolved.length);
      for (let round = 0; resolved.length < reported.length && round < 1_000; round += 1) {
        for (const { held, transport } of peers) {
          for (const { eventId } of held.splice(0)) pump.settle(transport.name, { eventId, outcome: "stored", reason: "" });
        }
        await clock.advance(1_000);
      }
      await turn();
      expect(resolved.map(({ eventId }) => eventId).sort()).toEqual([...reported].sort());
      const setAside = resolved.filter(({ outcome }) => outcome === "set_aside").length;
      expect(spool.figures()).toMatchObject({ events: 0, setAside });
      expect(pump.heldCount).toBe(0);
    }),
    {
      numRuns: 300,
      // Taken, recalled twice, and given back by both that had it, one of them full in between.
      examples: [[[{ kind: "report", count: 1 }, { kind: "switch" }, { kind: "switch" }, { kind: "settle", outcome: "deferred" }], 1, 0]],
    },
  );
});

/** A pump over one transport that takes everything, with what it was told of. */
function pumpOver(clock: ManualClock, peer: ReturnType<typeof peerOf>) {
  const resolved: Resolved[] = [];
  const faults: unknown[] = [];
  const pump = new Pump({
    ...{ clock, rng: seededRng(1), rules: { maxRetries: 1, retryDelayMs: 100 }, current: () => peer.transport, isAtBest: () => true },
    ...{ onResolved: (one) => void resolved.push(one), onDeferred: () => undefined, onForgotten: () => undefined },
    onFault: (thrown) => void faults.push(thrown),
  });
  return { pump, resolved, faults };
}

const encoded = encodeEvent({ eventId: "e", interactionId: "i" });

test("a spool that cannot be read ends neither the transport that settles an event nor the closing: it is told of", async () => {
  const peer = peerOf("grpc", () => 10);
  const { pump, faults } = pumpOver(new ManualClock(1_000_000), peer);
  const spool = createMemorySpool(new ManualClock(1_000_000));
  const refuse = (): never => {
    throw new Error("MDB_BAD_TXN");
  };
  pump.addSource({ ...spool, setAside: refuse, forget: refuse })(2);
  for (const eventId of ["refused", "stored"]) spool.put(eventId, "start", encoded);
  await turn();
  expect(() => pump.settle("grpc", { eventId: "refused", outcome: "rejected", reason: "INVALID" })).not.toThrow();
  pump.settle("grpc", { eventId: "stored", outcome: "stored", reason: "" });
  expect(() => pump.stop()).not.toThrow();
  expect(faults).toHaveLength(2);
});

test("an event that lies in two spools, as after a disk that took part of a burst, is offered once and leaves both", async () => {
  const clock = new ManualClock(1_000_000);
  const peer = peerOf("grpc", () => 10);
  const { pump, resolved } = pumpOver(clock, peer);
  const spools = [createMemorySpool(clock), createMemorySpool(clock)] as const;
  for (const spool of spools) {
    pump.addSource(spool)(spool.put("stored", "start", encoded) ?? 0);
    spool.put("refused", "start", encoded);
  }
  await turn();
  expect(peer.held.map(({ eventId }) => eventId)).toEqual(["stored", "refused"]);
  pump.settle("grpc", { eventId: "stored", outcome: "stored", reason: "" });
  pump.settle("grpc", { eventId: "refused", outcome: "rejected", reason: "INVALID" });
  await turn();
  expect(resolved.map(({ outcome }) => outcome)).toEqual(["stored", "set_aside"]);
  expect(spools.map((spool) => spool.figures().events)).toEqual([0, 0]);
  expect(spools.map((spool) => spool.figures().setAside)).toEqual([1, 0]);
});

test("over a second-best transport a backlog waits for the best one, what is reported now does not; and it waits no longer than its patience", async () => {
  const clock = new ManualClock(1_000_000);
  const peer = peerOf("database", () => 100_000);
  let transport: Transport | undefined;
  let isAtBest = false;
  const pump = new Pump({
    ...{ clock, rng: seededRng(1), rules: { maxRetries: 1, retryDelayMs: 100 }, current: () => transport, isAtBest: () => isAtBest },
    ...{
      onResolved: () => undefined,
      onDeferred: () => undefined,
      onForgotten: () => undefined,
      onFault: (thrown) => expect.unreachable(String(thrown)),
    },
  });
  const spool = createMemorySpool(clock);
  const readable = pump.addSource(spool);
  const report = (name: string, count: number) => {
    for (let index = 0; index < count; index += 1)
      readable(spool.put(`${name}-${index}`, "start", encodeEvent({ eventId: `${name}-${index}`, interactionId: name })) ?? 0);
  };
  const heldOf = (name: string) => peer.held.filter(({ eventId }) => eventId.startsWith(`${name}-`)).length;
  report("old", limits.replayLaneMinEvents + 500);
  transport = peer.transport;
  pump.schedule();
  await turn();
  report("new", 10);
  await turn();
  expect([heldOf("old"), heldOf("new")]).toEqual([0, 10]);
  await clock.advance(limits.backlogPatienceMs - 1);
  await turn();
  expect(heldOf("old")).toBe(0);
  await clock.advance(1);
  await turn();
  expect(heldOf("old")).toBe(limits.replayLaneMinEvents + 500);
  report("later", limits.replayLaneMinEvents + 500);
  isAtBest = true;
  pump.schedule();
  await turn();
  expect(peer.held.length).toBe(limits.pumpHeldMaxEvents);
});
