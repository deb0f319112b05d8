import fc from "fast-check";
import { expect, test } from "vitest";
import {
  addCompletion,
  clearCompletions,
  completionsKept,
  lateOfNewest,
  nearMedian,
  noCompletions,
  peakAt,
} from "../../../src/smart-router/signals/completions.js";
import { Decay } from "../../../src/smart-router/signals/decay.js";
import {
  addToHistogram,
  bucketOf,
  edgeOf,
  emptyHistogram,
  placeThreshold,
  quantileOf,
  totalOf,
  weightAbove,
} from "../../../src/smart-router/signals/log-histogram.js";
import { addStart, medianAge, openLonger, removeStart } from "../../../src/smart-router/signals/open-starts.js";

test("a decayed sum is the sum of its events, each halved once per half-life, in any order and across a new zero", () => {
  const events = fc.array(
    fc.record({ atMs: fc.integer({ min: 0, max: 10_000_000 }), amount: fc.double({ min: 0, max: 100, noNaN: true }) }),
    {
      minLength: 1,
      maxLength: 30,
    },
  );
  fc.assert(
    fc.property(events, fc.integer({ min: 0, max: 100_000 }), (all, laterMs) => {
      const halfLifeMs = 10_000;
      const decay = new Decay(halfLifeMs);
      let sum = 0;
      for (const { atMs, amount } of all) {
        sum *= decay.rebase(atMs);
        sum += amount * decay.weightAt(atMs);
      }
      const nowMs = Math.max(...all.map(({ atMs }) => atMs)) + laterMs;
      const exact = all.reduce((total, { atMs, amount }) => total + amount * 2 ** (-(nowMs - atMs) / halfLifeMs), 0);
      expect(sum * decay.keptAt(nowMs)).toBeCloseTo(exact, 9);
    }),
  );
});

test("a quantile of a histogram is within 15 % of the exact one, and a tail within the weight of one bucket", () => {
  fc.assert(
    fc.property(
      fc.array(fc.double({ min: 1, max: 500_000, noNaN: true }), { minLength: 1, maxLength: 80 }),
      fc.double({ min: 0.01, max: 0.999, noNaN: true }),
      (sample, at) => {
        const histogram = emptyHistogram();
        for (const value of sample) addToHistogram(histogram, value, 1);
        const sorted = [...sample].sort((a, b) => a - b);
        const rank = at * sorted.length;
        const exact = sorted[Math.min(sorted.length - 1, Math.floor(rank))] ?? 0;
        const lower = sorted[Math.max(0, Math.ceil(rank - 1e-9) - 1)] ?? 0;
        const estimate = quantileOf(histogram, at) ?? 0;
        expect(estimate).toBeGreaterThanOrEqual((lower / 1.15) * (1 - 1e-9));
        expect(estimate).toBeLessThanOrEqual(exact * 1.15 * (1 + 1e-9));
        const threshold = { bucket: 0, share: 0 };
        placeThreshold(exact, threshold);
        const inBucket = sample.filter((value) => bucketOf(value) === bucketOf(exact)).length;
        const above = sample.filter((value) => value > exact).length;
        expect(Math.abs(weightAbove(histogram, threshold) - above)).toBeLessThanOrEqual(inBucket + 1e-9);
        expect(totalOf(histogram)).toBe(sample.length);
      },
    ),
  );
});

test("every latency lies in its bucket", () => {
  fc.assert(
    fc.property(fc.double({ min: 0, max: 500_000, noNaN: true }), (latencyMs) => {
      const bucket = bucketOf(latencyMs);
      expect(latencyMs).toBeGreaterThanOrEqual(edgeOf(bucket) * (1 - 1e-12));
      expect(latencyMs).toBeLessThan(edgeOf(bucket + 1) * (1 + 1e-12));
    }),
  );
});

test("the expected latency is the median of the nine completions nearest in load, whatever order they came in", () => {
  const rule = { nearCount: 9, nearMaxAgeMs: 60_000, samplesMin: 5 };
  const one = fc.record({
    latency: fc.integer({ min: 1, max: 999 }),
    inFlight: fc.integer({ min: 0, max: 9 }),
    atMs: fc.integer({ min: 0, max: 90_000 }),
  });
  fc.assert(
    fc.property(fc.array(one, { maxLength: completionsKept }), fc.integer({ min: 0, max: 9 }), (all, inFlight) => {
      const nowMs = 90_000;
      const forwards = noCompletions();
      const backwards = noCompletions();
      for (const { latency, inFlight: load, atMs } of all) addCompletion(forwards, latency, load, atMs, 10_000);
      for (const { latency, inFlight: load, atMs } of [...all].reverse()) addCompletion(backwards, latency, load, atMs, 10_000);
      const young = all.filter(({ atMs }) => atMs + rule.nearMaxAgeMs > nowMs);
      const distance = (load: number): number => Math.abs(load - inFlight);
      const nearest = [...young]
        .sort((a, b) => distance(a.inFlight) - distance(b.inFlight) || b.atMs - a.atMs || b.latency - a.latency)
        .slice(0, rule.nearCount)
        .map(({ latency }) => latency)
        .sort((a, b) => a - b);
      const middle = nearest.length >> 1;
      const median = nearest.length % 2 === 1 ? nearest[middle] : ((nearest[middle] ?? 0) + (nearest[middle - 1] ?? 0)) / 2;
      expect(nearMedian(forwards, inFlight, nowMs, rule)).toBe(young.length < rule.samplesMin ? Number.NaN : median);
      expect(nearMedian(backwards, inFlight, nowMs, rule)).toBe(nearMedian(forwards, inFlight, nowMs, rule));
    }),
  );
});

test("late among the newest are those that a look at each finds, whatever was asked, added or forgotten before", () => {
  const countMax = 4;
  const small = fc.integer({ min: 0, max: 8 });
  const added = fc.record({ latencyMs: small, atMs: small });
  const asked = fc.record({ deadlineMs: fc.integer({ min: 0, max: 16 }).map((half) => half / 2), sinceMs: small });
  fc.assert(
    fc.property(fc.array(fc.oneof(added, asked, asked, asked, fc.constant("forget" as const)), { maxLength: 60 }), (steps) => {
      const completions = noCompletions();
      let all: { readonly latencyMs: number; readonly atMs: number }[] = [];
      for (const step of steps) {
        if (step === "forget") {
          clearCompletions(completions);
          all = [];
        } else if ("latencyMs" in step) {
          addCompletion(completions, step.latencyMs, 0, step.atMs, 10_000);
          all.push(step);
        } else {
          const counted = all.slice(-countMax).filter(({ atMs }) => atMs >= step.sinceMs);
          const late = counted.filter(({ latencyMs }) => latencyMs > step.deadlineMs).length;
          expect(lateOfNewest(completions, step.deadlineMs, countMax, step.sinceMs)).toMatchObject({ late, count: counted.length });
        }
      }
    }),
    { numRuns: 500 },
  );
});

test("the mean follows a peak at once, forgets it with a time constant of 10 s, and grows with the load", () => {
  const completions = noCompletions();
  addCompletion(completions, 100, 0, 0, 10_000);
  addCompletion(completions, 2_000, 0, 100, 10_000);
  expect(peakAt(completions, 0)).toBe(2_000);
  addCompletion(completions, 100, 0, 10_100, 10_000);
  expect(peakAt(completions, 0)).toBeCloseTo(100 + 1_900 / Math.E, 9);
  expect(peakAt(completions, 3)).toBeCloseTo(4 * peakAt(completions, 0), 9);
});

test("ages of open requests are those of a plain sorted list, and time that goes backwards makes none negative", () => {
  const step = fc.record({ atMs: fc.integer({ min: 0, max: 50 }), closes: fc.boolean() });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), fc.integer({ min: 0, max: 80 }), (steps, nowMs) => {
      const starts: number[] = [];
      const plain: number[] = [];
      for (const { atMs, closes } of steps) {
        const at = plain.indexOf(atMs);
        if (closes) {
          removeStart(starts, atMs);
          if (at >= 0) plain.splice(at, 1);
        } else {
          addStart(starts, atMs);
          plain.push(atMs);
        }
      }
      plain.sort((a, b) => a - b);
      expect(starts).toEqual(plain);
      const middle = plain.length >> 1;
      const median = plain.length % 2 === 1 ? (plain[middle] ?? 0) : ((plain[middle] ?? 0) + (plain[middle - 1] ?? 0)) / 2;
      expect(medianAge(starts, nowMs)).toBe(plain.length === 0 ? 0 : Math.max(0, nowMs - median));
      expect(openLonger(starts, 10, nowMs)).toBe(plain.filter((startedAtMs) => nowMs - startedAtMs > 10).length);
    }),
  );
});
