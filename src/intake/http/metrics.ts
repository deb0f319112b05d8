import { Counter, Gauge, Histogram, Registry } from "prom-client";
import type { CommitTiming } from "../../ingest/pending.js";
import type { TransportFigures } from "../transport.js";

/** What the process is like, for Prometheus. No label holds a name of an MCP, a user or a key: there are few series, and whoever reads them learns nothing of anybody. */
export type MetricSource = {
  /** Of every way in, the stream among them. */
  readonly transports: () => readonly TransportFigures[];
  /** Verdicts given since the start, by name. */
  readonly verdicts: () => Readonly<Record<string, number>>;
  readonly pendingEvents: () => number;
  readonly pendingBytes: () => number;
  readonly isStoreAvailable: () => boolean;
  /** Sessions by the phase of their life. The same phases each time. */
  readonly sessions: () => Readonly<Record<string, number>>;
  readonly routes: () => RouteFigures;
  /** Connections of the gRPC port: open, and refused since the start. */
  readonly connections: () => { readonly open: number; readonly refused: number };
};

/** How routing tables reach the streams of this process. */
export type RouteFigures = {
  /** Streams that take tables, and how many of them have put the newest in force. */
  readonly streams: number;
  readonly streamsOnNewest: number;
  /** How many versions the stream that is farthest behind is behind. */
  readonly versionLagMax: number;
  /** What happened to updates since the start, by name. The same names each time. */
  readonly counts: Readonly<Record<string, number>>;
};

export type Metrics = {
  /** Notes one answer of the HTTP API.     Units: ms. `route`: its id, or "none". */
  readonly answered: (route: string, status: number, durationMs: number) => void;
  /** Notes one commit. */
  readonly committed: (timing: CommitTiming) => void;
  /** Notes that a stream has put a table in force.     Units: ms since it was published. */
  readonly applied: (delayMs: number) => void;
  /** Text for Prometheus, and its content type. */
  readonly render: () => Promise<{ readonly contentType: string; readonly text: string }>;
};

/** Metrics in a registry of their own, read from where they are counted when somebody asks. */
export function createMetrics(source: MetricSource): Metrics {
  const registers = [new Registry()] as const;
  addTransports(registers, source);
  addProcess(registers, source);
  addRoutes(registers, source);
  const commits = addCommits(registers);
  const applied = new Histogram({
    registers: [...registers],
    name: "mcp_coordinator_routes_apply_duration_seconds",
    help: "From the publication of a routing table here to a stream's ack that it is in force.",
    buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10],
  });
  const durations = new Histogram({
    registers: [...registers],
    name: "mcp_coordinator_http_request_duration_seconds",
    help: "From the headers of a request to its answer.",
    labelNames: ["route", "status"],
    buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5],
  });
  const [registry] = registers;
  return {
    answered: (route, status, durationMs) => durations.observe({ route, status: String(status) }, durationMs / 1_000),
    committed: commits,
    applied: (delayMs) => applied.observe(delayMs / 1_000),
    render: async () => ({ contentType: registry.contentType, text: await registry.metrics() }),
  };
}

type Registers = readonly [Registry];

function addTransports(registers: Registers, source: MetricSource): void {
  const gauge = (name: string, help: string, read: (figures: TransportFigures) => number | undefined) =>
    new Gauge({
      registers: [...registers],
      name: `mcp_coordinator_transport_${name}`,
      help,
      labelNames: ["transport"],
      collect() {
        this.reset();
        for (const figures of source.transports()) {
          const value = read(figures);
          if (value !== undefined) this.set({ transport: figures.name }, value);
        }
      },
    });
  const counter = (name: string, help: string, read: (figures: TransportFigures) => number | undefined) =>
    new Counter({
      registers: [...registers],
      name: `mcp_coordinator_transport_${name}_total`,
      help,
      labelNames: ["transport"],
      collect() {
        this.reset();
        for (const figures of source.transports()) {
          const value = read(figures);
          if (value !== undefined) this.inc({ transport: figures.name }, value);
        }
      },
    });
  gauge("up", "1: reports are taken. 0: what it reads from cannot be reached, or it is off.", ({ state }) => (state === "up" ? 1 : 0));
  gauge("depth", "Reports that wait to be taken or settled. Absent while unknown.", ({ depth }) => depth);
  gauge("lag_seconds", "Age of the oldest report that waits. Absent while unknown.", ({ lagMs }) =>
    lagMs === undefined ? undefined : lagMs / 1_000,
  );
  counter("received", "Reports that came.", ({ received }) => received);
  counter("resolved", "Reports that were stored, had been stored before, or are left out by a rule.", ({ resolved }) => resolved);
  counter("refused", "Reports that were refused; who sent them was told.", ({ refused }) => refused);
  counter("dead_lettered", "Reports that were set aside because they cannot be stored. They are kept.", ({ deadLettered }) => deadLettered);
  counter(
    "dropped",
    "Reports that were trimmed before they could be taken, as far as known. Absent where that cannot happen.",
    ({ dropped }) => dropped,
  );
}

function addProcess(registers: Registers, source: MetricSource): void {
  const gauge = (name: string, help: string, read: () => number) =>
    new Gauge({
      registers: [...registers],
      name: `mcp_coordinator_${name}`,
      help,
      collect() {
        this.set(read());
      },
    });
  new Gauge({
    registers: [...registers],
    name: "mcp_coordinator_sessions",
    help: "Streams that are open, by the phase of their session: greeting (no Hello yet), opening, live, draining, flushing.",
    labelNames: ["phase"],
    collect() {
      for (const [phase, count] of Object.entries(source.sessions())) this.set({ phase }, count);
    },
  });
  gauge("grpc_connections", "Connections of the gRPC port that are open.", () => source.connections().open);
  new Counter({
    registers: [...registers],
    name: "mcp_coordinator_grpc_connections_refused_total",
    help: "Connections that the gRPC port closed at once because it had as many as server.max_connections allows.",
    collect() {
      this.reset();
      this.inc(source.connections().refused);
    },
  });
  gauge("pending_events", "Accepted events that are not committed yet, of all transports.", source.pendingEvents);
  gauge("pending_bytes", "What those cost in memory, roughly.", source.pendingBytes);
  gauge("store_available", "1: the last commit succeeded. 0: events wait for the store.", () => (source.isStoreAvailable() ? 1 : 0));
  new Counter({
    registers: [...registers],
    name: "mcp_coordinator_verdicts_total",
    help: "Verdicts on events, of all transports.",
    labelNames: ["verdict"],
    collect() {
      this.reset();
      for (const [verdict, count] of Object.entries(source.verdicts())) this.inc({ verdict }, count);
    },
  });
}

/** Gives what notes a commit. Waiting and writing apart: the first says that events come faster than the store takes them, the second that the store is slow. */
function addCommits(registers: Registers): (timing: CommitTiming) => void {
  const seconds = (name: string, help: string) =>
    new Histogram({
      registers: [...registers],
      name: `mcp_coordinator_${name}_seconds`,
      help,
      buckets: [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30],
    });
  const durations = seconds("commit_duration", "One commit, its retries among it: from the first statement to the store's answer.");
  const waits = seconds("commit_queue_duration", "From the receipt of the oldest event of a commit to its first statement.");
  const sizes = new Histogram({
    registers: [...registers],
    name: "mcp_coordinator_commit_events",
    help: "Events in one commit.",
    buckets: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000],
  });
  return ({ queueWaitMs, commitMs, batchEvents }) => {
    durations.observe(commitMs / 1_000);
    waits.observe(Math.max(0, queueWaitMs) / 1_000);
    sizes.observe(batchEvents);
  };
}

function addRoutes(registers: Registers, source: MetricSource): void {
  new Gauge({
    registers: [...registers],
    name: "mcp_coordinator_routes_streams",
    help: "Streams that take routing tables: with the newest in force, and behind it.",
    labelNames: ["standing"],
    collect() {
      const { streams, streamsOnNewest } = source.routes();
      this.set({ standing: "newest" }, streamsOnNewest);
      this.set({ standing: "behind" }, streams - streamsOnNewest);
    },
  });
  new Gauge({
    registers: [...registers],
    name: "mcp_coordinator_routes_version_lag",
    help: "How many versions the stream that is farthest behind is behind.",
    collect() {
      this.set(source.routes().versionLagMax);
    },
  });
  new Counter({
    registers: [...registers],
    name: "mcp_coordinator_routes_updates_total",
    help: "What happened to routing tables on their way to streams: sent whole or as a delta, withheld, acks that fit nothing, lost step, of an older epoch, expired.",
    labelNames: ["event"],
    collect() {
      this.reset();
      for (const [event, count] of Object.entries(source.routes().counts)) this.inc({ event }, count);
    },
  });
}
