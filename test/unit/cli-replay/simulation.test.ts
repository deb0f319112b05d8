import fc from "fast-check";
import { expect, test } from "vitest";
import { createDemoView, cutLine, plainLine, titleLines, viewLines } from "../../../src/cli/demo-view.js";
import { DueHeap } from "../../../src/cli/due-heap.js";
import { parseDuration } from "../../../src/cli/duration.js";
import type { Output } from "../../../src/cli/output.js";
import { createProgress, progressLine } from "../../../src/cli/progress.js";
import type { FleetFigures } from "../../../src/cli/simulated-fleet.js";
import { demoFleet, drawByWeight, flakyFromMs, flakyUntilMs, poisson, processingMs } from "../../../src/cli/simulated-mcp.js";
import { seededRng } from "../../../src/platform/rng.js";

test("what was put into the queue comes out in order of time, whatever the order it came in", () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 0, max: 50 })), (times) => {
      const heap = new DueHeap<number>();
      for (const time of times) heap.push(time, time);
      const out: number[] = [];
      for (let item = heap.pop(); item !== undefined; item = heap.pop()) out.push(item.value);
      expect(out).toEqual([...times].sort((a, b) => a - b));
    }),
  );
});

test("requests are drawn in proportion to the weights, and equally when there are none", () => {
  const rng = seededRng(3);
  const counts = [0, 0, 0];
  for (let draw = 0; draw < 10_000; draw++) {
    const index = drawByWeight([1_000, 0, 9_000], rng);
    counts[index] = (counts[index] ?? 0) + 1;
  }
  expect(counts[1]).toBe(0);
  expect(counts[2]).toBeGreaterThan(8_800);
  expect(new Set(Array.from({ length: 100 }, () => drawByWeight([0, 0, 0], rng))).size).toBe(3);
});

test("arrivals have the asked mean, and times the asked median", () => {
  const rng = seededRng(5);
  const arrivals = Array.from({ length: 20_000 }, () => poisson(1.2, rng));
  expect(arrivals.reduce((sum, count) => sum + count, 0) / arrivals.length).toBeCloseTo(1.2, 1);
  const times = Array.from({ length: 20_001 }, () =>
    processingMs({ medianMs: 100, spread: 0.5, errorShare: 0, ownPerSecond: 0 }, rng),
  ).sort((a, b) => a - b);
  expect(times[10_000]).toBeGreaterThan(97);
  expect(times[10_000]).toBeLessThan(103);
});

test("the flaky MCP turns bad after 15 s and recovers after 45 s", () => {
  const flaky = demoFleet.find(({ mcpId }) => mcpId === "demo-flaky");
  const errors = [0, flakyFromMs - 1, flakyFromMs, flakyUntilMs - 1, flakyUntilMs].map((ms) => (flaky?.at(ms).errorShare ?? 0) > 0.5);
  expect([flakyFromMs, flakyUntilMs]).toEqual([15_000, 45_000]);
  expect(errors).toEqual([false, false, true, true, false]);
});

test.each([
  ["500ms", 500],
  ["60s", 60_000],
  ["2m", 120_000],
  ["1h", 3_600_000],
])("a demo for %s takes %i ms", (text, ms) => {
  expect(parseDuration("--for", text)).toBe(ms);
});

test.each(["", "60", "0s", "-1s", "1.5s", "s"])('a demo for "%s" is refused', (text) => {
  expect(() => parseDuration("--for", text)).toThrow("--for must be a duration");
});

test("progress is drawn on a terminal only, within its width", () => {
  const written: string[] = [];
  const sink = { write: (text: string) => written.push(text), columns: 40 };
  createProgress(sink, "replay", () => 0).update(1, 2, "note");
  expect(written).toEqual([]);
  createProgress({ ...sink, isTTY: true }, "replay", () => 0).update(1, 2, "a note that is far too long for it");
  expect(written.join("").replace("\r\u001b[K", "")).toHaveLength(39);
  expect(progressLine("replay", 1, 2, "")).toContain("[##############--------------] 50%");
});

const figures: FleetFigures = {
  elapsedMs: 12_300,
  mcps: [
    { mcpId: "demo-fast", trait: "fast", state: "active", weight: 7_500, isWarming: false, requestsPerSecond: 42, errorShare: 0 },
    { mcpId: "demo-slow", trait: "slow", state: "disconnected", weight: 2_500, isWarming: true, requestsPerSecond: 3, errorShare: 0.5 },
  ],
  routesVersion: 3n,
  routesReason: "change",
  acksPerSecond: 90,
  ackP50Ms: 1.2,
  ackP99Ms: 9.8,
  totals: { interactions: 1, reported: 2, stored: 2, rejected: 0, unresolved: 0, reconnects: 0, routeTables: 3, skipped: 0 },
};
const title = { grpc: "127.0.0.1:50051", web: undefined, storePromise: "embedded" };
const plain: Pick<Output, "paint"> = { paint: (_, text) => text };

test("the view names every MCP with its share, and colours nothing by itself", () => {
  const text = [...titleLines(title, plain), ...viewLines(figures, plain)].join("\n");
  expect(text).toMatch(/demo-fast +█{18}░{6} +75\.0% +42\.0 +0\.0% +fast/);
  expect(text).toMatch(/demo-slow .* 50\.0% +slow, warming, disconnected/);
  expect(text).toContain("grpcurl -plaintext");
  expect(text).not.toContain("\u001b");
  expect(plainLine(figures)).toBe(
    "12 s | acks 90/s p50 1.2 ms p99 9.8 ms | table 3 | demo-fast 75.0% 42/s err 0% | demo-slow 25.0% 3/s err 50%",
  );
});

test("the live view redraws over its last picture in 80 columns too: only what stands above it may wrap", () => {
  const written: string[] = [];
  const sink = { write: (text: string) => written.push(text), isTTY: true, columns: 80 };
  const view = createDemoView(sink, { ...plain, isJson: false, data: () => {}, json: () => {}, talk: () => {}, warn: () => {} }, title);
  const crowded = { ...figures, acksPerSecond: 123_456, totals: { ...figures.totals, stored: 123_456_789, reconnects: 1_234_567 } };
  written.length = 0;
  view.show(crowded);
  const picture = written.join("").replaceAll("\r\u001b[K", "").split("\n").slice(0, -1);
  expect(Math.max(...picture.map((line) => line.length))).toBe(79);
  written.length = 0;
  view.show(crowded);
  expect(written.join("")).toContain(`\u001b[${picture.length}A`);
});

test("a line that is cut keeps its colours, and they take no room", () => {
  expect(cutLine("ab\u001b[31mcdef\u001b[0mgh", 4)).toBe("ab\u001b[31mcd\u001b[0m");
  expect(cutLine("short", 80)).toBe("short");
});
