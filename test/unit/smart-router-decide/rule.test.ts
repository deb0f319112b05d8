import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { seededRng } from "../../../src/platform/rng.js";
import { createRanking, rank, type Situation } from "../../../src/smart-router/decide/rank.js";
import { draw, explain } from "../../../src/smart-router/decide/rule.js";
import { ruleDefaults } from "../../../src/smart-router/decide/settings.js";
import type { Target } from "../../../src/smart-router/policy.js";
import type { TargetSignals } from "../../../src/smart-router/signal-book.js";

const well = (at: number, changed: Partial<Target> = {}): Target => ({
  mcpId: `mcp-${String(at).padStart(3, "0")}`,
  state: "healthy",
  inFlight: 0,
  capacity: 10,
  slowStart: 1,
  weight: 100,
  ...changed,
});

const known = (at: number, changed: Partial<TargetSignals> = {}): TargetSignals => ({
  mcpId: `mcp-${String(at).padStart(3, "0")}`,
  latencyMs: 100,
  latencyFrom: "near",
  tail: 0.1,
  errorRate: 0,
  quality: 0.8,
  qualitySigma: 0,
  cost: 0,
  recent: 0,
  samples: 1_000_000,
  ...changed,
});

type Draft = { readonly target: Partial<Target>; readonly signals: Partial<TargetSignals>; readonly isExplorable: boolean };

function situationOf(drafts: readonly Draft[], deadlineMs = 500): Situation {
  return {
    targets: drafts.map(({ target }, at) => well(at, target)),
    signals: drafts.map(({ signals }, at) => known(at, signals)),
    explorable: drafts.map(({ isExplorable }) => isExplorable),
    deadlineMs,
  };
}

const plain = (target: Partial<Target> = {}, signals: Partial<TargetSignals> = {}, isExplorable = false): Draft => ({
  target,
  signals,
  isExplorable,
});

const share = fc.double({ min: 0, max: 1, noNaN: true });
const draftArbitrary: fc.Arbitrary<Draft> = fc
  .record({
    state: fc.constantFrom("healthy", "warming", "degraded", "ejected" as const),
    capacity: fc.integer({ min: 1, max: 40 }),
    load: share,
    slowStart: fc.double({ min: 0.1, max: 1, noNaN: true }),
    weight: fc.integer({ min: 1, max: 400 }),
    latencyMs: fc.double({ min: 0.5, max: 20_000, noNaN: true }),
    tail: share,
    errorRate: share,
    quality: share,
    qualitySigma: fc.double({ min: 0, max: 0.5, noNaN: true }),
    cost: fc.double({ min: 0, max: 10, noNaN: true }),
    recent: fc.integer({ min: 0, max: 3 }),
    samples: fc.constantFrom(0, 1, 5, 200),
    selfFactor: fc.double({ min: 0.8, max: 1.25, noNaN: true }),
    usual: fc.option(
      fc.record({
        inFlight: fc.double({ min: 0, max: 40, noNaN: true }),
        latencyMs: fc.double({ min: 0.5, max: 20_000, noNaN: true }),
        growth: share,
      }),
      { nil: undefined },
    ),
    isExplorable: fc.boolean(),
  })
  .map(({ state, capacity, load, slowStart, weight, isExplorable, usual, ...signals }) => ({
    target: {
      state: state === "ejected" && load < 0.9 ? "healthy" : state,
      capacity,
      inFlight: Math.floor(load * capacity),
      slowStart,
      weight,
    },
    signals: { ...signals, load: usual },
    isExplorable,
  }));
const situations = fc.array(draftArbitrary, { minLength: 1, maxLength: 60 }).map((drafts) => situationOf(drafts));

describe("the decision rule", () => {
  it("says of every choice the exact probability with which it was made", () => {
    fc.assert(
      fc.property(situations, fc.integer(), (situation, seed) => {
        const drawn = draw(situation, ruleDefaults, seededRng(seed), createRanking());
        const scored = explain(situation, ruleDefaults);
        expect(drawn.propensity).toBeGreaterThan(0);
        expect(scored[drawn.at]?.propensity).toBe(drawn.propensity);
        expect(scored.reduce((sum, one) => sum + one.propensity, 0)).toBeCloseTo(1, 9);
        for (const one of scored) expect(one.propensity > 0).toBe(one.excludedBecause === undefined);
      }),
    );
  });

  it("draws as often as it says", () => {
    const drafts = [
      plain({ inFlight: 3 }),
      plain({ slowStart: 0.25, state: "warming" }),
      plain({}, { quality: 0.3 }, true),
      plain({ weight: 300 }),
      plain({ inFlight: 9 }, { quality: 1 }),
      plain({ state: "degraded" }, {}, true),
    ];
    const situation = situationOf(drafts);
    const settings = { ...ruleDefaults, epsilon: 0.2 };
    const rng = seededRng(20);
    const scratch = createRanking();
    const counts = drafts.map(() => 0);
    const draws = 40_000;
    for (let n = 0; n < draws; n += 1) {
      const { at } = draw(situation, settings, rng, scratch);
      counts[at] = (counts[at] ?? 0) + 1;
    }
    explain(situation, settings).forEach(({ propensity }, at) => {
      const sigma = Math.sqrt((propensity * (1 - propensity)) / draws);
      expect(Math.abs((counts[at] ?? 0) / draws - propensity)).toBeLessThanOrEqual(4.5 * sigma);
    });
  });

  it("explains a score by factors that sum to it bit for bit", () => {
    fc.assert(
      fc.property(situations, (situation) => {
        for (const { score, factors } of explain(situation, ruleDefaults)) {
          expect(factors.reduce((sum, factor) => sum + factor.contribution, 0)).toBe(score);
        }
      }),
    );
  });

  it("draws the same from the same seed, whatever it ranked before", () => {
    fc.assert(
      fc.property(situations, situations, fc.integer(), (other, situation, seed) => {
        const used = createRanking();
        rank(other, ruleDefaults, used);
        expect(draw(situation, ruleDefaults, seededRng(seed), used)).toEqual(
          draw(situation, ruleDefaults, seededRng(seed), createRanking()),
        );
      }),
    );
  });

  it("gives nothing to hot ones while somebody is cold", () => {
    fc.assert(
      fc.property(situations, (situation) => {
        const ranking = createRanking();
        rank(situation, ruleDefaults, ranking);
        if (ranking.regime !== "normal" && ranking.regime !== "cold_start") return;
        situation.targets.forEach((_, at) => {
          if (ranking.isHot[at] === 1) expect(ranking.propensity[at]).toBe(0);
        });
      }),
    );
  });

  it("never prefers the worse of two that differ in one factor only", () => {
    const worse: Partial<TargetSignals>[] = [{ quality: 0.6 }, { tail: 0.4 }, { latencyMs: 400 }, { errorRate: 0.2 }, { cost: 2 }];
    for (const change of worse) {
      const [good, bad] = explain(situationOf([plain({}, { cost: 1 }), plain({}, { cost: 1, ...change })]), ruleDefaults);
      expect(good?.propensity).toBe(1);
      expect(bad?.propensity).toBe(0);
    }
  });

  it("spreads equals by their free places per ms", () => {
    const drafts = [plain({ inFlight: 1 }), plain({ inFlight: 4 }), plain({ weight: 200 }), plain({ slowStart: 0.5, state: "warming" })];
    const [first, second, heavy, starting] = explain(situationOf(drafts), { ...ruleDefaults, tieLoadQuantile: 1 }).map(
      (one) => one.propensity,
    );
    expect(first).toBeCloseTo(9 / 40, 12);
    expect(second).toBeCloseTo(6 / 40, 12);
    expect(heavy).toBeCloseTo(20 / 40, 12);
    expect(starting).toBeCloseTo(5 / 40, 12);
  });

  it("multiplies the share, and not the score, by what an MCP says of itself without an audit", () => {
    const drafts = [plain({}, { selfFactor: 1.25 }), plain({}, { selfFactor: 0.8 }), plain()];
    const scored = explain(situationOf(drafts), ruleDefaults);
    expect(scored.map((one) => one.propensity)).toEqual([1.25, 0.8, 1].map((factor) => expect.closeTo(factor / 3.05, 12)));
    expect(new Set(scored.map((one) => one.score)).size).toBe(1);
    expect(scored.map((one) => one.signals?.selfFactor)).toEqual([1.25, 0.8, undefined]);
    const blind = explain(situationOf(drafts), { ...ruleDefaults, usesQuality: false });
    expect(blind.map((one) => one.propensity)).toEqual([1, 1, 1].map((one) => expect.closeTo(one / 3, 12)));
  });

  it("gives nobody more than a quarter more for its own word, whatever the situation", () => {
    fc.assert(
      fc.property(situations, fc.nat(), (situation, pick) => {
        const at = pick % situation.targets.length;
        const told = (selfFactor: number): Situation => ({
          ...situation,
          signals: situation.signals.map((one, index) => (index === at ? { ...one, selfFactor } : one)),
        });
        const [honest, boasting] = [1, 1.25].map((factor) => explain(told(factor), ruleDefaults)[at]?.propensity ?? 0);
        expect(boasting).toBeGreaterThanOrEqual((honest ?? 0) - 1e-12);
        expect(boasting).toBeLessThanOrEqual(1.25 * (honest ?? 0) + 1e-12);
      }),
    );
  });

  it("draws among equals from the least loaded quarter", () => {
    const loads = [3, 1, 2, 1, 0, 3, 2, 2];
    const scored = explain(situationOf(loads.map((inFlight) => plain({ inFlight, capacity: 100 }))), ruleDefaults);
    // floor(0.25 × 7) = 1: the load of the second least loaded is the most that stays.
    expect(scored.map((one) => one.propensity > 0)).toEqual(loads.map((inFlight) => inFlight <= 1));
  });

  it("calls hot who is above the 0.84 rank with two in flight", () => {
    const loads = [0, 1, 1, 2, 2, 2, 3, 3, 4, 5];
    const scored = explain(situationOf(loads.map((inFlight) => plain({ inFlight, capacity: 100 }))), ruleDefaults);
    // floor(0.84 × 9) = 7: the load of the eighth is the threshold.
    expect(scored.map((one) => one.isHot)).toEqual(loads.map((inFlight) => inFlight > 3));
    const single = explain(situationOf([0, 0, 0, 0, 0, 0, 0, 1].map((inFlight) => plain({ inFlight }))), ruleDefaults);
    expect(single.some((one) => one.isHot)).toBe(false);
  });

  it("does not take one request of a thousand for a load: a slow MCP that is idle gets nothing while a fast one has room", () => {
    const fast = { latencyMs: 100, tail: 0 };
    const slow = { latencyMs: 400, tail: 0.5 };
    const fleetOf = (capacity: number, inFlight: number) =>
      situationOf([
        plain({ capacity, inFlight }, fast),
        plain({ capacity, inFlight }, fast),
        plain({ capacity }, slow),
        plain({ capacity }, slow),
      ]);
    const propensities = (situation: Situation) => explain(situation, { ...ruleDefaults, epsilon: 0 }).map(({ propensity }) => propensity);
    expect(propensities(fleetOf(1_000, 1))).toEqual([0.5, 0.5, 0, 0]);
    expect(propensities(fleetOf(1_000, 2))).toEqual([0, 0, 0.5, 0.5]);
    expect(propensities(fleetOf(100, 1))).toEqual([0, 0, 0.5, 0.5]);
  });

  const sharedMachine = { inFlight: 3, latencyMs: 300, growth: 1 };

  it("fills an MCP with better answers until one more costs the others there as much as its answer gains", () => {
    const better = (inFlight: number) =>
      explain(
        situationOf(
          [
            plain({ capacity: 32, inFlight }, { quality: 0.9, latencyMs: 100 * (inFlight + 1), tail: 0.02, load: sharedMachine }),
            plain({ capacity: 32 }, { quality: 0.7, tail: 0.02, load: { ...sharedMachine, latencyMs: 100, inFlight: 0 } }),
          ],
          1_000,
        ),
        ruleDefaults,
      ).map(({ propensity }) => propensity);
    expect(better(0)).toEqual([1, 0]);
    expect(better(2)).toEqual([1, 0]);
    expect(better(12)).toEqual([0, 1]);
  });

  it("names what a request takes from others as a factor, which grows with the number in flight and with the part of the latency that follows load", () => {
    const crowding = (inFlight: number, growth: number): number => {
      const draft = plain({ capacity: 32, inFlight }, { load: { ...sharedMachine, growth } });
      const [one] = explain(situationOf([draft, plain()], 1_000), ruleDefaults);
      return -(one?.factors.find(({ name }) => name === "crowding")?.contribution ?? Number.NaN);
    };
    expect([crowding(0, 1), crowding(5, 0)]).toEqual([0, 0].map((none) => expect.closeTo(none, 12)));
    for (let inFlight = 1; inFlight < 30; inFlight += 1) {
      expect(crowding(inFlight + 1, 1)).toBeGreaterThan(crowding(inFlight, 1));
      if (inFlight >= sharedMachine.inFlight) expect(crowding(inFlight, 1)).toBeGreaterThan(crowding(inFlight, 0.5));
    }
  });

  it("lets load alone decide among equal answers, whatever a request costs the others", () => {
    const drafts = [4, 1, 6].map((inFlight, at) =>
      plain({ capacity: 100, inFlight }, { load: { inFlight: 3, latencyMs: 100 * (at + 1), growth: 1 }, latencyMs: 100 }),
    );
    expect(explain(situationOf(drafts), ruleDefaults).map(({ propensity }) => propensity)).toEqual([0, 1, 0]);
  });

  it("takes the least loaded when all are hot, and of those who got least lately", () => {
    const drafts = [plain({ inFlight: 10, capacity: 11 }), plain({ inFlight: 9 }, { recent: 2 }), plain({ inFlight: 9 }, { recent: 1 })];
    const drawn = draw(situationOf(drafts), ruleDefaults, seededRng(1), createRanking());
    expect(drawn).toMatchObject({ at: 2, propensity: 1, epsilon: 0, regime: "all_hot" });
    const without = explain(situationOf(drafts), { ...ruleDefaults, usesRecent: false });
    expect(without.map((one) => one.propensity)).toEqual([0, 0.5, 0.5]);
  });

  it("takes whoever is least loaded in a panic, and counts an ejected one as four times as loaded", () => {
    const drafts = [plain({ inFlight: 2 }), plain({ state: "ejected" }), plain({ inFlight: 10 })];
    expect(draw(situationOf(drafts), ruleDefaults, seededRng(1), createRanking())).toMatchObject({ at: 0, regime: "panic" });
    const fuller = [plain({ inFlight: 5 }), plain({ state: "ejected" })];
    expect(draw(situationOf(fuller), ruleDefaults, seededRng(1), createRanking())).toMatchObject({ at: 1, regime: "panic" });
  });

  it("leaves a degraded one a quarter of its share, and the rest to the others", () => {
    const [degraded, other] = explain(situationOf([plain({ state: "degraded" }), plain()]), ruleDefaults);
    expect(degraded?.propensity).toBeCloseTo(0.25 / 1.25, 12);
    expect(other?.propensity).toBeCloseTo(1 / 1.25, 12);
    const alone = explain(situationOf([plain({ state: "degraded" }), plain({ inFlight: 9 })]), ruleDefaults);
    expect(alone.map((one) => one.propensity)).toEqual([1, 0]);
  });

  it("is random by capacity when nothing is known of anybody", () => {
    const drafts = [plain({}, { samples: 0 }), plain({ capacity: 30 }, { samples: 0 })];
    const situation = situationOf(drafts);
    expect(explain(situation, ruleDefaults)[1]?.propensity).toBeCloseTo(0.75, 12);
    expect(draw(situation, ruleDefaults, seededRng(1), createRanking()).regime).toBe("cold_start");
  });

  it("keeps those in the tie that may only have been unlucky, and not those that are worse", () => {
    const share = (tail: number): number | undefined =>
      explain(situationOf([plain({}, { samples: 40 }), plain({}, { tail, samples: 40 })]), ruleDefaults)[1]?.propensity;
    expect(share(0.12)).toBeGreaterThan(0.4);
    expect(share(0.3)).toBe(0);
  });
});
