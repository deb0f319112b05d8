import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { LoggedDecision } from "../../../../src/smart-router/evaluate/logged-decision.js";
import { type RowCounts, sift, waitMinMs } from "../../../../src/smart-router/evaluate/sift.js";
import { candidate, rated, row } from "./logs.js";

const complete = (observedMs: number) => ({ kind: "complete" as const, quality: 1, isAudited: false, cost: undefined, observedMs });

/** One row of each fate, read 10 minutes after all were made. */
const fates: Readonly<Record<Exclude<keyof RowCounts, "given" | "repeated">, LoggedDecision>> = {
  usable: row(1),
  ineligible: row(2, { isOpeEligible: false }),
  bare: row(3, { candidates: [] }),
  invalid: row(4, { propensity: Number.NaN }),
  early: row(5, { atMs: 600_000 - waitMinMs + 1 }),
  censored: row(6, { outcome: { kind: "open" } }),
};

describe("sift", () => {
  test.each(Object.entries(fates))("a row that is %s is counted as that", (fate, given) => {
    const { rows, counts } = sift([given], 600_000);
    expect(counts).toMatchObject({ given: 1, [fate]: 1 });
    expect(rows.length).toBe(fate === "usable" ? 1 : 0);
  });

  test("every row is counted exactly once", () => {
    fc.assert(
      fc.property(fc.array(fc.constantFrom(...Object.values(fates)), { maxLength: 40 }), (log) => {
        const { given, ...others } = sift(log, 600_000).counts;
        expect(given).toBe(log.length);
        expect(Object.values(others).reduce((sum, count) => sum + count, 0)).toBe(log.length);
      }),
    );
  });

  test("a decision that comes twice counts once", () => {
    expect(sift([row(1), row(1)], 600_000).counts).toMatchObject({ usable: 1, repeated: 1 });
  });

  test.each([
    ["a propensity of 0", { propensity: 0 }],
    ["a propensity above 1", { propensity: 1.5 }],
    ["probabilities that do not sum to 1", { candidates: [candidate("a", 0.5), candidate("b", 0.4)] }],
    ["a negative probability", { candidates: [candidate("a", 0.5), candidate("b", 0.6), candidate("c", -0.1)] }],
    ["a choice that is no candidate", { chosen: "z" }],
    ["a choice with another probability than its candidate's", { propensity: 0.4 }],
    ["a share of kept rows of 0", { keptShare: 0 }],
  ] satisfies readonly (readonly [string, Partial<LoggedDecision>])[])("%s is invalid", (_, changes) => {
    expect(sift([row(1, changes)], 600_000).counts.invalid).toBe(1);
  });

  test("a row of a policy that tells no probabilities of those it did not choose is not eligible, and no sign of a bug", () => {
    const unknown = [candidate("a", Number.NaN), candidate("b", Number.NaN), candidate("c", 0, { excludedBecause: "full" })];
    expect(sift([row(1, { candidates: unknown })], 600_000).counts).toMatchObject({ ineligible: 1, invalid: 0 });
  });

  test("a slow class waits for its 99th percentile, and what comes after that is censored like what never comes", () => {
    const slow = Array.from({ length: 100 }, (_, number) =>
      row(number, { requestClass: "scan/9", outcome: complete(1_000 * (number + 1)) }),
    );
    const { counts, waitMs } = sift([...slow, row(200, { requestClass: "scan/9", outcome: complete(900_000) })], 10_000_000);
    expect(waitMs.get("scan/9")).toBe(100_000);
    expect(counts).toMatchObject({ usable: 100, censored: 1 });
  });

  test("a quick outcome does not make a young row count: slow ones of its age are still out", () => {
    const young = row(1, { atMs: 590_000, outcome: rated(1) });
    expect(sift([young], 600_000).counts).toMatchObject({ early: 1, usable: 0 });
    expect(sift([young], 590_000 + waitMinMs).counts).toMatchObject({ early: 0, usable: 1 });
  });
});
