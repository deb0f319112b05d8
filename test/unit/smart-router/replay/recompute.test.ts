import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Facts } from "../../../../src/interaction/event.js";
import { seededRng } from "../../../../src/platform/rng.js";
import { mintUuidV7 } from "../../../../src/platform/uuid-v7.js";
import { createRouter } from "../../../../src/smart-router/create-router.js";
import { qualityTailLoadId } from "../../../../src/smart-router/decide/quality-tail-load.js";
import type { Decision, DecisionOutcome } from "../../../../src/smart-router/decision.js";
import { recordOf, recordOfRow, rowOf } from "../../../../src/smart-router/log/decision-record.js";
import { outcomeRow } from "../../../../src/smart-router/log/outcome-row.js";
import { policyFactories } from "../../../../src/smart-router/policies.js";
import type { ReplayedRow } from "../../../../src/smart-router/replay/policy-replay.js";
import { differenceOf, recompute, sumOfFactors } from "../../../../src/smart-router/replay/recompute.js";
import { loggedDecisionOf, replayLog } from "../../../../src/smart-router/replay/replayed-log.js";
import { plainRequest } from "../../../../src/smart-router/request.js";
import type { PolicyFactory } from "../../../../src/smart-router/router.js";
import { createSignalBook } from "../../../../src/smart-router/signals/book.js";
import { contextOfTest } from "../log/decision-of.js";

const terminal = (seed: number): Facts => ({
  kind: "terminal",
  success: seed % 7 !== 0,
  durationMs: 20 + (seed % 90),
  qualityScore: (seed % 11) / 10,
  errorCode: seed % 7 === 0 ? "E" : "",
  adapterUsed: "",
});

/** What a router decides for `count` requests over four MCPs that end some of them, and its log as it comes back from the store. */
function runLog(seed: number, count: number): readonly ReplayedRow[] {
  const rng = seededRng(seed);
  const router = createRouter(
    { book: createSignalBook(), policies: policyFactories, rng, wallMs: () => 1_780_000_000_000 + nowMs, mintDecisionId: mintUuidV7 },
    { maxConcurrentDefault: 10, policyId: qualityTailLoadId, shadowPolicyIds: ["least-requests/1"] },
  );
  let nowMs = 1_000;
  const decisions: Decision[] = [];
  const outcomes = new Map<string, DecisionOutcome>();
  router.onOutcome((outcome) => void outcomes.set(outcome.decisionId, outcome));
  for (const mcpId of ["a", "b", "c", "d"]) router.streamOpened(mcpId, `s-${mcpId}`, nowMs);
  for (let at = 0; at < count; at++) {
    nowMs += 5 + Math.floor(rng() * 400);
    if (at % 5 === 0) router.tick(nowMs);
    const selection = router.select({ ...plainRequest, requestType: at % 2 === 0 ? "ocr" : "chat", inputBytes: at * 100 }, nowMs);
    if (selection.kind === "refused") continue;
    const { decision } = selection;
    decision.candidates();
    decisions.push(decision);
    if (rng() < 0.2) continue;
    const start = { kind: "start", requestType: "ocr", sessionId: "", userPseudonym: "", routingDecisionId: decision.decisionId } as const;
    const facts: Facts = { ...start, inputBytes: 0, qualityLevel: "", privacyLevel: "" };
    router.observe([{ mcpId: decision.chosen, interactionId: `i-${at}`, facts }], nowMs);
    router.observe([{ mcpId: decision.chosen, interactionId: `i-${at}`, facts: terminal(at) }], nowMs + 3);
  }
  nowMs += 700_000;
  router.tick(nowMs);
  return decisions.map((decision) => {
    const row = rowOf(recordOf(decision, contextOfTest, decision.candidates(), 1));
    const { features, candidates, shadow } = row;
    const record = recordOfRow({ ...row, ...JSON.parse(JSON.stringify({ features, candidates, shadow })) });
    const outcome = outcomes.get(decision.decisionId);
    return { record, outcome: outcome === undefined ? undefined : outcomeRow(outcome) };
  });
}

/** A choice without alternatives. */
const sure = { propensity: 1, epsilon: 0, regime: "normal", isExploration: false, scored: [] } as const;

describe("a logged decision", () => {
  it("is computed again bit for bit from the log alone, whatever happened before it", () => {
    fc.assert(
      fc.property(fc.nat(1_000_000), (seed) => {
        const rows = runLog(seed, 60);
        expect(rows.length).toBeGreaterThan(20);
        for (const { record } of rows) {
          const again = recompute(record);
          if (typeof again === "string") expect(again).toBe("probe");
          else expect(differenceOf(record, again)).toBeUndefined();
        }
        const report = replayLog(rows, qualityTailLoadId, undefined);
        expect(report).toMatchObject({ rows: rows.length, identical: report.recomputed, asked: 0, firstDifference: undefined });
      }),
      { numRuns: 15 },
    );
  });

  it("has factors that sum to its scores exactly", () => {
    for (const { record } of runLog(7, 60)) {
      for (const one of record.candidates ?? []) if (!Number.isNaN(one.score)) expect(Object.is(sumOfFactors(one), one.score)).toBe(true);
    }
  });

  it("is found out when a single bit of it is not what it was", () => {
    const [row] = runLog(3, 10).filter(({ record }) => record.regime !== "probe" && (record.candidates?.length ?? 0) > 1);
    if (row === undefined) throw new Error("the run made decisions");
    const [first, ...rest] = row.record.candidates ?? [];
    if (first?.signals === undefined) throw new Error("the first candidate was scored");
    const touched = { ...first, signals: { ...first.signals, quality: first.signals.quality + 1e-15 } };
    const report = replayLog([{ ...row, record: { ...row.record, candidates: [touched, ...rest] } }], qualityTailLoadId, undefined);
    expect(report.firstDifference?.difference).toMatch(/^a\.(score|quality): logged .*, computed /);
  });

  it("says why it cannot be computed: without candidates, under other parameters, under a policy that is no function of the log", () => {
    const [row] = runLog(3, 5).filter(({ record }) => record.regime !== "probe");
    if (row === undefined) throw new Error("the run made decisions");
    const { record } = row;
    expect(recompute({ ...record, candidates: undefined })).toBe("no_candidates");
    expect(recompute({ ...record, policyHash: "0000000000000000" })).toBe("other_settings");
    expect(recompute({ ...record, policyId: "random/1" })).toBe("not_a_rule");
    expect(recompute(record, record.policyId, { without: new Set(["a", "b", "c", "d"]), maxConcurrent: undefined })).toBe("nobody_left");
  });

  it("goes to nobody who is taken away, and to nobody above a lower limit", () => {
    const rows = runLog(11, 80);
    const without = replayLog(rows, qualityTailLoadId, undefined, { without: new Set(["a"]), maxConcurrent: undefined });
    expect(without.choices.find(({ mcpId }) => mcpId === "a")?.replayed ?? 0).toBe(0);
    expect(without.recomputed).toBe(0);
    const narrow = replayLog(rows, qualityTailLoadId, undefined, { without: new Set(), maxConcurrent: 1 });
    for (const [decisionId] of narrow.shares) {
      const record = rows.find((row) => row.record.decisionId === decisionId)?.record;
      for (const [mcpId] of narrow.shares.get(decisionId) ?? []) {
        expect(record?.candidates?.find((one) => one.mcpId === mcpId)?.inFlight).toBe(0);
      }
    }
  });

  it("is put to policies that learn from what really happened, each the same way twice", () => {
    const rows = runLog(5, 60);
    for (const [id, factory] of policyFactories) {
      const [once, twice] = [replayLog(rows, id, factory), replayLog(rows, id, factory)];
      expect(once).toEqual(twice);
      expect(once.asked + once.recomputed).toBeGreaterThan(20);
    }
  });

  it("enters an evaluation with the quality of its audit where it has one, and a policy that learns is told of both", () => {
    const rows = runLog(9, 60).map((row, at): ReplayedRow => {
      const { outcome } = row;
      return outcome === undefined || at % 2 === 1
        ? row
        : { ...row, outcome: { ...outcome, auditedQuality: 0.125, auditor: "golden-set" } };
    });
    const told: (readonly [number | undefined, number | undefined])[] = [];
    const factory: PolicyFactory = () => ({
      id: "told/1",
      parameters: {},
      choose: (_, targets) => ({ ...sure, mcpId: targets[0]?.mcpId ?? "" }),
      assigned: () => {},
      ended: ({ quality, auditedQuality }) => told.push([quality, auditedQuality]),
      tick: () => {},
    });
    replayLog(rows, "told/1", factory);
    expect(new Set(told.map(([, audited]) => audited))).toEqual(new Set([0.125, undefined]));
    expect(told.some(([quality, audited]) => quality !== undefined && audited !== undefined)).toBe(true);
    let audited = 0;
    for (const row of rows) {
      const logged = loggedDecisionOf(row).outcome;
      if (logged.kind !== "complete") continue;
      const { auditedQuality, quality } = row.outcome ?? {};
      expect([logged.quality, logged.isAudited]).toEqual([auditedQuality ?? quality, auditedQuality !== undefined]);
      if (logged.isAudited) audited += 1;
    }
    expect(audited).toBeGreaterThan(5);
  });

  it("enters an evaluation with what the chosen MCP cost then, where anything cost anything", () => {
    const rows = runLog(9, 60);
    const priced = rows.map(({ record, outcome }): ReplayedRow => {
      const candidates = record.candidates?.map((one) => ({
        ...one,
        signals: one.signals && { ...one.signals, cost: one.mcpId === "a" ? 0 : 3 },
      }));
      return { record: { ...record, candidates }, outcome };
    });
    const costs = (all: readonly ReplayedRow[]) =>
      all.flatMap((row) => {
        const { outcome, chosen } = loggedDecisionOf(row);
        return outcome.kind === "complete" || outcome.kind === "error" ? [[chosen === "a", outcome.cost]] : [];
      });
    expect(new Set(costs(rows).map(([, cost]) => cost))).toEqual(new Set([undefined]));
    expect(new Set(costs(priced).map((one) => JSON.stringify(one)))).toEqual(new Set(["[true,0]", "[false,3]"]));
  });

  it("enters an evaluation with probabilities probabilities that sum to one within its tier", () => {
    for (const row of runLog(9, 60)) {
      const logged = loggedDecisionOf(row);
      if (!logged.isOpeEligible) continue;
      expect(logged.candidates.reduce((sum, { propensity }) => sum + propensity, 0)).toBeCloseTo(1, 9);
    }
  });
});
