import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { auditRow, mergeOutcomes, type OutcomeRow, startRow } from "../../../../src/smart-router/log/outcome-row.js";

const start = startRow("d", "a", "i-1");
const end = (more: Partial<OutcomeRow>): OutcomeRow => ({ ...startRow("d", "a", ""), ...more });

describe("what is told of the end of a decision", () => {
  it("adds up in both orders", () => {
    const complete = end({ state: "complete", observedMs: 12, quality: 0.5 });
    const both = { ...complete, interactionId: "i-1" };
    expect(mergeOutcomes(start, complete)).toEqual(both);
    expect(mergeOutcomes(complete, start)).toEqual(both);
  });

  it("believes an end that was heard before a lease that ran out, whichever comes first", () => {
    const expired = end({ state: "censored", censoredBecause: "expired", observedMs: 30_000 });
    const late = end({ state: "error", isLate: true, observedMs: 40_000, errorCode: "E" });
    expect(mergeOutcomes(expired, late)).toMatchObject({
      state: "error",
      censoredBecause: "",
      isLate: true,
      observedMs: 40_000,
      errorCode: "E",
    });
    expect(mergeOutcomes(late, expired)).toMatchObject({ state: "error", censoredBecause: "", isLate: true, errorCode: "E" });
  });

  it("keeps the first of several audits with its auditor, and loses it to no start or end", () => {
    const told = fc.constantFrom(start, end({ state: "complete", quality: 1 }), end({ state: "censored", censoredBecause: "expired" }));
    const audit = fc.record({ quality: fc.double({ min: 0, max: 1, noNaN: true }), auditor: fc.constantFrom("", "judge-1", "judge-2") });
    const rows = fc.oneof(
      told.map((row) => ({ row, audit: undefined })),
      audit.map((one) => ({ row: auditRow("d", "a", one.quality, one.auditor), audit: one })),
    );
    fc.assert(
      fc.property(fc.array(rows, { minLength: 1, maxLength: 8 }), (all) => {
        const merged = all.map(({ row }) => row).reduce(mergeOutcomes);
        const first = all.find((one) => one.audit !== undefined)?.audit;
        expect([merged.auditedQuality, merged.auditor]).toEqual([first?.quality, first?.auditor ?? ""]);
      }),
    );
  });

  it("never forgets what was known", () => {
    const rows = fc.record({
      interactionId: fc.constantFrom("", "i-1"),
      state: fc.constantFrom(undefined, "complete", "error", "censored"),
      durationMs: fc.option(fc.nat(), { nil: undefined }),
      errorCode: fc.constantFrom("", "E"),
    });
    fc.assert(
      fc.property(rows, rows, (a, b) => {
        const merged = mergeOutcomes(end(a), end(b));
        for (const name of ["interactionId", "state", "durationMs", "errorCode"] as const) {
          const known = [a[name], b[name]].filter((value) => value !== undefined && value !== "");
          expect(known.length === 0 ? [undefined, ""] : known).toContain(merged[name]);
        }
      }),
    );
  });
});
