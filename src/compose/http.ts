import type { KeyRing } from "../auth/api-key.js";
import type { Fleet } from "../hub/fleet.js";
import type { Ingest } from "../ingest/ingest.js";
import { createHttpTransport, type HttpTransport } from "../intake/http/http-transport.js";
import type { TransportFigures } from "../intake/transport.js";
import type { ConnectionBound } from "../rpc/connection-bound.js";
import { createHealthReporter } from "../rpc/health-check.js";
import type { Lifetime } from "../rpc/lifetime.js";
import type { Store } from "../store/store.js";
import type { Machine } from "./machine.js";

export type HttpParts = {
  readonly keys: KeyRing;
  readonly store: Store;
  readonly ingest: Ingest;
  readonly lifetime: Lifetime;
  readonly connections: ConnectionBound;
  /** Of every way in, this one among them. Asked only when somebody reads the metrics. */
  readonly transports: () => readonly TransportFigures[];
  /** The sessions of this process. Asked only then, too. */
  readonly fleet: () => Pick<Fleet, "phases" | "weightPlane">;
};

/** The HTTP API of a coordinator, for the web port to serve. */
export function composeHttp({ config, clock, log }: Machine, parts: HttpParts): HttpTransport {
  const { keys, store, ingest, lifetime, connections, transports, fleet } = parts;
  return createHttpTransport({
    store,
    ingest,
    authenticate: keys.authenticate,
    checkHealth: createHealthReporter({ clock, log }, { database: store.ping }),
    rate: config.http,
    takesReports: config.extensions.interactionLogging,
    draining: lifetime.draining,
    stopping: lifetime.stopping,
    transports,
    sessions: () => fleet().phases(),
    routeFigures: () => fleet().weightPlane(),
    connections: () => connections.figures,
    clock,
    log,
    coordinatorId: config.server.coordinatorId,
  });
}
