import { describe, expect, test } from "vitest";
import { normalWorkOf, poisson, steady } from "../../../src/simulate/arrivals.js";
import { contenderNamed, contenders } from "../../../src/simulate/contenders.js";
import { exponential } from "../../../src/simulate/draws.js";
import { simulate } from "../../../src/simulate/engine.js";
import { EventHeap } from "../../../src/simulate/event-heap.js";
import { commonFigures } from "../../../src/simulate/figures.js";
import { equalServers, plainWorld, type World } from "../../../src/simulate/world.js";

const random = contenderNamed("P1-random");

/** Three servers, one of which fails, hangs and dies for a while. */
function troubledWorld(): World {
  const faults = [
    { kind: "fail_fast", fromMs: 2_000, untilMs: 3_000, share: 0.5, afterMs: 1 },
    { kind: "hang", fromMs: 3_000, untilMs: 4_000, share: 0.5 },
    { kind: "die", fromMs: 5_000, untilMs: 6_000 },
  ] as const;
  const servers = equalServers(3, { cores: 2, capacity: 4 }, (index) => (index === 0 ? { faults } : {}));
  return { ...plainWorld, servers, drainMs: 700_000, arrivals: steady(poisson(40), normalWorkOf(80), 10_000) };
}

describe("the engine", () => {
  test("events come by time, and at equal times in the order in which they were scheduled", () => {
    const heap = new EventHeap();
    const seen: string[] = [];
    for (const [atMs, name] of [
      [3, "c"],
      [1, "a1"],
      [2, "b"],
      [1, "a2"],
      [1, "a3"],
    ] as const)
      heap.schedule(atMs, () => seen.push(name));
    while (heap.runNext());
    expect(seen).toEqual(["a1", "a2", "a3", "b", "c"]);
  });

  test.each([0.5, 0.8])("one server under processor sharing answers as queueing theory says at load %f", (load) => {
    const workMs = 10;
    const arrivals = steady(poisson((1_000 * load) / workMs), (rng) => exponential(rng, workMs), 2_000_000);
    const world = { ...plainWorld, servers: equalServers(1, { cores: 1, capacity: 100_000 }), measureFromMs: 10_000, arrivals };
    const { meanMs } = commonFigures(simulate(world, random, 1));
    // M/M/1-PS: E/(1 − ρ).
    expect(meanMs).toBeGreaterThan((0.95 * workMs) / (1 - load));
    expect(meanMs).toBeLessThan((1.05 * workMs) / (1 - load));
  });

  test.each(contenders.map(({ id }) => id))("%s: the same seed gives the same run, another one another", (id) => {
    const world = troubledWorld();
    const hash = (seed: number): string => simulate(world, contenderNamed(id), seed).hash;
    expect(hash(7)).toBe(hash(7));
    expect(hash(8)).not.toBe(hash(7));
  });

  test.each(contenders.map(({ id }) => id))("%s: every request ends exactly once, and nothing stays in flight", (id) => {
    const world = troubledWorld();
    const log = simulate(world, contenderNamed(id), 3);
    expect(log.outcomes.map((one) => one.index)).toEqual([...world.arrivals(3)].map((_, index) => index));
    expect(log.outcomes.every((one) => one.endedAtMs >= one.arrival.atMs && one.endedAtMs <= one.arrival.atMs + world.deadlineMs)).toBe(
      true,
    );
    expect(log.leaked).toBe(0);
  });

  test("the draws of a request do not depend on the policy", () => {
    const faults = [{ kind: "fail", fromMs: 0, untilMs: Number.POSITIVE_INFINITY, share: 0.3 }] as const;
    const world = { ...plainWorld, servers: equalServers(4, { faults }), arrivals: steady(poisson(20), normalWorkOf(5), 10_000) };
    const failed = (id: string): readonly number[] =>
      simulate(world, contenderNamed(id), 5)
        .outcomes.filter((one) => one.result === "error")
        .map((one) => one.index);
    expect(failed("P1-random").length).toBeGreaterThan(30);
    expect(failed("P5-least-requests")).toEqual(failed("P1-random"));
    expect(failed("P13-ours")).toEqual(failed("P1-random"));
  });

  test("a queue beyond the capacity is served in the order of arrival", () => {
    const arrivals = () => [0, 1, 2].map((atMs, item) => ({ ...firstArrival(), atMs, workMs: 10, item }));
    const log = simulate({ ...plainWorld, servers: equalServers(1, { cores: 1, capacity: 1 }), arrivals }, random, 1);
    expect(log.outcomes.map((one) => Math.round(one.endedAtMs))).toEqual([10, 20, 30]);
  });
});

function firstArrival() {
  const [first] = steady(poisson(1_000), () => 1, 1_000)(1);
  if (first === undefined) throw new Error("a thousand a second have a first one");
  return first;
}
