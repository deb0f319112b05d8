import fc from "fast-check";
import { expect, test } from "vitest";
import { beat, jitterOf, noPace, type Pace, unheard } from "../../../src/hub/heartbeat-pace.js";

const intervalMs = 15_000;

/** The pace after heartbeats that came so long after one another. */
function paceOf(gapsMs: readonly number[], from: Pace = noPace): Pace {
  let nowMs = 1_000;
  let pace = beat(from, intervalMs, nowMs);
  for (const gapMs of gapsMs) {
    nowMs += gapMs;
    pace = beat(pace, intervalMs, nowMs);
  }
  return pace;
}

const times = (count: number, gapMs: number): readonly number[] => Array.from({ length: count }, () => gapMs);

test("heartbeats that come like a clock have no jitter, and ones that are half an interval off each time have half", () => {
  expect(jitterOf(paceOf(times(50, intervalMs)))).toBe(0);
  const uneven = Array.from({ length: 200 }, (_, index) => (index % 2 === 0 ? 7_500 : 22_500));
  expect(jitterOf(paceOf(uneven))).toBeCloseTo(0.5, 6);
});

test("seven intervals say nothing, however uneven they are", () => {
  expect(jitterOf(paceOf(times(7, 60_000)))).toBe(0);
  expect(jitterOf(paceOf(times(8, 60_000)))).toBeGreaterThan(0.5);
});

test("one pause as long as a session may be silent is no jitter that degrades, and is forgotten", () => {
  const pace = paceOf([...times(20, intervalMs), 3 * intervalMs]);
  expect(jitterOf(pace)).toBe(0.25);
  expect(jitterOf(paceOf(times(10, intervalMs), { ...pace, lastAtMs: undefined }))).toBeLessThan(0.07);
});

test("a time in which this process did not read counts as no interval", () => {
  const even = paceOf(times(20, intervalMs));
  const after = beat(beat(unheard(even), intervalMs, 10_000_000), intervalMs, 10_000_000 + intervalMs);
  expect(jitterOf(after)).toBe(0);
  expect(after.intervals).toBe(even.intervals + 1);
});

test("the jitter is never above the largest deviation nor below 0, whatever comes", () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 0, max: 60_000 }), { minLength: 8, maxLength: 100 }), (gapsMs) => {
      const jitter = jitterOf(paceOf(gapsMs));
      const worst = Math.max(...gapsMs.map((gapMs) => Math.abs(gapMs - intervalMs) / intervalMs));
      expect(jitter).toBeGreaterThanOrEqual(0);
      expect(jitter).toBeLessThanOrEqual(worst + 1e-12);
    }),
  );
});
