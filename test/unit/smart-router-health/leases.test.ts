import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Facts } from "../../../src/interaction/event.js";
import { limits } from "../../../src/platform/limits.js";
import { seededRng } from "../../../src/platform/rng.js";
import { createRouter } from "../../../src/smart-router/create-router.js";
import { createQualityTailLoad, qualityTailLoadId } from "../../../src/smart-router/decide/quality-tail-load.js";
import type { Decision, DecisionOutcome } from "../../../src/smart-router/decision.js";
import { plainRequest } from "../../../src/smart-router/request.js";
import { type EndReport, plainTarget, type Router } from "../../../src/smart-router/router.js";
import { createSignalBook } from "../../../src/smart-router/signals/book.js";

function freshRouter(capacities: readonly number[], seed = 1): Router {
  let minted = 0;
  const router = createRouter(
    {
      book: createSignalBook(),
      policies: new Map([[qualityTailLoadId, (book) => createQualityTailLoad(book)]]),
      rng: seededRng(seed),
      wallMs: () => 0,
      mintDecisionId: () => `decision-${minted++}`,
    },
    { maxConcurrentDefault: 10, policyId: qualityTailLoadId, shadowPolicyIds: [] },
  );
  capacities.forEach((maxConcurrent, at) => {
    router.configure({ ...plainTarget(`mcp-${at}`), maxConcurrent }, 0);
    router.streamOpened(`mcp-${at}`, `session-${at}`, 0);
  });
  return router;
}

const start = (routingDecisionId: string): Facts => ({
  kind: "start",
  requestType: "ocr",
  sessionId: "",
  userPseudonym: "",
  routingDecisionId,
  inputBytes: 100,
  qualityLevel: "",
  privacyLevel: "",
});
const terminal = (success: boolean): Facts => ({
  kind: "terminal",
  success,
  durationMs: 20,
  qualityScore: undefined,
  errorCode: "",
  adapterUsed: "",
});
const answered: EndReport = {
  result: "ok",
  durationMs: 20,
  quality: undefined,
  auditedQuality: undefined,
  cost: undefined,
  errorCode: "",
};

function decide(router: Router, nowMs: number, changed = {}): Decision {
  const selection = router.select({ ...plainRequest, requestType: "ocr", ...changed }, nowMs);
  if (selection.kind === "refused") throw selection.error;
  return selection.decision;
}

/** What may happen to a request, and around it. Numbers choose among the decisions made so far, or name strangers. */
type Act =
  | { readonly kind: "select" | "tick" | "reopen" }
  | { readonly kind: "start" | "foreign_start" | "end" | "end_twice" | "release" | "settle" | "late"; readonly of: number }
  | { readonly kind: "stray_start" | "stray_end"; readonly mcp: number; readonly name: number }
  | { readonly kind: "report"; readonly mcp: number; readonly count: number };

const number = fc.nat({ max: 30 });
const act: fc.Arbitrary<Act> = fc.oneof(
  { weight: 6, arbitrary: fc.constant<Act>({ kind: "select" }) },
  { weight: 1, arbitrary: fc.constantFrom<Act>({ kind: "tick" }, { kind: "reopen" }) },
  {
    weight: 8,
    arbitrary: fc.record({
      kind: fc.constantFrom("start", "foreign_start", "end", "end_twice", "release", "settle", "late" as const),
      of: number,
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({ kind: fc.constantFrom("stray_start", "stray_end" as const), mcp: fc.nat({ max: 3 }), name: fc.nat({ max: 5 }) }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("report" as const), mcp: fc.nat({ max: 2 }), count: fc.nat({ max: 12 }) }) },
);

describe("places at MCPs", () => {
  it("are never given out above the limit, are given back once, and all are free in the end, whatever is told of requests", () => {
    fc.assert(
      fc.property(fc.array(act, { maxLength: 120 }), fc.integer(), (acts, seed) => {
        const capacities = [1, 3, 8];
        const router = freshRouter(capacities, seed);
        const decisions: Decision[] = [];
        const outcomes: DecisionOutcome[] = [];
        router.onOutcome((outcome) => outcomes.push(outcome));
        let nowMs = 0;
        const play = (one: Act): void => {
          nowMs += 400;
          const made = "of" in one ? decisions[one.of % Math.max(1, decisions.length)] : undefined;
          switch (one.kind) {
            case "select": {
              const before = new Map(router.mcps(nowMs).map((mcp) => [mcp.mcpId, mcp]));
              const selection = router.select({ ...plainRequest, requestType: "ocr", isIdempotent: nowMs % 800 === 0 }, nowMs);
              if (selection.kind === "refused") return;
              const chosen = before.get(selection.decision.chosen);
              expect(chosen?.inFlight).toBeLessThan(chosen?.maxConcurrent ?? 0);
              decisions.push(selection.decision);
              return;
            }
            case "tick":
              router.tick(nowMs);
              return;
            case "reopen":
              router.streamClosed("mcp-0", "session-0", "lost", nowMs);
              router.streamOpened("mcp-0", "session-0", nowMs);
              return;
            case "report":
              router.reportLoad(`mcp-${one.mcp}`, `session-${one.mcp}`, { inFlight: one.count, queued: 0, utilization: 0 }, nowMs);
              return;
            case "stray_start":
              router.observe([{ mcpId: `mcp-${one.mcp}`, interactionId: `stray-${one.name}`, facts: start("") }], nowMs);
              return;
            case "stray_end":
              router.observe([{ mcpId: `mcp-${one.mcp}`, interactionId: `stray-${one.name}`, facts: terminal(one.name % 2 === 0) }], nowMs);
              return;
            case "late":
              nowMs += limits.leaseMinMs;
              router.tick(nowMs);
              break;
            default:
              break;
          }
          if (made === undefined) return;
          const { decisionId, chosen } = made;
          const events = {
            start: [start(decisionId)],
            foreign_start: [],
            end: [terminal(true)],
            end_twice: [terminal(false), terminal(true)],
            late: [terminal(true)],
            release: [],
            settle: [],
          }[one.kind];
          if (one.kind === "foreign_start")
            router.observe([{ mcpId: "mcp-stranger", interactionId: decisionId, facts: start(decisionId) }], nowMs);
          if (one.kind === "release") router.release(decisionId, chosen, nowMs);
          if (one.kind === "settle") router.settle(decisionId, chosen, answered, nowMs);
          router.observe(
            events.map((facts) => ({ mcpId: chosen, interactionId: decisionId, facts })),
            nowMs,
          );
        };
        for (const one of acts) {
          play(one);
          for (const mcp of router.mcps(nowMs)) expect(mcp.inFlight).toBeGreaterThanOrEqual(0);
        }
        const longAfterMs = nowMs + 2 * limits.leaseMaxMs;
        router.tick(longAfterMs);
        expect(router.figures()).toMatchObject({ openLeases: 0, openInteractions: 0 });
        for (const mcp of router.mcps(longAfterMs)) expect(mcp.inFlight).toBe(0);
        const inTime = outcomes.filter((outcome) => !outcome.isLate).map((outcome) => outcome.decisionId);
        expect(new Set(inTime).size).toBe(inTime.length);
        expect([...inTime].sort()).toEqual(decisions.map(({ decisionId }) => decisionId).sort());
      }),
      { numRuns: 300 },
    );
  });

  it("are confirmed by the start that names the decision, and freed by its end", () => {
    const router = freshRouter([4]);
    const { decisionId } = decide(router, 10);
    expect(router.mcp("mcp-0", 10)).toMatchObject({ inFlight: 1, reserved: 1 });
    router.observe([{ mcpId: "mcp-0", interactionId: "i", facts: start(decisionId) }], 20);
    expect(router.mcp("mcp-0", 20)).toMatchObject({ inFlight: 1, reserved: 0 });
    const outcomes: DecisionOutcome[] = [];
    router.onOutcome((outcome) => outcomes.push(outcome));
    router.observe([{ mcpId: "mcp-0", interactionId: "i", facts: terminal(true) }], 90);
    expect(router.mcp("mcp-0", 90)).toMatchObject({ inFlight: 0 });
    expect(outcomes).toMatchObject([{ decisionId, interactionId: "i", state: "complete", isLate: false, observedMs: 80 }]);
  });

  it("of an MCP that ended more than we heard of are freed by its second report", () => {
    const router = freshRouter([4]);
    router.reportLoad("mcp-0", "session-0", { inFlight: 1, queued: 0, utilization: 0 }, 0);
    for (let n = 0; n < 4; n += 1) {
      router.observe([{ mcpId: "mcp-0", interactionId: `i-${n}`, facts: start("") }], 10);
    }
    router.reportLoad("mcp-0", "session-0", { inFlight: 1, queued: 0, utilization: 0 }, 10_000);
    expect(router.mcp("mcp-0", 10_000)?.inFlight).toBe(4);
    router.reportLoad("mcp-0", "session-0", { inFlight: 1, queued: 0, utilization: 0 }, 11_000);
    expect(router.mcp("mcp-0", 11_000)?.inFlight).toBe(1);
  });

  it("that are all taken make a refusal that says when to come back", () => {
    const router = freshRouter([1, 1]);
    decide(router, 0);
    decide(router, 1);
    const selection = router.select(plainRequest, 2);
    expect(selection).toMatchObject({ kind: "refused", error: { code: "busy", reason: "FLEET_FULL", metadata: { full: "2" } } });
    expect(selection.kind === "refused" && selection.error.retryAfterMs).toBeLessThanOrEqual(limits.selectRetryMaxMs);
    expect(freshRouter([]).select(plainRequest, 0)).toMatchObject({
      kind: "refused",
      error: { code: "unavailable", reason: "NO_ELIGIBLE_MCP", retryAfterMs: 1_000 },
    });
  });

  it("expire when no end is heard, count against the MCP, and an end after that is late", () => {
    const router = freshRouter([4]);
    const { decisionId, leaseMs } = decide(router, 0);
    router.observe([{ mcpId: "mcp-0", interactionId: "i", facts: start(decisionId) }], 1);
    const outcomes: DecisionOutcome[] = [];
    router.onOutcome((outcome) => outcomes.push(outcome));
    router.tick(leaseMs);
    expect(router.mcp("mcp-0", leaseMs)).toMatchObject({ inFlight: 0, consecutiveErrors: 1 });
    router.observe([{ mcpId: "mcp-0", interactionId: "i", facts: terminal(true) }], leaseMs + 10);
    expect(outcomes).toMatchObject([
      { state: "censored", censoredBecause: "expired", isLate: false },
      { state: "complete", isLate: true },
    ]);
    expect(router.mcp("mcp-0", leaseMs + 10)).toMatchObject({ inFlight: 0 });
  });

  it("of a request that began after its lease are freed by its end, however many decisions have ended since", () => {
    const router = freshRouter([4]);
    const { decisionId, leaseMs } = decide(router, 0);
    router.tick(leaseMs);
    router.observe([{ mcpId: "mcp-0", interactionId: "i", facts: start(decisionId) }], leaseMs + 1);
    expect(router.mcp("mcp-0", leaseMs + 1)).toMatchObject({ inFlight: 1 });
    for (let n = 0; n < limits.routedPastMax; n += 1) {
      const other = decide(router, leaseMs + 2);
      router.release(other.decisionId, other.chosen, leaseMs + 2);
    }
    const outcomes: DecisionOutcome[] = [];
    router.onOutcome((outcome) => outcomes.push(outcome));
    router.observe([{ mcpId: "mcp-0", interactionId: "i", facts: terminal(true) }], leaseMs + 50);
    expect(outcomes).toMatchObject([{ decisionId, state: "complete", isLate: true }]);
    expect(router.mcp("mcp-0", leaseMs + 50)).toMatchObject({ inFlight: 0 });
    router.tick(3 * leaseMs);
    expect(router.mcp("mcp-0", 3 * leaseMs)).toMatchObject({ consecutiveErrors: 0 });
  });
});
