import { InteractionService } from "../gen/mcp/coordinator/v1/interaction_service_pb.js";
import { QueryService } from "../gen/mcp/coordinator/v1/query_service_pb.js";
import { RegistryService } from "../gen/mcp/coordinator/v1/registry_service_pb.js";
import { RoutingService } from "../gen/mcp/coordinator/v1/routing_service_pb.js";
import { createKeyRing, type KeyRing } from "./auth/api-key.js";
import type { Decisions } from "./compose/decisions.js";
import { composeHttp } from "./compose/http.js";
import { composeIntake, type Intake } from "./compose/intake.js";
import { Ends, type Machine, Once } from "./compose/machine.js";
import { createReconfigure } from "./compose/reconfigure.js";
import { type RegistryPart, startRegistry } from "./compose/registry.js";
import { startRouting } from "./compose/routing.js";
import { dayMs } from "./compose/session-settings.js";
import type { Config } from "./config/schema.js";
import type { Fleet } from "./hub/fleet.js";
import { createIngest, type Ingest } from "./ingest/ingest.js";
import type { HttpTransport } from "./intake/http/http-transport.js";
import { type Clock, systemClock } from "./platform/clock.js";
import { limits } from "./platform/limits.js";
import type { Logger } from "./platform/log.js";
import { type Rng, systemRng } from "./platform/rng.js";
import { createPseudonym } from "./privacy/pseudonym.js";
import { grpcService } from "./rpc/adapt-grpc.js";
import { webService } from "./rpc/adapt-web.js";
import { requireFree } from "./rpc/address.js";
import { AnswersInHand } from "./rpc/answers-in-hand.js";
import type { CallDeps } from "./rpc/call.js";
import { ConnectionBound } from "./rpc/connection-bound.js";
import { readImage } from "./rpc/image.js";
import { createInteractionHandlers } from "./rpc/interaction.js";
import { createLifetime, type Lifetime } from "./rpc/lifetime.js";
import { type CoordinatorFigures, createQueryHandlers } from "./rpc/query.js";
import { createRegistryHandlers } from "./rpc/registry.js";
import { createRoutingHandlers } from "./rpc/routing.js";
import { createGrpcServer, type GrpcServer } from "./rpc/server-grpc.js";
import { createWebServer, type WebServer } from "./rpc/server-web.js";
import { streamInteractions } from "./rpc/stream-interactions.js";
import type { Exchange } from "./smart-router/exchange.js";
import type { Publisher } from "./smart-router/publish.js";
import { keepMaintained } from "./store/keep-maintained.js";
import { openStore } from "./store/open.js";
import { probeStore } from "./store/probe.js";
import type { Store } from "./store/store.js";

export type StartOptions = {
  readonly config: Config;
  readonly log: Logger;
  readonly clock?: Clock;
  readonly rng?: Rng;
};

/** A running coordinator. */
export type Coordinator = {
  readonly grpcPort: number;
  /** 0 when the web port is switched off. */
  readonly webPort: number;
  /** One line: which store, and what it promises. */
  readonly storePromise: string;
  /** Puts what may change at run time in force: the times and sizes of `[session]`, the rule of weights, and the keys. Says in the log which other changes wait for a restart. */
  readonly reconfigure: (config: Config) => void;
  /** Ends in good order: streams are told, everything committed is acknowledged, then the ports close and the store. Idempotent. */
  readonly drain: () => Promise<void>;
  /** Ends at once: streams are cut; what was acknowledged is stored. Idempotent. */
  readonly closeNow: () => Promise<void>;
  /** Resolves when it has ended; rejects when it had to end because of a fault of its own. */
  readonly closed: Promise<void>;
};

/**
 * The only place where long-lived things are built: in start order, and disposed in reverse.
 * Errors: CoordinatorError when the store or a port cannot be had; nothing is left running then.
 */
export async function startCoordinator(options: StartOptions): Promise<Coordinator> {
  const machine: Machine = { ...options, clock: options.clock ?? systemClock, rng: options.rng ?? systemRng };
  const ends = new Ends();
  try {
    return await start(machine, ends);
  } catch (thrown) {
    await ends.runAll();
    throw thrown;
  }
}

async function start(machine: Machine, ends: Ends): Promise<Coordinator> {
  const { config, log, clock, rng } = machine;
  // The store may end before there is anybody whom that ends.
  const storeEnd = new Once<Error>();
  const { host, grpcPort, webPort } = config.server;
  for (const port of config.extensions.web ? [grpcPort, webPort] : [grpcPort]) await requireFree(host, port);
  const store = await openStore({
    ...(config.store.databaseUrl === undefined ? {} : { databaseUrl: config.store.databaseUrl }),
    dataDir: config.store.dataDir,
    retentionDays: config.store.retentionDays,
    dedupeHorizonDays: config.store.dedupeHorizonDays,
    maxRecords: config.store.maxRecords,
    clock,
    log,
    onFatal: (error) => storeEnd.tell(error),
  });
  ends.add(() => store.close());
  const stopMaintenance = keepMaintained(store, machine, config.store.maintenanceIntervalSeconds * 1000);
  ends.add(stopMaintenance);
  const registry = config.extensions.registry ? await startRegistry(machine, store, ends) : undefined;
  const ingest = createIngest({
    store,
    ...(registry === undefined ? {} : { rulesOf: registry.rulesOf }),
    pseudonym: createPseudonym(config.security.pseudonymKey ?? (await store.instanceKey())),
    maxClockSkewMs: config.ingest.maxClockSkewSeconds * 1000,
    dedupeHorizonMs: config.store.dedupeHorizonDays * dayMs,
    clock,
    rng,
    log,
  });
  ends.add(() => ingest.queue.close());
  const keys = createKeyRing(config.auth.keys, clock, (sha256) => registry?.directory.byKey(sha256));
  const lifetime = createLifetime();
  const connections = new ConnectionBound(config.server.maxConnections, clock, log);
  const transports = () => intake.figures();
  const http = composeHttp(machine, { keys, store, ingest, lifetime, connections, transports, fleet: () => fleet });
  const intake = composeIntake(machine, { store, ingest, keys, served: config.extensions.web ? [http] : [] }, ends);
  const { fleet, publisher, decisions, exchange, useRule, useObjectives } = await startRouting(
    machine,
    { keys, store, ingest, registry },
    ends,
  );
  registry?.follow(fleet, ingest);
  ingest.followTimes(http.notes.committed);
  fleet.followApplied(http.notes.applied);
  const parts = { keys, lifetime, connections, store, ingest, http, fleet, publisher, decisions, exchange, registry };
  const ports = await startPorts(machine, parts, ends);
  registry?.webPortOpened(ports.webPort);
  intake.start();
  const life = createLife(machine, ends, { fleet, intake, ports });
  storeEnd.hear(life.fail);
  const reconfigure = createReconfigure(machine, { keys, fleet, useRule, useObjectives });
  return { grpcPort: ports.grpcPort, webPort: ports.webPort, storePromise: store.promise, reconfigure, ...life.coordinator };
}

type Parts = {
  readonly keys: KeyRing;
  readonly lifetime: Lifetime;
  readonly connections: ConnectionBound;
  readonly store: Store;
  readonly ingest: Ingest;
  readonly http: HttpTransport;
  readonly fleet: Fleet;
  readonly publisher: Publisher;
  readonly registry: RegistryPart | undefined;
  readonly decisions: Decisions;
  readonly exchange: Exchange;
};

type Ports = {
  readonly grpcPort: number;
  readonly webPort: number;
  readonly grpc: GrpcServer;
  readonly web: WebServer;
};

/** Both servers, over the same handlers. */
async function startPorts(machine: Machine, parts: Parts, ends: Ends): Promise<Ports> {
  const { config, log, clock } = machine;
  const { keys, lifetime, connections, store, ingest, http, fleet, publisher, decisions, exchange, registry } = parts;
  const deps: CallDeps = { authenticate: keys.authenticate, lifetime, clock, log, coordinatorId: config.server.coordinatorId };
  const interaction = createInteractionHandlers({ ingest, store, clock });
  const query = createQueryHandlers({ store, clock, readCoordinator: figuresOf(machine, parts) });
  const plane = { book: publisher, listAcks: store.listAcks, readPlane: () => fleet.weightPlane() };
  const routing = { ...createRoutingHandlers(plane), ...decisions.handlers };
  const registryHandlers = registry && createRegistryHandlers(registry.service);
  const { interactionLogging, routing: hasRouting } = config.extensions;
  const answers = new AnswersInHand(limits.queriesPerConnectionMax);
  const grpc = createGrpcServer({
    ...deps,
    services: [
      ...(interactionLogging
        ? [grpcService(deps, InteractionService, { ...interaction, streamInteractions: streamInteractions(log, fleet) }, answers)]
        : []),
      grpcService(deps, QueryService, query, answers),
      ...(hasRouting ? [grpcService(deps, RoutingService, routing, answers)] : []),
      ...(registryHandlers ? [grpcService(deps, RegistryService, registryHandlers, answers)] : []),
    ],
    image: readImage(),
    connections,
    clock,
  });
  ends.add(() => grpc.close());
  const web = createWebServer({
    ...deps,
    services: [
      ...(interactionLogging ? [webService(deps, InteractionService, interaction)] : []),
      webService(deps, QueryService, query),
      ...(hasRouting ? [webService(deps, RoutingService, routing)] : []),
      ...(registryHandlers ? [webService(deps, RegistryService, registryHandlers)] : []),
    ],
    checks: { database: store.ping },
    http,
    clock,
  });
  ends.add(() => web.close());
  const probe = probeStore(store, machine, (isAvailable) => grpc.health.setStoreAvailable(isAvailable && ingest.queue.isAvailable));
  ends.add(probe.close);
  ingest.queue.watchAvailability((isAvailable) => grpc.health.setStoreAvailable(isAvailable && probe.isAvailable()));
  if (hasRouting) await publisher.start();
  if (hasRouting) await decisions.config.start();
  if (hasRouting) await exchange.start();
  const grpcPort = await grpc.start(config.server.host, config.server.grpcPort);
  const webPort = config.extensions.web ? await web.start(config.server.host, config.server.webPort) : 0;
  return { grpcPort, webPort, grpc, web };
}

/** What GetStats tells of this process. */
function figuresOf(machine: Machine, parts: Parts): () => CoordinatorFigures {
  const startedAtMs = machine.clock.nowMs();
  return () => {
    const { counts, deadLetters } = parts.ingest.tally();
    return {
      coordinatorId: machine.config.server.coordinatorId,
      startedAtMs,
      openStreams: parts.fleet.size,
      pendingEvents: parts.ingest.queue.pendingEvents,
      pendingBytes: parts.ingest.queue.pendingBytes,
      storeAvailable: parts.ingest.queue.isAvailable,
      events: counts,
      deadLetters,
      sessions: parts.fleet.figures(),
      ...(machine.config.extensions.routing ? { routing: parts.decisions.figures() } : {}),
    };
  };
}

type Life = {
  readonly coordinator: Pick<Coordinator, "drain" | "closeNow" | "closed">;
  /** The store can never work again in this process. */
  readonly fail: (error: Error) => void;
};

/** How the process ends: in good order, at once, or because it must. */
function createLife(
  machine: Machine,
  ends: Ends,
  { fleet, intake, ports }: { readonly fleet: Fleet; readonly intake: Intake; readonly ports: Ports },
): Life {
  let resolveClosed = (): void => {};
  let rejectClosed = (_: Error): void => {};
  const closed = new Promise<void>((resolve, reject) => {
    resolveClosed = resolve;
    rejectClosed = reject;
  });
  closed.catch(() => {}); // whoever started the coordinator may look at it later
  let draining: Promise<void> | undefined;
  const closeNow = async (): Promise<void> => {
    await ends.runAll();
    resolveClosed();
  };
  const drain = async (): Promise<void> => {
    machine.log.info({ streams: fleet.size }, "draining");
    ports.grpc.health.shutDown();
    const graceMs = machine.config.server.drainSeconds * 1000;
    await Promise.all([fleet.drain(graceMs), intake.drain(graceMs)]);
    await Promise.all([ports.grpc.drain(portGraceMs), ports.web.drain(portGraceMs)]);
    await closeNow();
  };
  return {
    coordinator: {
      drain: () => {
        draining ??= drain();
        return draining;
      },
      closeNow,
      closed,
    },
    fail: (error) => {
      machine.log.fatal({ err: error }, "the store is gone for good: the coordinator ends");
      const end = (): void => rejectClosed(error);
      ends.runAll().then(end, end);
    },
  };
}

/** How long unary calls and responses may take after the last stream has ended. */
const portGraceMs = 2_000;
