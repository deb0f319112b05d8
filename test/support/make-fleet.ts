import { pino } from "pino";
import { Fleet, type FleetDeps } from "../../src/hub/fleet.js";
import { createIngest } from "../../src/ingest/ingest.js";
import { CoordinatorError } from "../../src/platform/errors.js";
import { limits } from "../../src/platform/limits.js";
import type { ProducerOpened } from "../../src/store/store.js";
import { noonMs } from "./draft.js";
import { GatedStore } from "./gated-store.js";
import { ManualClock } from "./manual-clock.js";

/** What the store says of a producer; `more` overrides fields. */
export const openedOf = (more: Partial<ProducerOpened> = {}): ProducerOpened => ({
  epoch: 3,
  resumeSequence: 41n,
  isKnown: true,
  silentMs: 0,
  supersededSessionId: "s-0",
  ...more,
});

export const settingsOfTest: FleetDeps["settings"] = {
  version: 1,
  maxBatchEvents: 500,
  maxEventBytes: 1,
  heartbeatIntervalMs: limits.heartbeatIntervalMs,
  dedupeHorizonMs: 7 * 86_400_000,
  maxClockSkewMs: 1,
  maxSessionAgeMs: 30 * 86_400_000,
};

/** A fleet over a real ingest, whose clock stands still and whose store answers when the test lets it. */
export function makeFleet(more: Partial<FleetDeps> = {}) {
  const clock = new ManualClock(noonMs);
  const store = new GatedStore();
  const log = pino({ level: "silent" });
  const rng = () => 0.5;
  const ingest = createIngest({
    store: { laneCount: 1, append: store.append, setAside: store.setAside },
    pseudonym: (id) => `u_${id}`,
    maxClockSkewMs: 600_000,
    dedupeHorizonMs: 7 * 86_400_000,
    clock,
    rng,
    log,
  });
  const fleet = new Fleet({
    ingest,
    openProducer: async () => openedOf(),
    readEpochs: undefined,
    currentRoutes: () => undefined,
    recordRoutingAck: () => {},
    authenticate: () => {
      throw new CoordinatorError("unauthenticated", "the key is not known", { reason: "KEY_UNKNOWN" });
    },
    memoryShare: () => 0,
    caps: { perProcess: 100, perKey: 10 },
    coordinatorId: "c-1",
    settings: settingsOfTest,
    clock,
    rng,
    log,
    ...more,
  });
  return { clock, store, ingest, fleet };
}
