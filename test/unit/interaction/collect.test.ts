import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { collectAll, droppableFields, isCollected, reduceDraft, shareOf } from "../../../src/interaction/collect.js";
import { changeConfig, checkConfigChange, type McpConfig } from "../../../src/interaction/mcp-config.js";
import { draftOf } from "../../support/draft.js";

describe("sampling", () => {
  it("leaves out progress only, and all of an interaction's or none", () => {
    fc.assert(
      fc.property(fc.string(), fc.double({ min: 0, max: 1, noNaN: true }), (id, progressSampleRatio) => {
        const rules = { progressSampleRatio, dropFields: [] };
        for (const kind of ["start", "complete", "error"] as const) expect(isCollected(rules, kind, id)).toBe(true);
        expect(isCollected(rules, "progress", id)).toBe(progressSampleRatio === 1 || shareOf(id) < progressSampleRatio);
      }),
    );
  });

  it("keeps about the share that was asked for, and keeps more of the same when the share grows", () => {
    const ids = Array.from({ length: 20_000 }, (_, i) => `int_20250615_${i}_abc`);
    for (const ratio of [0.01, 0.1, 0.5, 0.9]) {
      const kept = ids.filter((id) => isCollected({ progressSampleRatio: ratio, dropFields: [] }, "progress", id));
      expect(Math.abs(kept.length / ids.length - ratio)).toBeLessThan(0.02);
      expect(kept.every((id) => isCollected({ progressSampleRatio: Math.min(1, ratio * 1.1), dropFields: [] }, "progress", id))).toBe(true);
    }
  });

  it("decides the same in every process: these shares are fixed", () => {
    expect(["", "a", "i-1", "int_20250615_194500_abc123"].map(shareOf)).toMatchInlineSnapshot(`
      [
        0.6689221884589642,
        0.10352621669881046,
        0.16055132495239377,
        0.7067364170216024,
      ]
    `);
  });
});

describe("fields that are dropped", () => {
  it("leave the event alone when there are none", () => {
    const draft = draftOf();
    expect(reduceDraft(collectAll, draft)).toBe(draft);
  });

  it("are gone from the events that have them, and nothing else is", () => {
    const start = draftOf({ labels: { a: "b" }, sessionId: "s" });
    if (start.detail?.kind !== "start") throw new Error("a start");
    const full = {
      ...start,
      detail: { ...start.detail, userId: "u", inputBytes: 5n, qualityLevel: "high", parameters: { p: 1 }, requestType: "ocr" },
    };
    const reduced = reduceDraft({ progressSampleRatio: 1, dropFields: droppableFields }, full);
    expect(reduced).toEqual({
      ...full,
      labels: {},
      sessionId: "",
      detail: { ...full.detail, userId: "", inputBytes: 0n, qualityLevel: "", parameters: undefined, payload: undefined },
    });
  });
});

describe("a change of a configuration", () => {
  const config: McpConfig = {
    heartbeatInterval: 30,
    dataReportInterval: 10,
    priority: 1,
    weight: 100,
    maxConcurrentRequests: 10,
    draining: false,
    collection: collectAll,
  };
  const faultsOf = (change: Parameters<typeof checkConfigChange>[0]) => {
    const faults: string[] = [];
    checkConfigChange(change, (field, reason) => faults.push(`${field} ${reason}`));
    return faults;
  };

  it("that names nothing changes nothing, and one that names a number changes that", () => {
    expect(changeConfig(config, {})).toEqual(config);
    expect(changeConfig(config, { weight: 0, draining: true })).toEqual({ ...config, weight: 0, draining: true });
    expect(changeConfig(config, { collectionRules: { dropFields: ["labels", "error.data"] } }).collection).toEqual({
      progressSampleRatio: 1,
      dropFields: ["error.data", "labels"],
    });
  });

  it.each([
    [{ weight: -1 }, ["weight OUT_OF_RANGE"]],
    [{ weight: 10_001 }, ["weight OUT_OF_RANGE"]],
    [{ weight: 1.5 }, ["weight OUT_OF_RANGE"]],
    [{ heartbeatInterval: 0, dataReportInterval: 3_601 }, ["heartbeat_interval OUT_OF_RANGE", "data_report_interval OUT_OF_RANGE"]],
    [{ priority: 10, maxConcurrentRequests: 0 }, ["priority OUT_OF_RANGE", "max_concurrent_requests OUT_OF_RANGE"]],
    [{ collectionRules: { progressSampleRatio: 1.1, dropFields: [] } }, ["collection_rules.progress_sample_ratio OUT_OF_RANGE"]],
    [{ collectionRules: { progressSampleRatio: Number.NaN, dropFields: [] } }, ["collection_rules.progress_sample_ratio NOT_FINITE"]],
    [{ collectionRules: { dropFields: ["start.request_type"] } }, ["collection_rules.drop_fields[0] MALFORMED"]],
    [{ collectionRules: { dropFields: ["labels", "labels"] } }, ["collection_rules.drop_fields[1] DUPLICATE"]],
  ])("%j is refused, naming the field", (change, faults) => expect(faultsOf(change)).toEqual(faults));
});
