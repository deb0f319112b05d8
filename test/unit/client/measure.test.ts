import { expect, test } from "vitest";
import { createMeasure } from "../../../src/client/measure.js";
import { ManualClock } from "../../support/manual-clock.js";

test("an interaction's own time is measured, and the processor time and memory of the whole process", () => {
  const clock = new ManualClock(1_000);
  let cpuMicros = 0;
  const measure = createMeasure(clock, { cpuUsage: () => ({ user: cpuMicros, system: 0 }), rss: () => 5_000_000 });
  const measured = measure();
  clock.stall(200);
  cpuMicros = 50_000;
  expect(measured()).toEqual({ processingTimeMs: 200, resourceUsage: { cpuPercent: 25, memoryBytes: 5_000_000 } });
});

test("an interaction of no time has no share of a processor, and memory is not asked for again at once", () => {
  const clock = new ManualClock(1_000);
  let asked = 0;
  const figures = {
    cpuUsage: () => ({ user: 0, system: 0 }),
    rss: () => {
      asked += 1;
      return 1;
    },
  };
  const measure = createMeasure(clock, figures);
  expect(measure()()).toEqual({ processingTimeMs: 0, resourceUsage: { memoryBytes: 1 } });
  measure()();
  expect(asked).toBe(1);
  clock.stall(100);
  measure()();
  expect(asked).toBe(2);
});

test("memory that the system does not tell is left out: the result of the interaction is its own", () => {
  const figures = {
    cpuUsage: () => ({ user: 0, system: 0 }),
    rss: () => {
      throw new Error("EMFILE: too many open files, uv_resident_set_memory");
    },
  };
  const measure = createMeasure(new ManualClock(1_000), figures);
  expect(measure()()).toEqual({ processingTimeMs: 0, resourceUsage: {} });
});
