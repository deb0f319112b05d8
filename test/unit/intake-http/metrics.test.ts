import { expect, test } from "vitest";
import { createMetrics } from "../../../src/intake/http/metrics.js";
import type { TransportFigures } from "../../../src/intake/transport.js";

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
    ...{ transports: () => transports, verdicts: () => ({ stored: 5 }), pendingEvents: () => 2, pendingBytes: () => 200 },
    isStoreAvailable: () => true,
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
