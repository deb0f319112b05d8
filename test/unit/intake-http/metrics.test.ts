import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { createMetrics, type MetricSource } from "../../../src/intake/http/metrics.js";
import type { TransportFigures } from "../../../src/intake/transport.js";

const source: MetricSource = {
  transports: () => [
    {
      ...{ name: "grpc", state: "up", detail: "", received: 3, resolved: 2, refused: 1, deadLettered: 0 },
      ...{ depth: 0, lagMs: 0 },
    },
  ],
  verdicts: () => ({ stored: 2 }),
  pendingEvents: () => 0,
  pendingBytes: () => 0,
  isStoreAvailable: () => true,
  sessions: () => ({ greeting: 0, live: 7 }),
  routes: () => ({ streams: 7, streamsOnNewest: 5, versionLagMax: 2, counts: { sent: 9, withheld: 1 } }),
  connections: () => ({ open: 4, refused: 3 }),
};

/** Lines of the answer that hold a value, in the Prometheus text format. */
async function linesOf(metrics: ReturnType<typeof createMetrics>): Promise<readonly string[]> {
  return (await metrics.render()).text.split("\n").filter((line) => line !== "" && !line.startsWith("#"));
}

test("sessions by phase, connections, and how far routing tables have come, are told as they are when somebody asks", async () => {
  const lines = await linesOf(createMetrics(source));
  expect(lines).toEqual(
    expect.arrayContaining([
      'mcp_coordinator_sessions{phase="live"} 7',
      'mcp_coordinator_sessions{phase="greeting"} 0',
      "mcp_coordinator_grpc_connections 4",
      "mcp_coordinator_grpc_connections_refused_total 3",
      'mcp_coordinator_routes_streams{standing="newest"} 5',
      'mcp_coordinator_routes_streams{standing="behind"} 2',
      "mcp_coordinator_routes_version_lag 2",
      'mcp_coordinator_routes_updates_total{event="sent"} 9',
    ]),
  );
});

test("a commit is counted in seconds, and a wait that a clock makes negative as none", async () => {
  const metrics = createMetrics(source);
  metrics.committed({ queueWaitMs: 40, commitMs: 3, batchEvents: 12 });
  metrics.committed({ queueWaitMs: -1, commitMs: 700, batchEvents: 1 });
  metrics.applied(20);
  const lines = await linesOf(metrics);
  expect(lines).toEqual(
    expect.arrayContaining([
      'mcp_coordinator_commit_duration_seconds_bucket{le="0.005"} 1',
      'mcp_coordinator_commit_duration_seconds_bucket{le="1"} 2',
      "mcp_coordinator_commit_duration_seconds_count 2",
      'mcp_coordinator_commit_queue_duration_seconds_bucket{le="0.0005"} 1',
      'mcp_coordinator_commit_queue_duration_seconds_bucket{le="0.05"} 2',
      "mcp_coordinator_commit_events_sum 13",
      'mcp_coordinator_routes_apply_duration_seconds_bucket{le="0.025"} 1',
    ]),
  );
});

test("docs/operations.md names every metric, and none that is not there", async () => {
  const metrics = createMetrics(source);
  const { text } = await metrics.render();
  const served = [...text.matchAll(/^# TYPE mcp_coordinator_(\w+) /gm)].map((match) => match[1] ?? "");
  const page = readFileSync("docs/operations.md", "utf8");
  const table = page.slice(page.indexOf("| metric | kind |"), page.indexOf("A store that becomes slow"));
  const named = [...table.matchAll(/^\| (`[^|]*`) \|/gm)].flatMap(([, cell = ""]) =>
    [...cell.matchAll(/`([^`]+)`/g)].map((match) => (match[1] ?? "").replace("…", "transport")),
  );
  expect(named.toSorted()).toEqual(served.toSorted());
});

const figuresOf = (name: TransportFigures["name"], more: Partial<TransportFigures> = {}): TransportFigures => ({
  ...{ name, state: "up", detail: "", received: 9, resolved: 5, refused: 3, deadLettered: 1, depth: 2, lagMs: 1_500 },
  ...more,
});

test("every way in tells its depth, its lag and what was lost on it, and is silent about what it cannot know", async () => {
  const transports = [
    figuresOf("grpc", { state: "off", depth: undefined, lagMs: undefined }),
    figuresOf("redis", { dropped: 6 }),
    figuresOf("table", { state: "down" }),
  ];
  const metrics = createMetrics({
    ...source,
    transports: () => transports,
  });
  const told = async () => (await metrics.render()).text.split("\n").filter((line) => /^mcp_coordinator_transport_/.test(line));
  const lines = await told();
  const named = (name: string) => lines.filter((line) => line.includes(`_${name}{`)).map((line) => line.replace(/^.*transport="/, ""));
  expect(named("up")).toEqual(['grpc"} 0', 'redis"} 1', 'table"} 0']);
  expect(named("depth")).toEqual(['redis"} 2', 'table"} 2']);
  expect(named("lag_seconds")).toEqual(['redis"} 1.5', 'table"} 1.5']);
  expect(named("dropped_total")).toEqual(['redis"} 6']);
  expect(named("dead_lettered_total")).toEqual(['grpc"} 1', 'redis"} 1', 'table"} 1']);
  // Counts are those of the source, however often somebody asks.
  expect(await told()).toEqual(lines);
});
