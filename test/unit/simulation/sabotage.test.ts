import { describe, expect, it } from "vitest";
import { sabotages } from "../../simulation/sabotage.js";
import { runSchedule } from "../../simulation/schedule.js";

/** A fault that needs more schedules than this to show is one that the ordinary run would find too late to be of use. */
const seedsMax = 300;

describe("the simulation notices a coordinator that", () => {
  for (const [fault, sabotage] of Object.entries(sabotages)) {
    it(fault, { timeout: 600_000 }, async () => {
      let breach: string | undefined;
      for (let seed = 1; seed <= seedsMax && breach === undefined; seed += 1) breach = (await runSchedule(seed, sabotage)).breach;
      expect(breach).toBeDefined();
    });
  }
});
