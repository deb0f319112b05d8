import { pino } from "pino";
import { describe, expect, it } from "vitest";
import { createKeyRing } from "../../../src/auth/api-key.js";
import { composeIntake } from "../../../src/compose/intake.js";
import { Ends } from "../../../src/compose/machine.js";
import { loadConfig } from "../../../src/config/load.js";
import { flowOf } from "../../../src/ingest/fair-queue.js";
import { createIngest } from "../../../src/ingest/ingest.js";
import type { Transport } from "../../../src/intake/transport.js";
import { noonMs } from "../../support/draft.js";
import { eventOf } from "../../support/event.js";
import { GatedStore } from "../../support/gated-store.js";
import { ManualClock, turn } from "../../support/manual-clock.js";

const log = pino({ level: "silent" });

function configOf(fileText: string) {
  const loaded = loadConfig(
    { readSecretFile: () => undefined, defaultCoordinatorId: "c" },
    { env: {}, flags: {}, fileText, filePath: "x.toml" },
  );
  if (loaded.kind !== "loaded") throw new Error("the configuration is sound");
  return loaded.config;
}

function setUp(fileText = "") {
  const clock = new ManualClock(noonMs);
  const gated = new GatedStore();
  const rng = () => 1;
  const ingest = createIngest({
    store: { laneCount: 1, append: gated.append, setAside: gated.setAside },
    pseudonym: (userId) => userId,
    maxClockSkewMs: 600_000,
    dedupeHorizonMs: 7 * 86_400_000,
    clock,
    rng,
    log,
  });
  const calls: string[] = [];
  const http: Transport = {
    start: () => calls.push("start"),
    figures: () => ({ name: "http", state: "up", detail: "", received: 3, resolved: 3, refused: 0, deadLettered: 0, depth: 0, lagMs: 0 }),
    drain: async (graceMs) => void calls.push(`drain ${graceMs}`),
  };
  const ends = new Ends();
  const table = {
    takeReports: async () => ({ count: 0, lastId: "0", hasMore: false }),
    readBacklog: async () => ({ waiting: 0, oldestMs: 0 }),
  };
  const store = { kind: "postgres" as const, ...table };
  const intake = composeIntake(
    { config: configOf(fileText), log, clock, rng },
    { store, ingest, served: [http], keys: createKeyRing([], clock) },
    ends,
  );
  return { clock, gated, ingest, calls, ends, intake };
}

describe("the ways in", () => {
  it("each has figures, in one order, and those that are switched off say so", () => {
    expect(setUp().intake.figures()).toMatchObject([
      { name: "grpc", state: "up" },
      { name: "http", state: "up", received: 3 },
      { name: "redis", state: "off" },
      { name: "table", state: "up" },
    ]);
    expect(setUp("[shared_table]\nenabled = false\n").intake.figures()[3]).toMatchObject({ name: "table", state: "off", depth: undefined });
    expect(setUp("[extensions]\ninteraction_logging = false\n").intake.figures()[0]).toMatchObject({ name: "grpc", state: "off" });
  });

  it("the stream's figures follow its events from receipt to verdict, and count nobody else's", async () => {
    const { clock, gated, ingest, intake } = setUp();
    const offer = (source: "grpc" | "http", interactionId: string) =>
      ingest.queue.offer(ingest.queue.placeOf(interactionId, flowOf("mcp", "demo")), {
        event: { ...eventOf({ interactionId }), source },
        origin: { settled: () => {}, flushed: () => {} },
        receivedAtMs: clock.monotonicMs(),
      });
    offer("grpc", "a");
    offer("http", "b");
    offer("grpc", "c");
    await turn();
    await clock.advance(250);
    expect(intake.figures()[0]).toMatchObject({ received: 2, resolved: 0, depth: 2, lagMs: 250 });
    await gated.last.resolve([
      { kind: "stored", storedAtMs: 1 },
      { kind: "stored", storedAtMs: 1 },
      { kind: "poison", description: "no" },
    ]);
    expect(intake.figures()[0]).toMatchObject({ received: 2, resolved: 1, refused: 0, deadLettered: 1, depth: 0, lagMs: 0 });
  });

  it("all start together and drain together, and a coordinator that ends at once drains them first", async () => {
    const { calls, ends, intake } = setUp();
    intake.start();
    await intake.drain(2_000);
    expect(calls).toEqual(["start", "drain 2000"]);
    await ends.runAll();
    expect(calls).toEqual(["start", "drain 2000", "drain 0"]);
  });
});
