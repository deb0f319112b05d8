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
