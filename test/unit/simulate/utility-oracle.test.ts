import { describe, expect, test } from "vitest";
import { EventHeap } from "../../../src/simulate/event-heap.js";
import { SimulatedServer } from "../../../src/simulate/server.js";
import { utilityOf, utilityOracle } from "../../../src/simulate/utility-oracle.js";
import { equalServers } from "../../../src/simulate/world.js";
import { plainRequest } from "../../../src/smart-router/request.js";

const worth = { dueMs: 1_000, lateWeight: 0.5, latencyWeight: 0.2 };
const grades = [
  { quality: 0.9, workFactor: 1 },
  { quality: 0.7, workFactor: 1 },
];
const unused = () => 0.5;

/** An oracle over two servers of one core, the first with `busy` requests of 500 ms. */
function chosenWith(busy: number, workMs: number): string | undefined {
  const servers = equalServers(2, { cores: 1 }).map((spec) => new SimulatedServer(spec, new EventHeap()));
  for (let index = 0; index < busy; index += 1) servers[0]?.accept(500, false, 0, () => {});
  const byId = new Map(servers.map((server) => [server.spec.mcpId, server]));
  const around = { rng: unused, choices: unused, probe: () => {}, clientCount: 1, coordinator: 0, servers: byId };
  const oracle = utilityOracle((server) => grades[server] ?? { quality: 0, workFactor: 1 }, worth).create(around);
  for (const { spec } of servers) oracle.joined(spec.mcpId, spec.capacity, 0);
  return oracle.dispatch(plainRequest, 0, { atMs: 0, workMs, request: plainRequest, domain: "", item: 0 })?.mcpId;
}

describe("what an answer is worth", () => {
  test("falls with latency up to the moment when it is due, and by half when it is late", () => {
    expect(utilityOf(0.9, 0, worth)).toBe(0.9);
    expect(utilityOf(0.9, 1_000, worth)).toBeCloseTo(0.7);
    expect(utilityOf(0.9, 1_001, worth)).toBeCloseTo(0.2);
    expect(utilityOf(0, 5_000, worth)).toBeCloseTo(-0.7);
  });
});

describe("the oracle of utility", () => {
  test("takes the better answer while it costs nobody too much", () => {
    expect(chosenWith(0, 500)).toBe("mcp-000");
    expect(chosenWith(1, 100)).toBe("mcp-000");
  });

  test("counts what those lose who are there already: a second request of 600 ms would make the first one late", () => {
    expect(chosenWith(1, 600)).toBe("mcp-001");
  });
});
