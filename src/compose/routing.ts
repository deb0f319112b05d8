import type { KeyRing } from "../auth/api-key.js";
import { Fleet } from "../hub/fleet.js";
import type { Ingest } from "../ingest/ingest.js";
import { memoryShare } from "../platform/memory.js";
import { ackRow, createAckLog } from "../smart-router/acks.js";
import { createConnections } from "../smart-router/connections.js";
import { createPublisher, type Publisher } from "../smart-router/publish.js";
import { createWeightRules, type WeightRuleId } from "../smart-router/rules.js";
import { routerDefaults } from "../smart-router/settings.js";
import { createSignals } from "../smart-router/signals.js";
import { estimatesFromTallies } from "../smart-router/tally-estimates.js";
import type { Store } from "../store/store.js";
import type { Ends, Machine } from "./machine.js";
import { followRejections } from "./rejections.js";
import { sessionSettingsOf } from "./session-settings.js";

/** The fleet of sessions, the publisher that weighs what they report, and how to put another rule of weights in force. */
export type Routing = { readonly fleet: Fleet; readonly publisher: Publisher; readonly useRule: (id: WeightRuleId) => void };

/** Builds them. Resolves when it is known which tables must not be sent again. */
export async function startRouting(machine: Machine, keys: KeyRing, store: Store, ingest: Ingest, ends: Ends): Promise<Routing> {
  const { config, log, clock, rng } = machine;
  const settings = { ...routerDefaults, ...config.routing };
  const signals = createSignals(settings);
  ingest.follow((events) => {
    const receivedAtMonoMs = clock.monotonicMs();
    signals.observe(events.map(({ mcpId, facts }) => ({ mcpId, facts, receivedAtMonoMs })));
  });
  const connections = createConnections(settings.maxConcurrentDefault);
  const rules = createWeightRules(settings);
  let rule = rules[config.routing.weightPolicy];
  const acks = createAckLog({ record: (rows) => store.recordAcks(rows), clock, log });
  ends.add(() => acks.close());
  const fleet: Fleet = new Fleet({
    ingest,
    openProducer: (producerId, mcpId, sessionId) => store.openProducer(producerId, mcpId, sessionId, config.server.coordinatorId),
    // The lock of the embedded store's directory admits one process: nobody else could fence a session there.
    readEpochs: store.kind === "postgres" ? store.readEpochs : undefined,
    currentRoutes: () => publisher.current(),
    recordRoutingAck: (acked) => acks.add(ackRow(acked, clock.nowMs())),
    joined: (mcpId, sessionId) => {
      connections.joined(mcpId, sessionId);
      publisher.wake();
    },
    left: (mcpId, sessionId, how) => {
      connections.left(mcpId, sessionId, how, clock.monotonicMs());
      publisher.wake();
    },
    coordinatorId: config.server.coordinatorId,
    authenticate: keys.authenticate,
    memoryShare,
    caps: { perProcess: config.session.maxSessions, perKey: config.session.maxPerKey },
    settings: { version: 1, ...sessionSettingsOf(config) },
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
      estimates: estimatesFromTallies(signals),
      standings: (nowMs) => connections.read(nowMs),
      rule: () => rule,
      clock,
      log,
      holdsLead: store.holdLead,
    },
    settings,
  );
  publisher.subscribe((routes) => fleet.publish(routes));
  ends.add(() => publisher.close());
  await followRejections(machine, store, fleet, ends);
  const useRule = (id: WeightRuleId): void => {
    rule = rules[id];
    publisher.wake();
  };
  return { fleet, publisher, useRule };
}
