import type { KeyRing } from "../auth/api-key.js";
import type { Ingest } from "../ingest/ingest.js";
import type { VerdictStatus } from "../ingest/verdict.js";
import { createRedisIntake } from "../intake/redis-stream/intake.js";
import { createSharedTable } from "../intake/shared-table/poller.js";
import type { Transport, TransportFigures } from "../intake/transport.js";
import type { Source } from "../interaction/event.js";
import type { Store } from "../store/store.js";
import { readReport } from "../wire/report-body.js";
import type { Ends, Machine } from "./machine.js";

/** Every way in: one shape over one front door. */
export type Intake = {
  /** Begins to take from where reports wait. What fails afterwards is in `figures`. */
  readonly start: () => void;
  /** One for each way in, always in the same order; `off` for those that are not configured. */
  readonly figures: () => readonly TransportFigures[];
  /** Takes nothing new; resolves when what was taken is settled, within `graceMs`. The store and the commit queue must live until then. Idempotent. */
  readonly drain: (graceMs: number) => Promise<void>;
};

export type IntakeParts = {
  readonly store: Store;
  readonly ingest: Ingest;
  readonly keys: Pick<KeyRing, "authenticate">;
  /** Ways in that a port serves: their reports come by themselves, and here they are started, counted and drained like the others. */
  readonly served: readonly Transport[];
};

/** Builds the ways in that the configuration asks for. They end, at the latest, before the commit queue and the store do. */
export function composeIntake(machine: Machine, parts: IntakeParts, ends: Ends): Intake {
  const transports = [...parts.served, ...transportsOf(machine, parts)];
  const drain = async (graceMs: number): Promise<void> => {
    await Promise.all(transports.map((transport) => transport.drain(graceMs)));
  };
  ends.add(() => drain(0));
  return {
    start: () => {
      for (const transport of transports) transport.start();
    },
    figures: () => {
      const known = [streamFigures(machine, parts.ingest), ...transports.map((transport) => transport.figures())];
      return sources.map((name) => known.find((figures) => figures.name === name) ?? switchedOff(name));
    },
    drain,
  };
}

/** The ways in that fetch: one line for each. */
function transportsOf(machine: Machine, parts: IntakeParts): readonly Transport[] {
  return [...redisStream(machine, parts), ...sharedTable(machine, parts)];
}

function redisStream({ config, clock, rng, log }: Machine, { ingest, keys }: IntakeParts): readonly Transport[] {
  const { url } = config.redis;
  if (url === undefined) return [];
  const { coordinatorId } = config.server;
  return [createRedisIntake({ url, config: config.redis, coordinatorId, ingest, authenticate: keys.authenticate, clock, rng, log })];
}

/** Only a database of its own is one that producers can reach. */
function sharedTable({ config, clock, rng, log }: Machine, { store, ingest }: IntakeParts): readonly Transport[] {
  if (!config.sharedTable.enabled || store.kind === "embedded") return [];
  return [createSharedTable({ store, ingest, read: readReport, clock, rng, log }, config.sharedTable)];
}

const sources = ["grpc", "http", "redis", "table"] as const satisfies readonly Source[];

/** Verdicts after which an event need not be sent again because it is there, or nobody wants it. */
const resolving: ReadonlySet<VerdictStatus> = new Set(["stored", "duplicate", "not_collected"]);

/** The stream, and the calls beside it, as the front door counts them: what fetches counts in the same words. */
function streamFigures({ config, clock }: Machine, { queue, tally }: Ingest): TransportFigures {
  if (!config.extensions.interactionLogging) return switchedOff("grpc");
  const { counts, deadLetters } = tally().bySource.grpc;
  let resolved = 0;
  let others = 0;
  // Keys of a complete record.
  for (const status of Object.keys(counts) as VerdictStatus[]) {
    if (resolving.has(status)) resolved += counts[status];
    else others += counts[status];
  }
  const depth = queue.pendingOf("grpc");
  const oldestMs = queue.oldestReceivedAtMs;
  return {
    name: "grpc",
    state: queue.isAvailable ? "up" : "down",
    detail: queue.isAvailable ? "" : "the store does not answer: events wait, and nothing is acknowledged",
    received: resolved + others + depth,
    resolved,
    refused: others - deadLetters,
    deadLettered: deadLetters,
    depth,
    lagMs: depth === 0 || oldestMs === undefined ? 0 : Math.max(0, clock.monotonicMs() - oldestMs),
  };
}

function switchedOff(name: Source): TransportFigures {
  return {
    name,
    state: "off",
    detail: "not configured",
    received: 0,
    resolved: 0,
    refused: 0,
    deadLettered: 0,
    depth: undefined,
    lagMs: undefined,
  };
}
