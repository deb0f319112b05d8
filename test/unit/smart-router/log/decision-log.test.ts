import { pino } from "pino";
import { describe, expect, it } from "vitest";
import { limits } from "../../../../src/platform/limits.js";
import type { DecisionOutcome } from "../../../../src/smart-router/decision.js";
import { createDecisionLog } from "../../../../src/smart-router/log/decision-log.js";
import type { DecisionRow } from "../../../../src/smart-router/log/decision-record.js";
import type { OutcomeRow } from "../../../../src/smart-router/log/outcome-row.js";
import { ManualClock, turn } from "../../../support/manual-clock.js";
import { contextOfTest, decisionOf } from "./decision-of.js";

class Poison extends Error {}

/** A log over a store that takes everything until it is told otherwise. */
function openLog() {
  const clock = new ManualClock(1_780_000_000_000);
  const decisions: (readonly DecisionRow[])[] = [];
  const outcomes: (readonly OutcomeRow[])[] = [];
  let fault: Error | undefined;
  const take = async (): Promise<void> => {
    if (fault !== undefined) throw fault;
  };
  const log = createDecisionLog({
    recordDecisions: (rows) => take().then(() => void decisions.push(rows)),
    recordOutcomes: (rows) => take().then(() => void outcomes.push(rows)),
    isHopeless: (thrown) => thrown instanceof Poison,
    clock,
    log: pino({ level: "silent" }),
  });
  const fail = (error: Error | undefined): void => {
    fault = error;
  };
  return { clock, decisions, outcomes, log, fail };
}

/** Ids whose last digits decide about the sample: kept when they are a multiple of ten. */
const idOf = (tail: number): string => `019b0000-0000-7000-8000-0000${tail.toString(16).padStart(8, "0")}`;
const endOf = (decisionId: string, more: Partial<DecisionOutcome> = {}): DecisionOutcome => ({
  decisionId,
  mcpId: "a",
  interactionId: "i-1",
  state: "complete",
  censoredBecause: "",
  isLate: false,
  atMonoMs: 10,
  observedMs: 5,
  durationMs: 4,
  quality: undefined,
  errorCode: "",
  ...more,
});

describe("the decision log", () => {
  it("writes what came within a second in one statement, and nothing while nothing comes", async () => {
    const { clock, decisions, log } = openLog();
    for (let at = 1; at <= 3; at++) log.add(decisionOf({ decisionId: idOf(at) }), contextOfTest, false);
    await clock.advance(limits.decisionFlushMs - 1);
    expect(decisions).toEqual([]);
    await clock.advance(1);
    expect(decisions.map((rows) => rows.map(({ decisionId }) => decisionId))).toEqual([[1, 2, 3].map(idOf)]);
    expect(log.figures()).toEqual({ waiting: 0, stored: 3, thinned: 0, lost: 0, outcomesLost: 0 });
    expect(clock.timerCount).toBe(0);
  });

  it("keeps the candidates of every exploration, of what was asked for, and of one in ten of the others; of the rest the choice with all it takes to repeat it", async () => {
    const { clock, decisions, log } = openLog();
    log.add(decisionOf({ decisionId: idOf(1), isExploration: true }), contextOfTest, false);
    log.add(decisionOf({ decisionId: idOf(2) }), contextOfTest, true);
    for (let at = 10; at < 30; at++) log.add(decisionOf({ decisionId: idOf(at) }), contextOfTest, false);
    await clock.advance(limits.decisionFlushMs);
    const rows = decisions.flat();
    expect(rows.filter(({ candidates }) => candidates !== undefined).map(({ decisionId }) => decisionId)).toEqual([1, 2, 10, 20].map(idOf));
    expect(rows[3]).toMatchObject({ chosen: "a", propensity: 1 / 3, regime: "normal", seed: 123_456_789, ...contextOfTest });
  });

  it("holds what an outage keeps from the store, and writes it in order when the store answers again", async () => {
    const { clock, decisions, log, fail } = openLog();
    fail(new Error("away"));
    log.add(decisionOf({ decisionId: idOf(1) }), contextOfTest, false);
    await clock.advance(3 * limits.decisionFlushMs);
    log.add(decisionOf({ decisionId: idOf(2) }), contextOfTest, false);
    expect(log.figures()).toMatchObject({ waiting: 2, stored: 0, lost: 0 });
    fail(undefined);
    await clock.advance(limits.decisionFlushMs);
    expect(decisions.flat().map(({ decisionId }) => decisionId)).toEqual([1, 2].map(idOf));
  });

  it("drops candidates first and decisions last, oldest first, and says how many of each", () => {
    const { log, fail } = openLog();
    fail(new Error("away"));
    const fleet = 50;
    const fullMax = limits.candidateBufferMax / fleet;
    for (let at = 1; at <= fullMax + 3; at++) log.add(decisionOf({ decisionId: idOf(at) }, fleet), contextOfTest, true);
    expect(log.figures()).toMatchObject({ waiting: fullMax + 3, thinned: 3, lost: 0 });
    for (let at = 0; at < limits.decisionBufferMax; at++)
      log.add(decisionOf({ decisionId: idOf(1_000_001 + at * 10) }), contextOfTest, false);
    expect(log.figures()).toMatchObject({ waiting: limits.decisionBufferMax, lost: fullMax + 3 });
  });

  it("gives up on what the store will never take, counts it, and goes on", async () => {
    const { clock, decisions, log, fail } = openLog();
    fail(new Poison());
    log.add(decisionOf(), contextOfTest, false);
    log.ended(endOf("d-1"));
    await clock.advance(limits.decisionFlushMs);
    fail(undefined);
    log.add(decisionOf({ decisionId: idOf(7) }), contextOfTest, false);
    await clock.advance(limits.decisionFlushMs);
    expect(decisions.flat().map(({ decisionId }) => decisionId)).toEqual([idOf(7)]);
    expect(log.figures()).toEqual({ waiting: 0, stored: 1, thinned: 0, lost: 1, outcomesLost: 1 });
  });

  it("adds the start and the end of a decision up to one row, and shows it while it waits", async () => {
    const { clock, outcomes, log } = openLog();
    log.started("d-1", "a", "i-1");
    log.ended(endOf("d-1", { interactionId: "" }));
    log.ended(endOf("d-1", { mcpId: "b", state: "error" }));
    expect(log.waitingOutcome("d-1", "a")).toMatchObject({ interactionId: "i-1", state: "complete" });
    await clock.advance(limits.decisionFlushMs);
    expect(outcomes.flat().map(({ mcpId, interactionId, state }) => [mcpId, interactionId, state])).toEqual([
      ["a", "i-1", "complete"],
      ["b", "i-1", "error"],
    ]);
    expect(log.waitingOutcome("d-1", "a")).toBeUndefined();
  });

  it("shows the latest decisions with all candidates, and forgets older ones", () => {
    const { log } = openLog();
    for (let at = 1; at <= limits.recentDecisionsMax + 1; at++) log.add(decisionOf({ decisionId: idOf(at) }, 2), contextOfTest, false);
    expect(log.recent(idOf(1))).toBeUndefined();
    expect(log.recent(idOf(2))?.candidates).toHaveLength(2);
  });

  it("writes what waits when it closes, and counts as lost what cannot be written then or comes later", async () => {
    const [good, bad] = [openLog(), openLog()];
    bad.fail(new Error("away"));
    for (const { log } of [good, bad]) {
      log.add(decisionOf(), contextOfTest, false);
      await log.close();
      log.add(decisionOf(), contextOfTest, false);
      await turn();
    }
    expect(good.log.figures()).toMatchObject({ waiting: 0, stored: 1, lost: 1 });
    expect(bad.log.figures()).toMatchObject({ waiting: 0, stored: 0, lost: 2 });
    expect([good.clock.timerCount, bad.clock.timerCount]).toEqual([0, 0]);
  });
});
