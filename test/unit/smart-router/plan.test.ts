import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type Candidate, confirm, isDue, look as lookAt, owe, type Plan, startPlan } from "../../../src/smart-router/plan.js";
import { seatAll } from "../../../src/smart-router/seats.js";
import { routerDefaults as settings } from "../../../src/smart-router/settings.js";
import { plainStanding } from "../../../src/smart-router/standing.js";
import type { Route } from "../../../src/smart-router/table.js";
import type { RawWeight } from "../../../src/smart-router/weigh.js";

const active = (mcpId: string, lnRaw: number): RawWeight => ({ mcpId, lnRaw, state: "active", isMeasured: true, why: [] });
/** Everyone who is weighed has a seat, and nobody else. */
const seated = (mcpIds: readonly string[]) => seatAll(mcpIds.toSorted(), () => plainStanding(10));
const look = (plan: Plan, raws: readonly RawWeight[], nowMs: number, its: typeof settings) =>
  lookAt(plan, raws, seated(raws.map(({ mcpId }) => mcpId)), nowMs, its);
const named = (lnRaws: Readonly<Record<string, number>>): RawWeight[] => Object.entries(lnRaws).map(([mcpId, ln]) => active(mcpId, ln));

type Published = { readonly atMs: number; readonly candidate: Candidate };
type Run = { readonly plan: Plan; readonly published: readonly Published[] };

/** Looks once a second for `seconds`, every candidate being stored at once. */
function run(from: Plan, raws: readonly RawWeight[], fromMs: number, seconds: number): Run {
  let plan = from;
  const published: Published[] = [];
  for (let atMs = fromMs; atMs < fromMs + seconds * 1_000; atMs += 1_000) {
    const { next, candidate } = look(plan, raws, atMs, settings);
    plan = candidate === undefined ? next : confirm(next, candidate, atMs);
    if (candidate !== undefined) published.push({ atMs, candidate });
  }
  return { plan, published };
}

const weightIn = (candidate: Candidate | undefined, mcpId: string): number =>
  candidate?.table.find((route) => route.mcpId === mcpId)?.weight ?? Number.NaN;
const inForce = (plan: Plan, mcpId: string): number => plan.published.weights.get(mcpId) ?? Number.NaN;
const steadyAt = (lnRaws: Readonly<Record<string, number>>): Plan => run(startPlan([], 0, settings), named(lnRaws), 0, 200).plan;
const laterMs = 200_000;

describe("when a table is published", () => {
  test("the first one is initial, even when it is empty", () => {
    const { candidate } = look(startPlan([], 0, settings), [], 0, settings);
    expect(candidate).toMatchObject({ reason: "initial", table: [] });
  });

  test("an unchanged one only as a refresh, every 30 s", () => {
    const { published } = run(startPlan([], 0, settings), named({ a: 1, b: 1 }), 0, 100);
    expect(published.map(({ atMs, candidate }) => [atMs, candidate.reason])).toEqual([
      [0, "initial"],
      [30_000, "refresh"],
      [60_000, "refresh"],
      [90_000, "refresh"],
    ]);
  });

  test("a movement within the dead band is not news", () => {
    const moved = run(steadyAt({ a: 0, b: 0 }), named({ a: 0.09, b: 0 }), laterMs, 29);
    expect(moved.published.filter(({ candidate }) => candidate.reason === "change")).toEqual([]);
    const further = run(steadyAt({ a: 0, b: 0 }), named({ a: 0.2, b: 0 }), laterMs, 29);
    expect(further.published.map(({ candidate }) => candidate.reason)).toContain("change");
  });

  test("one basis point is rounding, not news, however small the shares are", () => {
    const fleet = Object.fromEntries(Array.from({ length: 900 }, (_, index) => [`mcp-${index}`, 0]));
    const { published } = run(steadyAt(fleet), named({ ...fleet, "mcp-0": 0.1 }), laterMs, 29);
    expect(published.filter(({ candidate }) => candidate.reason === "change")).toEqual([]);
  });

  test("an MCP that leaves hands its whole share over at once", () => {
    const { candidate } = look(steadyAt({ a: 3, b: 0, c: 0 }), named({ b: 0, c: 0 }), laterMs, settings);
    expect(candidate?.reason).toBe("membership");
    expect(candidate?.table.map((route) => [route.mcpId, route.weight])).toEqual([
      ["b", 5_000],
      ["c", 5_000],
    ]);
  });

  test("a newcomer is in the table at once and not above its fair share", () => {
    const { candidate } = look(steadyAt({ a: 0, b: 0 }), named({ a: 0, b: 0, c: 6 }), laterMs, settings);
    expect(candidate?.reason).toBe("membership");
    expect(weightIn(candidate, "c")).toBeLessThanOrEqual(3_334);
  });

  test("publications are 250 ms apart, even when members change", () => {
    const plan = steadyAt({ a: 0, b: 0 });
    const { atMs } = plan.published;
    expect(isDue(plan, seated(["a"]).seats, atMs + 249, settings)).toBe(false);
    expect(isDue(plan, seated(["a"]).seats, atMs + 250, settings)).toBe(true);
  });

  test("weights are computed once a second while members stay the same, and not more often than every 100 ms", () => {
    const plan = steadyAt({ a: 0, b: 0 });
    expect(isDue(plan, seated(["a", "b"]).seats, plan.weighedAtMs + 999, settings)).toBe(false);
    expect(isDue(plan, seated(["a", "b"]).seats, plan.weighedAtMs + 1_000, settings)).toBe(true);
    const eager = { ...settings, weightUpdatePeriodMs: 1, publishIntervalMinMs: 0 };
    expect(isDue(plan, seated(["a", "b"]).seats, plan.weighedAtMs + 99, eager)).toBe(false);
    expect(isDue(plan, seated(["a", "b"]).seats, plan.weighedAtMs + 100, eager)).toBe(true);
  });

  test("after a publication of unknown fate the next look publishes, changed or not", () => {
    const owing = owe(steadyAt({ a: 0, b: 0 }));
    expect(isDue(owing, seated(["a", "b"]).seats, laterMs, settings)).toBe(true);
    const { next, candidate } = look(owing, named({ a: 0, b: 0 }), laterMs, settings);
    expect(candidate?.reason).toBe("refresh");
    if (candidate !== undefined)
      expect(look(confirm(next, candidate, laterMs), named({ a: 0, b: 0 }), laterMs + 1_000, settings).candidate).toBeUndefined();
  });

  test("an unconfirmed candidate leaves the table in force as it was", () => {
    const plan = steadyAt({ a: 0, b: 0 });
    const { next, candidate } = look(plan, named({ a: -3, b: 0 }), laterMs, settings);
    expect(candidate).toBeDefined();
    expect([...next.published.weights]).toEqual([...plan.published.weights]);
  });

  test("a new leader repeats the table in force before it moves it", () => {
    const table: Route[] = [
      { mcpId: "a", weight: 8_000, state: "active", maxConcurrent: 10, priority: 0, why: [] },
      { mcpId: "b", weight: 2_000, state: "active", maxConcurrent: 10, priority: 0, why: [] },
    ];
    const raws: RawWeight[] = table.map(({ mcpId }) => ({
      mcpId,
      lnRaw: 0,
      state: "warming",
      isMeasured: false,
      why: [{ name: "fleet_mean", contribution: 0 }],
    }));
    const { published } = run(startPlan(table, 0, settings), raws, 0, 20);
    expect(published).toHaveLength(1);
    expect(published[0]?.candidate.table.map(({ mcpId, weight, state }) => [mcpId, weight, state])).toEqual([
      ["a", 8_000, "warming"],
      ["b", 2_000, "warming"],
    ]);
  });
});

describe("how fast published weights move", () => {
  test("no publication raises a weight by more than a quarter against the others; a fall is not held back", () => {
    const rise = run(steadyAt({ a: -6, b: 0 }), named({ a: 0, b: 0 }), laterMs, 60).published;
    const odds = [[50, 9_950], ...rise.map(({ candidate }) => [weightIn(candidate, "a"), weightIn(candidate, "b")])].map(
      ([a = 0, b = 1]) => a / b,
    );
    for (const [index, each] of odds.entries()) expect(each / (odds[index - 1] ?? each)).toBeLessThan(1.25 * 1.02);
    const fall = run(steadyAt({ a: 0, b: 0 }), named({ a: -6, b: 0 }), laterMs, 1).published;
    expect(weightIn(fall[0]?.candidate, "a")).toBeLessThan(500);
  });

  test.each([3, -3])("a change by e^%d that all MCPs share is no news and does not hold back the next fall", (shared) => {
    const together = run(steadyAt({ a: 0, b: 0 }), named({ a: shared, b: shared }), laterMs, 29);
    expect(together.published.filter(({ candidate }) => candidate.reason === "change")).toEqual([]);
    const apart = run(together.plan, named({ a: shared, b: shared - 1 }), laterMs + 29_000, 1);
    expect(weightIn(apart.published[0]?.candidate, "b")).toBeLessThan(4_000);
  });

  test("after a step, weights change direction at most once and move at most 1.2 times the step", () => {
    const drawn = fc.array(fc.double({ min: -4, max: 4, noNaN: true }), { minLength: 2, maxLength: 12 });
    fc.assert(
      fc.property(drawn, fc.double({ min: -5, max: 5, noNaN: true }), (lnRaws, step) => {
        const before = Object.fromEntries(lnRaws.map((ln, index) => [`mcp-${index}`, ln]));
        const start = run(startPlan([], 0, settings), named(before), 0, 300).plan;
        const { published, plan } = run(start, named({ ...before, "mcp-0": (before["mcp-0"] ?? 0) + step }), 300_000, 200);
        const path = [inForce(start, "mcp-0"), ...published.map(({ candidate }) => weightIn(candidate, "mcp-0"))];
        const final = inForce(plan, "mcp-0");
        const signs = path.map((weight) => Math.sign(weight - final)).filter((sign) => sign !== 0);
        expect(signs.filter((sign, index) => index > 0 && sign !== signs[index - 1]).length).toBeLessThanOrEqual(1);
        const variation = path.reduce((sum, weight, index) => sum + Math.abs(weight - (path[index - 1] ?? weight)), 0);
        // Two basis points: the rounding of both ends.
        expect(variation).toBeLessThanOrEqual(1.2 * Math.abs(final - (path[0] ?? 0)) + 2);
      }),
    );
  });
});
