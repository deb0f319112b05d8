import { describe, expect, test } from "vitest";
import { contenderNamed } from "../../../src/simulate/contenders.js";
import { simulate } from "../../../src/simulate/engine.js";
import { commonFigures } from "../../../src/simulate/figures.js";
import { antagonistWorld } from "../../../src/simulate/scenarios/antagonists.js";

/** The length of these tests is work, not waiting. */
const longMs = 600_000;
const ours = () => contenderNamed("P13x-ours-exchanging");

describe("several coordinators in one simulation", () => {
  test("a lone one decides as the router does that knows of no others", { timeout: longMs }, () => {
    const world = antagonistWorld(6, 0.7, 3_000, 1);
    expect(simulate(world, ours(), 7).hash).toBe(simulate(world, contenderNamed("P13-ours"), 7).hash);
  });

  test("four run the same way twice, use every server, and have nothing in flight in the end", { timeout: longMs }, () => {
    // The last ends travel with a digest: two seconds at most.
    const world = { ...antagonistWorld(8, 0.7, 3_000, 4), drainMs: 4_000 };
    const [first, second] = [simulate(world, ours(), 7), simulate(world, ours(), 7)];
    expect(first.hash).toBe(second.hash);
    expect(first.leaked).toBe(0);
    expect(new Set(first.outcomes.map(({ server }) => server)).size).toBe(8);
    // Each sends to servers whose streams others hold, which it knows from digests only.
    for (const coordinator of [0, 1, 2, 3]) {
      const used = first.outcomes.filter((outcome) => outcome.coordinator === coordinator && outcome.arrival.atMs > 5_000);
      expect(new Set(used.map(({ server }) => server)).size).toBe(8);
    }
    expect(commonFigures(first).failedShare).toBeLessThan(0.01);
  });
});
