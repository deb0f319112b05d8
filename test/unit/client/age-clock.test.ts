import fc from "fast-check";
import { expect, test } from "vitest";
import { AgeClock } from "../../../src/client/spool/age-clock.js";
import { limits } from "../../../src/platform/limits.js";

test("however the wall jumps, age is never more than what has passed, nor than the wall says", () => {
  const step = fc.record({ passedMs: fc.nat(3_600_000), jumpMs: fc.integer({ min: -1e12, max: 1e12 }) });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 50 }), (steps) => {
      const startMs = 1_700_000_000_000;
      let [wallMs, passedMs] = [startMs, 0];
      const age = new AgeClock({ nowMs: () => wallMs, monotonicMs: () => 1_234 + passedMs });
      for (const one of steps) {
        passedMs += one.passedMs;
        wallMs += one.passedMs + one.jumpMs;
        expect(age.nowMs()).toBe(Math.min(wallMs, startMs + passedMs));
        expect(age.mayJudge).toBe(passedMs >= limits.spoolAgeGraceMs);
      }
    }),
  );
});
