import { expect, test } from "vitest";
import type { Transport, TransportEvents, TransportHealth, TransportName } from "../../../src/client/transports/transport.js";
import { Ways } from "../../../src/client/ways.js";
import { limits } from "../../../src/platform/limits.js";
import { seededRng } from "../../../src/platform/rng.js";
import { ManualClock, turn } from "../../support/manual-clock.js";

/** A way out whose health the test sets, and whose settlements it makes. */
function wayOf(name: TransportName) {
  const way = {
    health: { state: "up", why: "" } as TransportHealth,
    events: undefined as TransportEvents | undefined,
    probes: 0,
    hastened: 0,
  };
  const transport: Transport = {
    name,
    health: () => way.health,
    offer: (events) => events.length,
    probe: async () => {
      way.probes += 1;
    },
    hasten: () => {
      way.hastened += 1;
    },
    stop: async () => undefined,
  };
  const open = async (events: TransportEvents): Promise<Transport> => {
    way.events = events;
    return transport;
  };
  return { way, out: { name, open } };
}

/** Two transports, the first of which has said nothing for too long: events go over the second, and the first has none any more. */
async function withSilentFirst() {
  const clock = new ManualClock(1_000_000);
  const [grpc, http] = [wayOf("grpc"), wayOf("http")];
  const silent = new Map<TransportName, number>();
  const chosen: (TransportName | undefined)[] = [];
  const ways = new Ways({
    ...{ clock, rng: seededRng(1), outs: [grpc.out, http.out], onSettled: () => undefined, onRoom: () => undefined },
    onChosen: ({ current }, before) => {
      chosen.push(current);
      if (before !== undefined) silent.delete(before);
    },
    onBarred: () => undefined,
    silentMs: (name) => silent.get(name) ?? 0,
  });
  await turn();
  silent.set("grpc", limits.transportSilenceMaxMs);
  await clock.advance(10_000);
  expect(chosen).toEqual(["grpc", "http"]);
  return { clock, grpc: grpc.way, ways, chosen };
}

test("a transport that was left for its silence is not taken for a working one before it has said something", async () => {
  const { clock, grpc, ways, chosen } = await withSilentFirst();
  await clock.advance(600_000);
  expect(chosen).toEqual(["grpc", "http"]);
  grpc.events?.onSettled({ eventId: "e", outcome: "stored", reason: "" });
  await clock.advance(60_000);
  expect(chosen).toEqual(["grpc", "http", "grpc"]);
  await ways.stop(0);
});

test("or before it has been down and come up again", async () => {
  const { clock, grpc, ways, chosen } = await withSilentFirst();
  grpc.health = { state: "down", why: "gone" };
  await clock.advance(60_000);
  expect(chosen).toEqual(["grpc", "http"]);
  grpc.health = { state: "up", why: "" };
  await clock.advance(60_000);
  expect(chosen).toEqual(["grpc", "http", "grpc"]);
  await ways.stop(0);
});

test("one that comes up is a reason to try the others at once, however long their pauses have become", async () => {
  const clock = new ManualClock(1_000_000);
  const [grpc, http] = [wayOf("grpc"), wayOf("http")];
  grpc.way.health = { state: "connecting", why: "refused" };
  http.way.health = { state: "down", why: "refused" };
  const ways = new Ways({
    ...{
      clock,
      rng: () => 1,
      outs: [grpc.out, http.out],
      onSettled: () => undefined,
      onRoom: () => undefined,
      onChosen: () => undefined,
      onBarred: () => undefined,
    },
    silentMs: () => 0,
  });
  await turn();
  await clock.advance(600_000);
  const [longBefore, hastenedBefore] = [grpc.way.probes, grpc.way.hastened];
  while (grpc.way.probes === longBefore) await clock.advance(1_000);
  const probesBefore = grpc.way.probes;
  await clock.advance(10_000);
  expect([grpc.way.probes, grpc.way.hastened]).toEqual([probesBefore, hastenedBefore]);
  http.way.health = { state: "up", why: "" };
  http.way.events?.onChange();
  await clock.advance(1);
  expect([grpc.way.probes, grpc.way.hastened]).toEqual([probesBefore + 1, hastenedBefore + 1]);
  await ways.stop(0);
});

test("the others are made ready when the one in use begins to be silent, before it is left", async () => {
  const clock = new ManualClock(1_000_000);
  const [grpc, http] = [wayOf("grpc"), wayOf("http")];
  let silentMs = 0;
  const ways = new Ways({
    ...{
      clock,
      rng: seededRng(1),
      outs: [grpc.out, http.out],
      onSettled: () => undefined,
      onRoom: () => undefined,
      onChosen: () => undefined,
      onBarred: () => undefined,
    },
    silentMs: () => silentMs,
  });
  await turn();
  await clock.advance(10_000);
  expect(http.way.events).toBeUndefined();
  silentMs = limits.transportSilenceMaxMs / 2;
  await clock.advance(limits.transportLookMs);
  expect(http.way.events).toBeDefined();
  expect(ways.choice.current).toBe("grpc");
  await ways.stop(0);
});

test("a transport that somebody has to do something about is told of once for each reason, and again after it has worked", async () => {
  const clock = new ManualClock(1_000_000);
  const [redis, http] = [wayOf("redis"), wayOf("http")];
  const barred: string[] = [];
  const denied = { state: "down", why: "may not XREAD", denied: ["XREAD"] } as const;
  const ways = new Ways({
    ...{ clock, rng: seededRng(1), outs: [redis.out, http.out], onSettled: () => undefined, onRoom: () => undefined, silentMs: () => 0 },
    onChosen: () => undefined,
    onBarred: (name, why) => barred.push(`${name}: ${why}`),
  });
  redis.way.health = denied;
  http.way.health = { state: "down", why: "cannot be reached" };
  await turn();
  await clock.advance(60_000);
  expect(barred).toEqual(["redis: may not XREAD"]);
  for (const health of [{ ...denied, why: "may not XADD" }, { state: "up", why: "" } as const, { ...denied, why: "may not XADD" }]) {
    redis.way.health = health;
    redis.way.events?.onChange();
  }
  expect(barred.slice(1)).toEqual(["redis: may not XADD", "redis: may not XADD"]);
  await ways.stop(0);
});
