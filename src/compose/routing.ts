import type { KeyRing } from "../auth/api-key.js";
import { Fleet } from "../hub/fleet.js";
import type { Ingest } from "../ingest/ingest.js";
import { memoryShare } from "../platform/memory.js";
import { ackRow, createAckLog } from "../smart-router/acks.js";
import { createPublisher, type Publisher } from "../smart-router/publish.js";
import { routerDefaults } from "../smart-router/settings.js";
import { createSignals } from "../smart-router/signals.js";
import { createA58 } from "../smart-router/weigh.js";
import type { Store } from "../store/store.js";
import type { Ends, Machine } from "./machine.js";
import { sessionSettingsOf } from "./session-settings.js";
import { stepObserver } from "./step-observer.js";

/** The fleet of sessions, and the publisher that weighs what they report. */
export function startRouting(
  machine: Machine,
  keys: KeyRing,
  store: Store,
  ingest: Ingest,
  ends: Ends,
): { fleet: Fleet; publisher: Publisher } {
  const { config, log, clock, rng } = machine;
  const settings = { ...routerDefaults, ...config.routing };
  const signals = createSignals(settings);
  ingest.follow((events) => {
    const receivedAtMonoMs = clock.monotonicMs();
    signals.observe(events.map(({ mcpId, facts }) => ({ mcpId, facts, receivedAtMonoMs })));
  });
  const acks = createAckLog({ record: (rows) => store.recordAcks(rows), clock, log });
  ends.add(() => acks.close());
  const fleet: Fleet = new Fleet({
    ingest,
    openProducer: (producerId, mcpId, sessionId) => store.openProducer(producerId, mcpId, sessionId, config.server.coordinatorId),
    // The lock of the embedded store's directory admits one process: nobody else could fence a session there.
    readEpochs: store.kind === "postgres" ? store.readEpochs : undefined,
    currentRoutes: () => publisher.current(),
    recordRoutingAck: ({ producerId, mcpId, ack }) => acks.add(ackRow(producerId, mcpId, ack, clock.nowMs())),
    coordinatorId: config.server.coordinatorId,
    authenticate: keys.authenticate,
    memoryShare,
    caps: { perProcess: config.session.maxSessions, perKey: config.session.maxPerKey },
    settings: { version: 1, ...sessionSettingsOf(config) },
    ...stepObserver(),
    clock,
    rng,
    log,
  });
  ends.add(() => fleet.close());
  const publisher: Publisher = createPublisher(
    {
      acquireTerm: store.acquireTerm,
      store: store.publish,
      readNewest: store.readPublication,
      liveMcpIds: () => fleet.liveMcpIds(),
      signals,
      policy: createA58(settings),
      clock,
      log,
      holdsLead: store.holdLead,
    },
    settings,
  );
  publisher.subscribe((routes) => fleet.publish(routes));
  ends.add(() => publisher.close());
  return { fleet, publisher };
}
