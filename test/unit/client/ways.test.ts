import { expect, test } from "vitest";
import type { Transport, TransportEvents, TransportHealth, TransportName } from "../../../src/client/transports/transport.js";
import { Ways } from "../../../src/client/ways.js";
import { limits } from "../../../src/platform/limits.js";
import { seededRng } from "../../../src/platform/rng.js";
import { ManualClock, turn } from "../../support/manual-clock.js";

/** A way out whose health the test sets, and whose settlements it makes. */
function wayOf(name: TransportName) {
  const way = { health: { state: "up", why: "" } as TransportHealth, events: undefined as TransportEvents | undefined };
  const transport: Transport = {
    name,
    health: () => way.health,
    offer: (events) => events.length,
    probe: async () => undefined,
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
