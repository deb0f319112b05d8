/**
 * The HTTP API of the coordinator as it is, routes, keys, parsing, judging, commit queue and envelope, over a store that says "stored" and keeps nothing:
 * what the reports of bench/http.ts cost without storing. Ends with its parent's SIGTERM.
 */
import { pino } from "pino";
import { createIngest } from "../../src/ingest/ingest.js";
import { createHttpTransport } from "../../src/intake/http/http-transport.js";
import { systemClock } from "../../src/platform/clock.js";
import { systemRng } from "../../src/platform/rng.js";
import { createPseudonym } from "../../src/privacy/pseudonym.js";
import { createLifetime } from "../../src/rpc/lifetime.js";
import { createWebServer } from "../../src/rpc/server-web.js";

const log = pino({ level: "error" });
const clock = systemClock;
const lifetime = createLifetime();
const nothing = { total: 0, completed: 0, failed: 0 };
const durations = { avgMs: undefined, minMs: undefined, maxMs: undefined, p50Ms: undefined, p95Ms: undefined, p99Ms: undefined };

const ingest = createIngest({
  store: {
    laneCount: 3,
    append: async (_lane, events) => events.map(() => ({ kind: "stored", storedAtMs: clock.nowMs() })),
    setAside: async () => {},
  },
  pseudonym: createPseudonym("0".repeat(64)),
  maxClockSkewMs: 600_000,
  dedupeHorizonMs: 7 * 86_400_000,
  clock,
  rng: systemRng,
  log,
});
const http = createHttpTransport({
  ingest,
  store: {
    countInteractions: async () => ({ ...nothing, active: 0, averageMs: undefined }),
    readPerformance: async () => ({ ...nothing, ...durations }),
  },
  authenticate: () => ({ kind: "anyone" }),
  checkHealth: async () => ({ status: "healthy", checks: {} }),
  rate: { requestsPerMinute: 0, requestBurst: 1 },
  takesReports: true,
  draining: lifetime.draining,
  stopping: lifetime.stopping,
  transports: () => [http.figures()],
  sessions: () => ({}),
  connections: () => ({ open: 0, refused: 0 }),
  routeFigures: () => ({ streams: 0, streamsOnNewest: 0, versionLagMax: 0, counts: {} }),
  clock,
  log,
  coordinatorId: "storeless",
});
const web = createWebServer({ services: [], checks: {}, http, lifetime, log, clock, coordinatorId: "storeless" });
process.once("SIGTERM", () => process.exit(0));
await web.start("127.0.0.1", Number(process.argv[2]));
process.send?.("ready");
