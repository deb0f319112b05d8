import { describe, expect, test } from "vitest";
import { routesView } from "../../../src/cli/routes-view.js";
import type { ProducerReport, RoutesReport } from "../../../src/client/read-routes.js";

const plain = (_colour: string, text: string): string => text;

const producer = (producerId: string, mcpId: string, lag: number): ProducerReport => ({
  producerId,
  mcpId,
  status: "applied",
  version: 120 - lag,
  lag,
  answered: 120 - lag,
  rejection: undefined,
  verdicts: [],
  applyMs: undefined,
  ackDelayMs: 4.25,
  ackedAtMs: 0,
});

const report: RoutesReport = {
  table: { term: 1, version: 120, digest: "ab", policyId: "p/1", reason: "change", publishedAtMs: 0, routes: [] },
  plane: {
    streams: 0,
    streamsOnNewest: 0,
    versionLagMax: 0,
    appliedP50Ms: undefined,
    appliedP99Ms: undefined,
    updatesSent: 0,
    deltasSent: 0,
    acksIgnored: 0,
    outOfSync: 0,
    staleEpoch: 0,
    expired: 0,
    withheld: 0,
    rejected: [],
    observedDivergence: undefined,
  },
  producers: [producer("p", "ocr", 0), producer("a-longer-one", "search-mcp", 97)],
};

describe("the weights in force, as text", () => {
  test("producers stand in columns under their headings, those behind first", () => {
    const lines = routesView(report, plain, false);
    const heading = lines.find((line) => line.startsWith("producer")) ?? "";
    const rows = lines.slice(lines.indexOf(heading) + 1);
    expect(rows.map((row) => row.split(" ", 1)[0])).toEqual(["a-longer-one", "p"]);
    expect(rows.map((row) => row.indexOf("applied"))).toEqual([heading.indexOf("answer"), heading.indexOf("answer")]);
    expect(rows.map((row) => row.length)).toEqual([heading.length, heading.length]);
  });

  test("a coordinator without streams says so, and claims no share of them", () => {
    expect(routesView(report, plain, false).find((line) => line.startsWith("streams"))).toBe("streams        none here that takes tables");
  });
});
