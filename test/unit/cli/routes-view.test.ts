import { describe, expect, test } from "vitest";
import { routesView } from "../../../src/cli/routes-view.js";
import type { PlaneReport, RoutesReport } from "../../../src/client/read-routes.js";

const plane: PlaneReport = {
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
};

const linesOf = (changed: Partial<PlaneReport>): readonly string[] => {
  const table: RoutesReport["table"] = {
    ...{ term: 1, version: 3, digest: "00000000000000ff", policyId: "p/1", reason: "change", publishedAtMs: 0, routes: [] },
  };
  return routesView({ table, plane: { ...plane, ...changed }, producers: [] }, (_colour, text) => text, false);
};

describe("routes", () => {
  test("tells no share of the streams where there are none", () => {
    expect(linesOf({})).toContain("streams        none here that takes tables");
  });

  test("tells how many streams have the newest table, and how far the last one is behind", () => {
    const lines = linesOf({ streams: 8, streamsOnNewest: 6, versionLagMax: 2 });
    expect(lines).toContain("streams        6 of 8 on the newest table (75.0%), at most 2 versions behind");
  });
});
