import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { seededRng } from "../../../../src/platform/rng.js";
import type { Estimate } from "../../../../src/smart-router/evaluate/estimate.js";
import { evaluateLog } from "../../../../src/smart-router/evaluate/evaluate-log.js";
import { always, asLogged, mixed, uniform } from "../../../../src/smart-router/evaluate/evaluated-policies.js";
import type { EvaluatedPolicy, LoggedDecision, LoggedOutcome } from "../../../../src/smart-router/evaluate/logged-decision.js";
import { candidate, loggedWorld, rated, row } from "./logs.js";

const later = { nowMs: 3_600_000 };

/** The best that can be done in the world of logs.ts: "a" for ocr, "b" for text; worth (0.9 + 0.7) / 2. */
const byType: EvaluatedPolicy = { id: "by-type", shares: ({ requestType }) => new Map([[requestType === "ocr" ? "a" : "b", 1]]) };
const truths: readonly (readonly [EvaluatedPolicy, number])[] = [
  [byType, 0.8],
  [always("a"), 0.65],
  [always("b"), 0.5],
  [uniform(), 0.575],
  [mixed(uniform(), byType, 0.2), 0.8 * 0.575 + 0.2 * 0.8],
];

function covers(estimate: Estimate | undefined, truth: number): boolean {
  return estimate !== undefined && estimate.low <= truth && truth <= estimate.high;
}

describe("evaluateLog", () => {
  test("over many logs, each estimator is right on average and its interval holds the truth about 95 % of the time", () => {
    const logs = 200;
    const names = ["ips", "snips", "dr"] as const;
    const found = Array.from({ length: logs }, (_, seed) =>
      evaluateLog(
        loggedWorld(400, 0.7, seededRng(seed + 1)),
        truths.map(([policy]) => policy),
        later,
      ).policies.map((policy) => policy.quality.estimates),
    );
    for (const [index, [policy, truth]] of truths.entries()) {
      for (const name of names) {
        const estimates = found.map((each) => each[index]?.[name]);
        const mean = estimates.reduce((sum, each) => sum + (each?.value ?? Number.NaN), 0) / logs;
        const covered = estimates.filter((each) => covers(each, truth)).length / logs;
        expect(Math.abs(mean - truth), `bias of ${name} for ${policy.id}`).toBeLessThan(0.012);
        expect(covered, `coverage of ${name} for ${policy.id}`).toBeGreaterThan(0.9);
      }
    }
  });

  test("doubly robust is at least as sharp as the inverse propensity score where the model knows something", () => {
    const estimates = evaluateLog(loggedWorld(2_000, 0.8, seededRng(5)), [byType], later).policies[0]?.quality.estimates;
    expect(estimates?.dr.standardError).toBeLessThan(estimates?.ips.standardError ?? 0);
  });

  test("the order of rows changes nothing, to the last bit", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 1_000 }), fc.integer({ min: 1, max: 1_000 }), (seed, shuffle) => {
        const rows = loggedWorld(60, 0.6, seededRng(seed));
        const rng = seededRng(shuffle);
        const mixedUp = rows.map((each) => ({ each, at: rng() })).sort((a, b) => a.at - b.at);
        const policies = [byType, uniform(), asLogged()];
        expect(
          evaluateLog(
            mixedUp.map(({ each }) => each),
            policies,
            later,
          ),
        ).toEqual(evaluateLog(rows, policies, later));
      }),
      { numRuns: 50 },
    );
  });

  test("the log's own policy is worth the mean reward with every row's weight, and cannot be promoted over itself", () => {
    const [own] = evaluateLog(loggedWorld(500, 0.6, seededRng(3)), [asLogged()], later).policies;
    expect(own?.quality.estimates?.ess).toBeCloseTo(500, 6);
    expect(own?.quality.estimates?.ips.value).toBeCloseTo(own?.quality.estimates?.logged.value ?? Number.NaN, 12);
    expect(own?.gate.promote).toBe(false);
  });

  test("a policy that is better on the evidence may be promoted, and one that is worse may not", () => {
    const log = loggedWorld(4_000, 0.5, seededRng(11));
    const [better, worse] = evaluateLog(log, [byType, always("b")], later).policies;
    expect(better?.gate).toEqual({ promote: true, reasons: [] });
    expect(worse?.gate.promote).toBe(false);
    expect(worse?.gate.reasons.join()).toContain("quality");
  });

  test("mass on candidates that could not have been drawn lowers the coverage and refuses promotion", () => {
    const rows = Array.from({ length: 600 }, (_, number) =>
      row(number, { chosen: "a", propensity: 1, candidates: [candidate("a", 1), candidate("b", 0)], outcome: rated(number % 2) }),
    );
    const [never, half] = evaluateLog(rows, [always("b"), mixed(always("a"), always("b"), 0.5)], later).policies;
    expect(never?.coverage).toBe(0);
    expect(half?.coverage).toBeCloseTo(0.5, 12);
    expect(never?.gate.reasons.join()).toContain("coverage");
  });

  test("failures count as no quality, and unrated answers not at all but by number", () => {
    const rows = [
      row(1),
      row(2, { outcome: { kind: "error", cost: undefined, observedMs: 5 } }),
      row(3, { outcome: { kind: "complete", quality: undefined, isAudited: false, cost: 2, observedMs: 5 } }),
      row(4, { outcome: { kind: "complete", quality: 0.5, isAudited: false, cost: 4, observedMs: 5 } }),
    ];
    const [own] = evaluateLog(rows, [asLogged()], later).policies;
    expect(own?.quality.unratedCount).toBe(1);
    expect(own?.quality.estimates?.logged.value).toBeCloseTo(0.5, 12);
    expect(own?.error.estimates?.logged.value).toBeCloseTo(0.25, 12);
    expect(own?.cost.estimates?.logged.value).toBeCloseTo(3, 12);
    expect(own?.cost.unratedCount).toBe(2);
  });

  test("the share of audited answers is that among rated ones, of the whole log and not of the rows that were kept", () => {
    const unrated: LoggedOutcome = { kind: "complete", quality: undefined, isAudited: false, cost: undefined, observedMs: 5 };
    const rows = [
      row(1, { outcome: rated(1, true) }),
      row(2, { outcome: rated(1), keptShare: 0.25 }),
      row(3, { outcome: rated(0.5, true) }),
      row(4, { outcome: { kind: "error", cost: undefined, observedMs: 5 } }),
      row(5, { outcome: unrated }),
    ];
    const shareOf = (log: readonly LoggedDecision[]) => evaluateLog(log, [asLogged()], later).policies[0]?.quality.auditedShare;
    expect(shareOf(rows)).toBeCloseTo(2 / 6, 12);
    expect(shareOf(rows.slice(3))).toBeUndefined();
    expect(evaluateLog(rows, [asLogged()], later).policies[0]?.error.auditedShare).toBeUndefined();
  });

  test("a log that keeps the candidates of every exploration and a tenth of the rest is put right by what it says it kept", () => {
    // "a" nine times of ten; "b" is always kept, "a" every tenth time.
    const whole = loggedWorld(20_000, 0.9, seededRng(21));
    const rng = seededRng(22);
    const thinned = whole.flatMap((each) => {
      if (each.chosen === "b") return [each];
      return rng() < 0.1 ? [{ ...each, keptShare: 0.1 }] : [];
    });
    const [ofWhole] = evaluateLog(whole, [byType], later).policies;
    const [ofThinned] = evaluateLog(thinned, [byType], later).policies;
    const naive = evaluateLog(
      thinned.map((each) => ({ ...each, keptShare: 1 })),
      [byType],
      later,
    ).policies[0];
    expect(covers(ofWhole?.quality.estimates?.dr, 0.8)).toBe(true);
    expect(covers(ofThinned?.quality.estimates?.ips, 0.8)).toBe(true);
    expect(covers(ofThinned?.quality.estimates?.snips, 0.8)).toBe(true);
    expect(covers(naive?.quality.estimates?.ips, 0.8)).toBe(false);
  });

  test("predicted lateness that rises refuses promotion", () => {
    const signals = (tail: number) => ({ tail, errorRate: 0, quality: 0.5, qualitySigma: 0.1, latencyMs: 100, cost: 0 });
    const rows = loggedWorld(4_000, 0.5, seededRng(11)).map((each) => ({
      ...each,
      candidates: each.candidates.map((its) => ({
        ...its,
        signals: signals(its.mcpId === (each.requestType === "ocr" ? "a" : "b") ? 0.3 : 0.1),
      })),
    }));
    const [better] = evaluateLog(rows, [byType], later).policies;
    expect(better?.tail?.evaluated).toBeCloseTo(0.3, 9);
    expect(better?.tail?.logged).toBeCloseTo(0.2, 9);
    expect(better?.gate).toMatchObject({ promote: false, reasons: [expect.stringContaining("tail")] });
  });

  test("an empty log says so and promotes nobody", () => {
    const evaluation = evaluateLog([], [uniform()], later);
    expect(evaluation.counts.given).toBe(0);
    expect(evaluation.policies[0]?.quality.estimates).toBeUndefined();
    expect(evaluation.policies[0]?.gate.promote).toBe(false);
  });
});
