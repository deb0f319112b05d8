import { describe, expect, it } from "vitest";
import { checkDraft } from "../../../src/interaction/check.js";
import type { Draft, Json } from "../../../src/interaction/event.js";
import { limits } from "../../../src/platform/limits.js";
import { completeDetail, draftOf, progressDetail, startDetail } from "../../support/draft.js";

const nested = (depth: number): Json => {
  let value: Json = 1;
  for (let i = 0; i < depth; i += 1) value = { a: value };
  return value;
};

const faultsOf = (more: Partial<Draft>) => checkDraft(draftOf(more)).map((fault) => `${fault.field} ${fault.reason}`);

describe("checkDraft", () => {
  it("finds nothing wrong with an ordinary event", () => {
    expect(checkDraft(draftOf())).toEqual([]);
  });

  const cases: readonly [string, Partial<Draft>, string][] = [
    ["no detail", { detail: undefined }, "detail REQUIRED"],
    ["no interaction_id", { interactionId: "" }, "interaction_id REQUIRED"],
    ["an interaction_id of 257 bytes", { interactionId: `${"é".repeat(128)}x` }, "interaction_id TOO_LONG"],
    ["an id with NUL", { interactionId: "a\0b" }, "interaction_id UNSUPPORTED_CHARACTER"],
    ["an id with a lone surrogate", { mcpId: "a\ud800b" }, "mcp_id UNSUPPORTED_CHARACTER"],
    ["no timestamp", { occurredAt: undefined }, "occurred_at REQUIRED"],
    ["a timestamp of zero", { occurredAt: { seconds: 0n, nanos: 0 } }, "occurred_at OUT_OF_RANGE"],
    ["a timestamp before 1970", { occurredAt: { seconds: -5n, nanos: 0 } }, "occurred_at OUT_OF_RANGE"],
    ["a timestamp in the year 10000", { occurredAt: { seconds: 253_402_300_800n, nanos: 0 } }, "occurred_at OUT_OF_RANGE"],
    ["nanoseconds out of range", { occurredAt: { seconds: 1n, nanos: -1 } }, "occurred_at MALFORMED"],
    ["an event_id that is no UUID", { eventId: "42" }, "event_id MALFORMED"],
    ["an event_id of another version", { eventId: "550e8400-e29b-41d4-a716-446655440000" }, "event_id MALFORMED"],
    ["a sequence of 2^63", { sequence: 2n ** 63n }, "sequence OUT_OF_RANGE"],
    [
      "a quality_score of 1.5",
      { detail: { ...completeDetail, qualityScore: 1.5 } as Draft["detail"] },
      "complete.quality_score OUT_OF_RANGE",
    ],
    [
      "a quality_score of NaN",
      { detail: { ...completeDetail, qualityScore: Number.NaN } as Draft["detail"] },
      "complete.quality_score NOT_FINITE",
    ],
    ["a fraction of -1", { detail: { ...progressDetail, fraction: -1 } as Draft["detail"] }, "progress.fraction OUT_OF_RANGE"],
    [
      "a negative processing_time",
      { detail: { ...completeDetail, processingTime: { seconds: -1n, nanos: 0 } } as Draft["detail"] },
      "complete.processing_time OUT_OF_RANGE",
    ],
    [
      "an infinite cpu_percent",
      {
        detail: {
          ...progressDetail,
          resourceUsage: { cpuPercent: Number.POSITIVE_INFINITY, memoryBytes: undefined, gpuPercent: undefined },
        } as Draft["detail"],
      },
      "progress.resource_usage.cpu_percent NOT_FINITE",
    ],
    [
      "parameters that nest too deep",
      { detail: { ...startDetail, parameters: nested(65) } as Draft["detail"] },
      "start.parameters TOO_DEEP",
    ],
    [
      "NaN inside parameters",
      { detail: { ...startDetail, parameters: { a: [Number.NaN] } } as Draft["detail"] },
      "start.parameters NOT_FINITE",
    ],
    [
      "NUL inside parameters",
      { detail: { ...startDetail, parameters: { a: "\0" } } as Draft["detail"] },
      "start.parameters UNSUPPORTED_CHARACTER",
    ],
    ["a label key of 65 bytes", { labels: { ["k".repeat(65)]: "v" } }, "labels TOO_LONG"],
    ["a label value of 257 bytes", { labels: { k: "v".repeat(257) } }, 'labels["k"] TOO_LONG'],
    ["33 labels", { labels: Object.fromEntries(Array.from({ length: 33 }, (_, i) => [`k${i}`, ""])) }, "labels TOO_MANY"],
  ];
  it.each(cases)("refuses %s", (_, more, fault) => {
    expect(faultsOf(more)).toContain(fault);
  });

  it("accepts what lies exactly on a bound", () => {
    expect(
      faultsOf({ interactionId: "x".repeat(limits.idMaxBytes), detail: { ...startDetail, parameters: nested(64) } as Draft["detail"] }),
    ).toEqual([]);
    expect(faultsOf({ detail: { ...completeDetail, qualityScore: 1, confidence: 0 } as Draft["detail"] })).toEqual([]);
    expect(faultsOf({ occurredAt: { seconds: 0n, nanos: 1 } })).toEqual([]);
  });

  it("keeps a pair of surrogates, which is a character", () => {
    expect(faultsOf({ interactionId: "ocr 📄" })).toEqual([]);
  });

  it("names several faults at once, and no more than the bound", () => {
    expect(faultsOf({ interactionId: "", occurredAt: undefined, detail: undefined })).toEqual([
      "interaction_id REQUIRED",
      "occurred_at REQUIRED",
      "detail REQUIRED",
    ]);
    const labels = Object.fromEntries(Array.from({ length: 32 }, (_, i) => [`k${i}`, "\0"]));
    expect(checkDraft(draftOf({ labels }))).toHaveLength(limits.violationMaxCount);
  });
});
