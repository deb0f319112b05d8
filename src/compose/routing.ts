import type { KeyRing } from "../auth/api-key.js";
import { Fleet } from "../hub/fleet.js";
import type { Ingest } from "../ingest/ingest.js";
import { memoryShare } from "../platform/memory.js";
import { ackRow, createAckLog } from "../smart-router/acks.js";
import { qualityTailLoadId } from "../smart-router/decide/quality-tail-load.js";
import { policyFactories } from "../smart-router/policies.js";
import { createPublisher, type Publisher } from "../smart-router/publish.js";
import type { Router } from "../smart-router/router.js";
import { createWeightRules, type WeightRuleId } from "../smart-router/rules.js";
import { routerDefaults } from "../smart-router/settings.js";
import { createSignals } from "../smart-router/signals.js";
import type { Standing } from "../smart-router/standing.js";
import type { Store } from "../store/store.js";
import { composeDecisions, type Decisions } from "./decisions.js";
import { type ComposedExchange, composeExchange } from "./exchange.js";
import type { Ends, Machine } from "./machine.js";
import type { RegistryPart } from "./registry.js";
import { followRejections } from "./rejections.js";
import { startRouter, watchFor } from "./router.js";
import { sessionSettingsOf } from "./session-settings.js";
import { stepObserver } from "./step-observer.js";
import { createTargets } from "./targets.js";

/** The fleet of sessions, the router that sends requests to them, and the publisher that weighs them. */
export type Routing = {
  readonly fleet: Fleet;
  readonly publisher: Publisher;
  readonly decisions: Decisions;
  readonly exchange: ComposedExchange;
  /** Puts another rule of weights in force. */
  readonly useRule: (id: WeightRuleId) => void;
  /** Puts other latency objectives in force, in ms by request type. */
  readonly useObjectives: (objectiveMs: ReadonlyMap<string, number>) => void;
};

export type RoutingParts = {
  readonly keys: KeyRing;
  readonly store: Store;
  readonly ingest: Ingest;
  readonly registry: RegistryPart | undefined;
};

/** Builds them. Resolves when it is known which tables must not be sent again. */
export async function startRouting(machine: Machine, parts: RoutingParts, ends: Ends): Promise<Routing> {
  const { config, log, clock } = machine;
  const { store, ingest, registry } = parts;
  const settings = { ...routerDefaults, ...config.routing, priorityDefault: config.registry.priority };
  const signals = createSignals(settings);
  ingest.follow((events) => {
    const receivedAtMonoMs = clock.monotonicMs();
    signals.observe(events.map(({ mcpId, facts }) => ({ mcpId, facts, receivedAtMonoMs })));
  });
  const rules = createWeightRules(settings);
  let rule = rules[config.routing.weightPolicy];
  const { router, book } = startRouter(machine, ingest, ends);
  const fleet = startFleet(machine, parts, router, () => publisher.current(), ends);
  const exchange = composeExchange(machine, { store, ingest, router, book, fleet }, ends);
  const publisher: Publisher = createPublisher(
    {
      acquireTerm: store.acquireTerm,
      store: store.publish,
      readNewest: store.readPublication,
      liveMcpIds: () => new Set([...fleet.liveMcpIds(), ...exchange.remoteMcpIds()]),
      signals,
      estimates: book,
      standings: (nowMs) => standingsOf(router, nowMs),
      rule: () => rule,
      clock,
      log,
      holdsLead: store.holdLead,
    },
    settings,
  );
  publisher.subscribe((routes) => fleet.publish(routes));
  ends.add(() => publisher.close());
  router.onHealth(() => publisher.wake());
  await followRejections(machine, store, fleet, ends);
  const targets = createTargets(registry?.routed, config.registry.priority);
  const decisions = composeDecisions(
    machine,
    {
      router,
      knownPolicyIds: new Set(policyFactories.keys()),
      defaults: { policyId: qualityTailLoadId, shadowPolicyIds: [] },
      baseOf: targets.baseOf,
      routes: publisher,
      store,
    },
    ends,
  );
  ingest.follow(decisions.follow);
  targets.follow((mcpId) => {
    decisions.config.refresh(mcpId);
    publisher.wake();
  });
  const useRule = (id: WeightRuleId): void => {
    rule = rules[id];
    publisher.wake();
  };
  return { fleet, publisher, decisions, exchange, useRule, useObjectives: book.setObjectives };
}

function startFleet(
  machine: Machine,
  parts: RoutingParts,
  router: Router,
  currentRoutes: () => ReturnType<Publisher["current"]>,
  ends: Ends,
): Fleet {
  const { config, log, clock, rng } = machine;
  const { keys, store, ingest, registry } = parts;
  const acks = createAckLog({ record: (rows) => store.recordAcks(rows), clock, log });
  ends.add(() => acks.close());
  const fleet = new Fleet({
    ...(registry === undefined ? {} : { registry: registry.sessions }),
    ingest,
    openProducer: (producerId, mcpId, sessionId, isWanted) =>
      store.openProducer(producerId, mcpId, sessionId, config.server.coordinatorId, isWanted),
    // The lock of the embedded store's directory admits one process: nobody else could fence a session there.
    readEpochs: store.kind === "postgres" ? store.readEpochs : undefined,
    currentRoutes,
    recordRoutingAck: (acked) => acks.add(ackRow(acked, clock.nowMs())),
    watch: watchFor(router, machine),
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
  return fleet;
}

/** What the router knows of each MCP, as weights need it. One that left with a good-bye is what it was until it is no longer expected. */
function standingsOf(router: Router, nowMs: number): ReadonlyMap<string, Standing> {
  const standings = new Map<string, Standing>();
  for (const { mcpId, state, expectedAs, slowStart, maxConcurrent, config } of router.mcps(nowMs)) {
    const { weight, priority, isDraining } = config;
    standings.set(mcpId, { state: expectedAs ?? state, slowStart, capacity: maxConcurrent, weight, priority, isDraining });
  }
  return standings;
}
