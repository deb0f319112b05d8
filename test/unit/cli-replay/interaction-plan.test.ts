import fc from "fast-check";
import { expect, test } from "vitest";
import { planInteraction } from "../../../src/cli/interaction-plan.js";
import { seededRng } from "../../../src/platform/rng.js";

const anyRow = fc.record({
  line: fc.integer({ min: 2, max: 1_000_000 }),
  arrivalMs: fc.constant(0),
  contextTokens: fc.integer({ min: 0, max: 100_000 }),
  generatedTokens: fc.integer({ min: 0, max: 10_000 }),
});

test("every interaction is one start, progress that rises in between, and one end, in order of time", () => {
  fc.assert(
    fc.property(anyRow, fc.integer(), (row, seed) => {
      const { events, endsWell } = planInteraction(row, "i", seededRng(seed));
      const kinds = events.map((event) => event.detail.case);
      expect(kinds[0]).toBe("start");
      expect(kinds.at(-1)).toBe(endsWell ? "complete" : "error");
      expect(kinds.slice(1, -1).every((kind) => kind === "progress")).toBe(true);
      expect(kinds.length).toBeLessThanOrEqual(5);
      const times = events.map((event) => event.afterMs);
      expect(times).toEqual([...times].sort((a, b) => a - b));
    }),
  );
});

test("the same seed makes the same interactions fail, about one in a hundred", () => {
  const outcomes = (seed: number) => {
    const rng = seededRng(seed);
    return Array.from(
      { length: 20_000 },
      () => planInteraction({ line: 2, arrivalMs: 0, contextTokens: 1, generatedTokens: 1 }, "i", rng).endsWell,
    );
  };
  expect(outcomes(7)).toEqual(outcomes(7));
  const failed = outcomes(7).filter((endsWell) => !endsWell).length;
  expect(failed).toBeGreaterThan(140);
  expect(failed).toBeLessThan(260);
});

test("more tokens take longer, and only long interactions report progress", () => {
  const plan = (generatedTokens: number) =>
    planInteraction({ line: 2, arrivalMs: 0, contextTokens: 100, generatedTokens }, "i", seededRng(1)).events;
  expect(plan(10)).toHaveLength(2);
  expect(plan(1_000)).toHaveLength(5);
  expect(plan(1_000).at(-1)?.afterMs).toBeGreaterThan(plan(10).at(-1)?.afterMs ?? 0);
});
