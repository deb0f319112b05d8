import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Allowance } from "../../../src/platform/allowance.js";

describe("an allowance", () => {
  it("grants at most the burst and what has come back since, over every span of time, and never less than the rate", () => {
    const rate = fc.record({ burst: fc.integer({ min: 1, max: 50 }), perSecond: fc.integer({ min: 1, max: 100 }) });
    fc.assert(
      fc.property(rate, fc.array(fc.integer({ min: 0, max: 400 }), { maxLength: 200 }), (rate, waits) => {
        const allowance = new Allowance(rate, 0);
        const granted: number[] = [];
        let nowMs = 0;
        for (const wait of waits) {
          nowMs += wait;
          if (allowance.take(nowMs)) granted.push(nowMs);
          else expect(granted.length, "a refusal while the rate was not used up").toBeGreaterThanOrEqual(rate.burst);
        }
        granted.forEach((fromMs, first) => {
          granted.slice(first).forEach((untilMs, more) => {
            expect(more + 1).toBeLessThanOrEqual(rate.burst + ((untilMs - fromMs) / 1_000) * rate.perSecond + 1e-6);
          });
        });
      }),
    );
  });

  it("grants for ever what keeps to its rate", () => {
    const allowance = new Allowance({ burst: 2, perSecond: 10 }, 0);
    for (let use = 0; use < 1_000; use += 1) expect(allowance.take(use * 100)).toBe(true);
  });
});
