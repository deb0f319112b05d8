import { assert } from "../platform/assert.js";
import type { Clock } from "../platform/clock.js";
import { limits } from "../platform/limits.js";
import type { Logger } from "../platform/log.js";
import { listAcks, readRejections, recordAcks } from "./acks.js";
import { createAppend } from "./append.js";
import { createPool, type Pool, type PoolOptions, type Runner } from "./connect.js";
import { setAside } from "./dead-letters.js";
import { listDecisions, readDecision, recordDecisions, recordOutcomes } from "./decisions.js";
import { startEmbedded } from "./embedded.js";
import { findEvents } from "./find-events.js";
import { readInstanceKey } from "./instance-key.js";
import { holdLead } from "./lead-lock.js";
import { listInteractions } from "./list-interactions.js";
import { maintain, type Retention } from "./maintain.js";
import { migrateTarget } from "./migrate.js";
import { createOpenings } from "./openings.js";
import { countInteractions, readPerformance } from "./performance.js";
import { readEpochs, readProducer } from "./producers.js";
import { acquireTerm, publish, readPublication } from "./publications.js";
import { readEvents, readInteraction } from "./read-interaction.js";
import { createRegistryStore } from "./registry.js";
import { exchangeDigests, readRouterStates, saveRouterState, withdrawDigest } from "./router-state.js";
import { listRoutingChanges, readRoutingConfig, writeRoutingConfig } from "./routing-config.js";
import { createSharedTableStore } from "./shared-table.js";
import { type Store, StoreFault } from "./store.js";
import { tallyInteractions } from "./tally-interactions.js";
import { connectError, describeTarget, parseTarget, pooledError, type Target } from "./target.js";
import { vacuum } from "./vacuum.js";

export type StoreOptions = Retention & {
  /** A Postgres; without one the store is embedded, in `dataDir`. */
  readonly databaseUrl?: string;
  readonly dataDir: string;
  readonly clock: Clock;
  readonly log: Logger;
  /** Called once when the embedded database has ended by itself: the store is an outage from then on, and only a new process helps. */
  readonly onFatal?: (error: Error) => void;
  /** See PoolOptions.watchdogMs; limits.statementWatchdogMs unless a test says otherwise. */
  readonly watchdogMs?: number;
  /** See EmbeddedOptions.workerUrl. */
  readonly workerUrl?: URL;
};

/**
 * Opens the store: starts the embedded database or reaches the given one, migrates it, makes the partitions of the days to come.
 * Errors: CoordinatorError: `invalid` for a malformed URL; `failed_precondition` for a directory or database that may not be used as it is;
 * `unavailable` for one that does not answer. No text holds a password.
 */
export async function openStore(options: StoreOptions): Promise<Store> {
  return options.databaseUrl === undefined ? openEmbedded(options) : openPostgres(options, parseTarget(options.databaseUrl));
}

async function openPostgres(options: StoreOptions, target: Target): Promise<Store> {
  await migrateTarget(target, options);
  const common = { ...poolOptions(options, target), name: "mcp-coordinator" };
  const queries = createPool({ ...common, maxConnections: limits.queryConnections, settings: {} });
  try {
    await maintain(queries, options, options.clock.nowMs());
    const server = await readServer(queries);
    if (server.timeoutMs !== limits.statementTimeoutMs) throw pooledError(target);
    // One plan for every batch size. A server that acknowledges before its log is on disk is not taken at its word.
    const settings = {
      plan_cache_mode: "force_generic_plan",
      jit: "off",
      ...(server.commit === "off" ? { synchronous_commit: "on" } : {}),
    };
    const lanes = createPool({ ...common, name: "mcp-coordinator lanes", maxConnections: limits.storeLanes, settings });
    const reads = createPool({ ...common, name: "mcp-coordinator reads", maxConnections: limits.readConnections, settings: {} });
    const table = createPool({ ...common, name: "mcp-coordinator shared table", maxConnections: 1, settings });
    const lead = createPool({ ...common, name: "mcp-coordinator lead", maxConnections: 1, settings: {} });
    return createStore(options, {
      kind: "postgres",
      holdLead: () => holdLead(lead),
      promise: describePostgres(target, server),
      laneCount: limits.storeLanes,
      lanes,
      queries,
      reads,
      table,
      close: async () => {
        await Promise.all([lanes, queries, reads, table, lead].map((pool) => pool.close()));
      },
    });
  } catch (thrown) {
    await queries.close();
    throw thrown instanceof StoreFault ? connectError(target, thrown) : thrown;
  }
}

/** One connection for everything: PGlite has one session, and the messages of two connections would mix within a statement. */
async function openEmbedded(options: StoreOptions): Promise<Store> {
  const embedded = await startEmbedded({ ...options, onFatal: options.onFatal ?? (() => {}) });
  const target: Target = { kind: "socket", path: embedded.socketPath };
  const pool = createPool({ ...poolOptions(options, target), name: "mcp-coordinator", maxConnections: 1, settings: {} });
  const close = async (): Promise<void> => {
    await pool.close();
    await embedded.close();
  };
  try {
    await migrateTarget(target, options);
    await maintain(pool, options, options.clock.nowMs());
  } catch (thrown) {
    await close();
    throw thrown instanceof StoreFault ? connectError(target, thrown) : thrown;
  }
  const promise =
    `embedded database (PGlite) in ${options.dataDir}, for one coordinator: ` +
    "acknowledged events survive a crash of the process, but not a power cut; use a Postgres for production";
  // The lock of the data directory admits one process.
  const alone = async (): Promise<boolean> => true;
  // A commit waits for the statement under way, and not for all that were asked before it.
  const lanes: Runner = { run: (statement) => pool.run(statement, { isUrgent: true }) };
  return createStore(options, {
    ...{ kind: "embedded", promise, laneCount: 1, holdLead: alone, close },
    ...{ lanes, queries: pool, reads: pool, table: pool },
  });
}

function poolOptions(options: StoreOptions, target: Target): Pick<PoolOptions, "target" | "watchdogMs" | "clock" | "log"> {
  return { target, watchdogMs: options.watchdogMs ?? limits.statementWatchdogMs, clock: options.clock, log: options.log };
}

/** What both stores differ in. */
type Parts = Pick<Store, "kind" | "promise" | "laneCount" | "holdLead" | "close"> & {
  readonly lanes: Runner;
  readonly queries: Pool;
  /** Of callers: what they ask for may take seconds, and keeps only other callers waiting. */
  readonly reads: Pool;
  /** Of the shared table: its transactions must not keep streams waiting for a lane. */
  readonly table: Pool;
};

function createStore(options: StoreOptions, parts: Parts): Store {
  const { lanes, queries, reads, table, ...rest } = parts;
  const append = createAppend(lanes, parts.laneCount);
  const openings = createOpenings(queries);
  return {
    ...rest,
    append: (lane, events) => {
      assert(lane >= 0 && lane < parts.laneCount, "lane exists");
      return append(lane, events);
    },
    openProducer: (producerId, mcpId, sessionId, coordinatorId, isWanted) =>
      openings({ producerId, mcpId, sessionId, coordinatorId }, isWanted),
    readProducer: (producerId, mcpId) => readProducer(queries, producerId, mcpId),
    readEpochs: (producerIds) => readEpochs(queries, producerIds),
    setAside: (event, reason) => setAside(queries, event, reason),
    findEvents: (mcpId, eventIds, signal) => findEvents(reads, mcpId, eventIds, signal),
    tallyInteractions: (mcpId, interactionIds, signal) =>
      tallyInteractions(reads, mcpId, interactionIds, options.dedupeHorizonDays, signal),
    readInteraction: (mcpId, interactionId, signal) => readInteraction(reads, mcpId, interactionId, signal),
    readEvents: (mcpId, interactionId, page, signal) => readEvents(reads, mcpId, interactionId, page, signal),
    listInteractions: (filter, count, cursor, signal) => listInteractions(reads, filter, count, cursor, signal),
    readPerformance: (mcpId, startMs, endMs, signal) => readPerformance(reads, mcpId, startMs, endMs, signal),
    countInteractions: (mcpId, signal) => countInteractions(reads, mcpId, signal),
    instanceKey: () => readInstanceKey(queries),
    acquireTerm: () => acquireTerm(queries),
    publish: (publication) => publish(queries, publication),
    readPublication: () => readPublication(queries),
    recordAcks: (acks) => recordAcks(queries, acks),
    listAcks: (maxCount) => listAcks(queries, maxCount),
    recordDecisions: (decisions) => recordDecisions(queries, decisions),
    recordOutcomes: (outcomes) => recordOutcomes(queries, outcomes),
    readDecision: (decisionId, signal) => readDecision(reads, decisionId, signal),
    listDecisions: (filter, count, afterId, signal) => listDecisions(reads, filter, count, afterId, signal),
    readRoutingConfig: () => readRoutingConfig(queries),
    writeRoutingConfig: (write) => writeRoutingConfig(queries, write),
    listRoutingChanges: (maxCount) => listRoutingChanges(queries, maxCount),
    exchangeDigests: (own, maxAgeMs) => exchangeDigests(queries, own, maxAgeMs),
    withdrawDigest: (coordinatorId, runId) => withdrawDigest(queries, coordinatorId, runId),
    saveRouterState: (state, maxAgeMs) => saveRouterState(queries, state, maxAgeMs),
    readRouterStates: (coordinatorId, maxCount) => readRouterStates(queries, coordinatorId, maxCount),
    readRejections: (position) => readRejections(queries, position),
    ...createRegistryStore(queries),
    ...createSharedTableStore(table),
    maintain: async (nowMs, databaseMs) => {
      const report = await maintain(queries, options, nowMs, databaseMs);
      if (parts.kind === "embedded") await vacuum(queries);
      return report;
    },
    ping: () => ping(queries),
  };
}

/** See Store.ping. Takes a row lock and nothing more: refused by a standby and by a full disk alike, and leaves no dead row. */
async function ping(pool: Pool): Promise<void> {
  await pool.run(({ sql }) => sql`SELECT term FROM routing_head FOR UPDATE`, { isUrgent: true });
}

type Server = { readonly version: string; readonly commit: string; readonly fsync: string; readonly timeoutMs: number };

async function readServer(pool: Pool): Promise<Server> {
  const [server] = await pool.run(
    ({ sql }) => sql<Server[]>`SELECT current_setting('server_version') AS version, current_setting('synchronous_commit') AS commit,
      current_setting('fsync') AS fsync, (SELECT setting::int FROM pg_settings WHERE name = 'statement_timeout') AS "timeoutMs"`,
  );
  assert(server !== undefined, "a select without from returns one row");
  return server;
}

function describePostgres(target: Target, server: Server): string {
  const where = `Postgres ${server.version} at ${describeTarget(target)}`;
  return server.fsync === "on"
    ? `${where}: acknowledged events are on the server's disk`
    : `${where}: fsync is off there, so acknowledged events survive a crash of the server's process, but not a power cut`;
}
