import { pino } from "pino";
import { createIngest } from "../../src/ingest/ingest.js";
import { createHttpTransport, type HttpTransport } from "../../src/intake/http/http-transport.js";
import { systemClock } from "../../src/platform/clock.js";
import { createLifetime } from "../../src/rpc/lifetime.js";
import { createWebServer, type WebServer } from "../../src/rpc/server-web.js";
import { noonMs } from "./draft.js";
import { GatedStore } from "./gated-store.js";
import { ManualClock } from "./manual-clock.js";

/** The HTTP API on a port of its own, over a store that answers when the test says so and a clock that the test moves. */
export type GatedApi = AsyncDisposable & {
  readonly url: string;
  readonly port: number;
  readonly store: GatedStore;
  readonly clock: ManualClock;
  readonly http: HttpTransport;
  readonly web: WebServer;
};

export async function openGatedApi(): Promise<GatedApi> {
  const clock = new ManualClock(noonMs);
  const store = new GatedStore();
  const log = pino({ level: "silent" });
  const ingest = createIngest({
    store: { laneCount: 1, append: store.append, setAside: store.setAside },
    pseudonym: (id) => `u_${id}`,
    maxClockSkewMs: 600_000,
    dedupeHorizonMs: 7 * 86_400_000,
    clock,
    rng: () => 1,
    log,
  });
  const lifetime = createLifetime();
  const http = createHttpTransport({
    ingest,
    store: {
      countInteractions: async () => ({ total: 0, active: 0, completed: 0, failed: 0, averageMs: undefined }),
      readPerformance: async () => {
        throw new TypeError("secret of the implementation");
      },
    },
    authenticate: () => ({ kind: "anyone" }),
    checkHealth: async () => ({ status: "healthy", checks: {} }),
    rate: { requestsPerMinute: 0, requestBurst: 1 },
    takesReports: true,
    draining: lifetime.draining,
    stopping: lifetime.stopping,
    transports: () => [http.figures()],
    sessions: () => ({}),
    routeFigures: () => ({ streams: 0, streamsOnNewest: 0, versionLagMax: 0, counts: {} }),
    connections: () => ({ open: 0, refused: 0 }),
    clock,
    log,
    coordinatorId: "coordinator-of-test",
  });
  const web = createWebServer({ services: [], checks: {}, http, lifetime, log, coordinatorId: "coordinator-of-test", clock: systemClock });
  const port = await web.start("127.0.0.1", 0);
  return {
    url: `http://127.0.0.1:${port}`,
    port,
    store,
    clock,
    http,
    web,
    [Symbol.asyncDispose]: async () => {
      ingest.queue.close();
      await web.close();
    },
  };
}
