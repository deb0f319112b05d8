import { pino } from "pino";
import { Fleet } from "../../src/hub/fleet.js";
import { createIngest, type Ingest } from "../../src/ingest/ingest.js";
import { CoordinatorError } from "../../src/platform/errors.js";
import { limits } from "../../src/platform/limits.js";
import { streamInteractions } from "../../src/rpc/stream-interactions.js";
import { noonMs } from "./draft.js";
import { GatedStore } from "./gated-store.js";
import { openedOf, settingsOfTest } from "./make-fleet.js";
import { ManualClock } from "./manual-clock.js";
import { type RpcPorts, startRpcPorts } from "./rpc-ports.js";

/** Both ports over a real hub and ingest, with a store that answers when the test says so and a clock that the test moves. */
export type HubPorts = AsyncDisposable & {
  readonly ports: RpcPorts;
  readonly fleet: Fleet;
  readonly ingest: Ingest;
  readonly store: GatedStore;
  readonly clock: ManualClock;
};

export async function startHubPorts(): Promise<HubPorts> {
  const clock = new ManualClock(noonMs);
  const log = pino({ level: "silent" });
  const store = new GatedStore();
  const dayMs = 86_400_000;
  const ingest = createIngest({
    store: { laneCount: 1, append: store.append, setAside: store.setAside },
    pseudonym: (id) => `u_${id}`,
    maxClockSkewMs: 10 * dayMs * 365,
    dedupeHorizonMs: 10 * dayMs * 365,
    clock,
    rng: () => 0.5,
    log,
  });
  const fleet = new Fleet({
    ingest,
    openProducer: async () => openedOf({ isKnown: false }),
    readEpochs: undefined,
    authenticate: () => {
      throw new CoordinatorError("unauthenticated", "the key is not known", { reason: "KEY_UNKNOWN" });
    },
    memoryShare: () => 0,
    caps: { perProcess: limits.sessionsMax, perKey: limits.sessionsMax },
    currentRoutes: () => undefined,
    recordRoutingAck: () => {},
    coordinatorId: "c",
    settings: { ...settingsOfTest, maxEventBytes: limits.eventMaxBytes },
    clock,
    rng: () => 0.5,
    log,
  });
  const ports = await startRpcPorts({ stream: streamInteractions(log, fleet) });
  return {
    ports,
    fleet,
    ingest,
    store,
    clock,
    [Symbol.asyncDispose]: async () => {
      fleet.close();
      ingest.queue.close();
      await ports[Symbol.asyncDispose]();
    },
  };
}
