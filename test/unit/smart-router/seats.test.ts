import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type Candidate, confirm, isDue, look, type Plan, startPlan } from "../../../src/smart-router/plan.js";
import type { HealthState } from "../../../src/smart-router/policy.js";
import { type Seating, seatAll } from "../../../src/smart-router/seats.js";
import { routerDefaults as settings } from "../../../src/smart-router/settings.js";
import { plainStanding, type Standing } from "../../../src/smart-router/standing.js";
import type { RawWeight } from "../../../src/smart-router/weigh.js";

type Fleet = Readonly<Record<string, Partial<Standing>>>;

const seatsOf = (fleet: Fleet): Seating => seatAll(Object.keys(fleet).sort(), (mcpId) => ({ ...plainStanding(10), ...fleet[mcpId] }));

/** Equal raw weights for everyone who has a share. */
const rawsOf = (seating: Seating, lnRaws: Readonly<Record<string, number>> = {}): RawWeight[] =>
  seating.seats
    .filter((seat) => seat.hasShare)
    .map(({ mcpId }) => ({ mcpId, lnRaw: lnRaws[mcpId] ?? 0, state: "active", isMeasured: true, why: [] }));

type Seen = { readonly plan: Plan; readonly candidate: Candidate | undefined };

function lookAt(plan: Plan, fleet: Fleet, nowMs: number, lnRaws: Readonly<Record<string, number>> = {}): Seen {
  const seating = seatsOf(fleet);
  const { next, candidate } = look(plan, rawsOf(seating, lnRaws), seating, nowMs, settings);
  return { plan: candidate === undefined ? next : confirm(next, candidate, nowMs), candidate };
}

/** A plan after 200 s of the same fleet. */
function settled(fleet: Fleet, lnRaws: Readonly<Record<string, number>> = {}): Plan {
  let plan = startPlan([], 0, settings);
  for (let atMs = 0; atMs < 200_000; atMs += 1_000) plan = lookAt(plan, fleet, atMs, lnRaws).plan;
  return plan;
}
const laterMs = 200_000;
const shown = (candidate: Candidate | undefined) => candidate?.table.map(({ mcpId, weight, state }) => [mcpId, weight, state]);
const three = { a: {}, b: {}, c: {} };

describe("places in a table", () => {
  test.each<[HealthState, string, string]>([
    ["ejected", "ejected", "ejected:b"],
    ["probing", "ejected", "ejected:b"],
    ["disconnected", "disconnected", "disconnected:b"],
    ["draining", "draining", "drain:b"],
  ])("an MCP that is %s hands its whole share over at once, and stays in sight", (state, shownAs, reason) => {
    const { candidate } = lookAt(settled(three, { b: 2 }), { ...three, b: { state } }, laterMs);
    expect(candidate?.reason).toBe(reason);
    expect(shown(candidate)).toEqual([
      ["a", 5_000, "active"],
      ["b", 0, shownAs],
      ["c", 5_000, "active"],
    ]);
  });

  test.each<[string, Partial<Standing>]>([
    ["that the operator drains", { isDraining: true }],
    ["whose weight the operator sets to 0", { weight: 0 }],
  ])("an MCP %s is shown as draining", (_, standing) => {
    expect(shown(lookAt(settled(three), { ...three, b: standing }, laterMs).candidate)?.at(1)).toEqual(["b", 0, "draining"]);
  });

  test("the gravest news is the reason, and says of how many it is true", () => {
    const fleet: Fleet = { a: { state: "draining" }, b: { state: "ejected" }, c: { state: "ejected" }, d: {}, e: {} };
    const { candidate } = lookAt(settled({ a: {}, b: {}, c: {}, d: {} }), fleet, laterMs);
    expect(candidate?.reason).toBe("ejected:b +1");
  });

  test("an MCP that comes back is restored, not above the mean of the others, and not below the floor", () => {
    const away = lookAt(settled(three, { b: 3 }), { ...three, b: { state: "ejected" } }, laterMs, { b: 3 });
    const { candidate } = lookAt(away.plan, three, laterMs + 30_000, { b: 3 });
    expect(candidate?.reason).toBe("restored:b");
    const weight = candidate?.table.at(1)?.weight ?? 0;
    expect(weight).toBeGreaterThan(0);
    expect(weight).toBeLessThanOrEqual(3_334);
  });

  test("a change of place is due 250 ms after the last publication, an unchanged one is not", () => {
    const plan = settled(three);
    const { atMs } = plan.published;
    const ejected = seatsOf({ ...three, b: { state: "ejected" } }).seats;
    expect(isDue(plan, ejected, atMs + 249, settings)).toBe(false);
    expect(isDue(plan, ejected, atMs + 250, settings)).toBe(true);
    expect(isDue(plan, seatsOf({ ...three, b: { state: "degraded" } }).seats, plan.weighedAtMs + 999, settings)).toBe(false);
  });

  test("when nobody may be chosen, everybody is in the table with weight 0", () => {
    const gone = { state: "disconnected" } as const;
    const { candidate } = lookAt(settled(three), { a: gone, b: gone, c: gone }, laterMs);
    expect(candidate?.reason).toBe("disconnected:a +2");
    expect(candidate?.table.map(({ weight }) => weight)).toEqual([0, 0, 0]);
  });

  test("a lower tier waits without weight, and takes over what the first cannot bear", () => {
    const fleet: Fleet = { a: {}, b: {}, z: { priority: 1 } };
    const plan = settled(fleet);
    expect([...plan.published.weights]).toEqual([
      ["a", 5_000],
      ["b", 5_000],
      ["z", 0],
    ]);
    const { candidate } = lookAt(plan, { ...fleet, b: { state: "ejected" } }, laterMs);
    expect(shown(candidate)).toEqual([
      ["a", 7_000, "active"],
      ["b", 0, "ejected"],
      ["z", 3_000, "active"],
    ]);
  });

  test("capacity and priority travel with the route", () => {
    const { candidate } = lookAt(startPlan([], 0, settings), { a: { capacity: 7, priority: 2 } }, 0);
    expect(candidate?.table).toMatchObject([{ maxConcurrent: 7, priority: 2 }]);
  });
});

describe("any sequence of standings", () => {
  const anyState = fc.constantFrom<HealthState>("healthy", "warming", "degraded", "ejected", "draining", "disconnected");
  const anyFleet = fc.dictionary(
    fc.constantFrom("a", "b", "c", "d", "e"),
    fc.record({ state: anyState, priority: fc.constantFrom(0, 0, 1) }),
  );
  const anyLn = fc.dictionary(fc.constantFrom("a", "b", "c", "d", "e"), fc.double({ min: -5, max: 5, noNaN: true }));

  test("gives tables that sum to 10 000 or have no share at all, weight exactly where there is a share, and no rise above the clamp", () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(anyFleet, anyLn), { minLength: 1, maxLength: 20 }), (steps) => {
        let plan = startPlan([], 0, settings);
        let nowMs = 0;
        for (const [fleet, lnRaws] of steps) {
          nowMs += 1_000;
          const before = plan.published.ln;
          const { plan: next, candidate } = lookAt(plan, fleet, nowMs, lnRaws);
          if (candidate !== undefined) {
            const sum = candidate.table.reduce((total, route) => total + route.weight, 0);
            const sharing = seatsOf(fleet).seats.filter((seat) => seat.hasShare);
            expect(sum).toBe(sharing.length > 0 ? 10_000 : 0);
            expect(candidate.table.filter((route) => route.weight > 0).map(({ mcpId }) => mcpId)).toEqual(
              sharing.map(({ mcpId }) => mcpId),
            );
            // Measured against one another: what all do together is no rise.
            const rises = [...candidate.ln].flatMap(([mcpId, to]) => (before.has(mcpId) ? [to - (before.get(mcpId) ?? 0)] : []));
            if (rises.length > 1 && plan.smoothing.isAnchored) {
              const least = Math.min(...rises);
              expect(Math.max(...rises) - Math.max(least, 0)).toBeLessThanOrEqual(Math.log(settings.riseMaxFactor) + 1e-9);
            }
          }
          plan = next;
        }
      }),
    );
  });
});
