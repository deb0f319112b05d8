import fc from "fast-check";
import { expect, test } from "vitest";
import { addSent, noneSent, sentBetween } from "../../../src/smart-router/sent-lately.js";

test("what was sent within the last ten seconds is counted by when it was, to within a tenth of a second", () => {
  const gaps = fc.array(fc.integer({ min: 0, max: 3_000 }), { maxLength: 80 });
  fc.assert(
    fc.property(gaps, fc.integer({ min: -5_000, max: 5_000 }), fc.nat(10_000), fc.nat(10_000), (all, startMs, ago, length) => {
      const sent = noneSent();
      const times: number[] = [];
      let nowMs = startMs;
      for (const gapMs of all) {
        nowMs += gapMs;
        addSent(sent, nowMs);
        times.push(nowMs);
      }
      const fromMs = nowMs - ago;
      const toMs = Math.min(nowMs, fromMs + length);
      const step = (atMs: number) => Math.floor(atMs / 100);
      expect(sentBetween(sent, fromMs, toMs)).toBe(times.filter((atMs) => step(atMs) > step(fromMs) && step(atMs) <= step(toMs)).length);
    }),
  );
});
