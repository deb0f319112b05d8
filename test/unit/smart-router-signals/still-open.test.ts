import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { seededRng } from "../../../src/platform/rng.js";
import { classOf, plainRequest } from "../../../src/smart-router/request.js";
import { createSignalBook, type LocalSignalBook } from "../../../src/smart-router/signals/book.js";
import { addToHistogram, emptyHistogram } from "../../../src/smart-router/signals/log-histogram.js";
import { survival } from "../../../src/smart-router/signals/still-open.js";

const ocr = { ...plainRequest, requestType: "ocr" };
const summary = { ...plainRequest, requestType: "summary" };
const latencies = fc.array(fc.integer({ min: 0, max: 100_000 }), { maxLength: 40 });
const age = fc.integer({ min: -5_000, max: 700_000 });

function histogramOf(all: readonly number[]) {
  const histogram = emptyHistogram();
  for (const latencyMs of all) addToHistogram(histogram, latencyMs, 1);
  return histogram;
}

const asked = (request: typeof ocr) => ({ request, requestClass: classOf(request) });

let ended = 0;
function answer(book: LocalSignalBook, mcpId: string, request: typeof ocr, all: readonly number[]): void {
  for (const latencyMs of all) {
    ended += 1;
    const common = { decisionId: `e${ended}`, mcpId, request, inFlightBefore: 0, result: "ok", durationMs: undefined } as const;
    book.ended({ ...common, startedAtMs: 0, endedAtMs: latencyMs, quality: undefined, auditedQuality: undefined, cost: undefined });
  }
}

describe("whether a request still runs that nobody has heard of since", () => {
  test("is a probability, certain at the age at which it was known to run, and never likelier later", () => {
    fc.assert(
      fc.property(latencies, age, age, age, (all, ...ages) => {
        const [knownMs, soonMs, lateMs] = ages.sort((a, b) => a - b) as [number, number, number];
        const histogram = histogramOf(all);
        const soon = survival(histogram, 1, knownMs, soonMs);
        const late = survival(histogram, 1, knownMs, lateMs);
        expect(survival(histogram, 1, knownMs, knownMs)).toBe(1);
        expect(soon).toBeLessThanOrEqual(1);
        expect(late).toBeLessThanOrEqual(soon);
        expect(late).toBeGreaterThan(0);
        // Hearing on the way that it runs splits the time in two and changes nothing.
        if (soonMs >= 0) expect(soon * survival(histogram, 1, soonMs, lateMs)).toBeCloseTo(late, 9);
      }),
    );
  });

  test("is certain where no answer is known, and where it has outlasted every answer that is", () => {
    expect(survival(emptyHistogram(), 1, 0, 60_000)).toBe(1);
    expect(survival(histogramOf([100, 100, 100]), 1, 1_000, 60_000)).toBe(1);
    expect(survival(histogramOf(Array(100).fill(100)), 1, 0, 1_000)).toBeLessThan(0.01);
  });

  test("follows how long this MCP takes for the class, else the fleet, else this MCP for anything", () => {
    const book = createSignalBook();
    const openAfter = (mcpId: string, request: typeof ocr, ageMs: number) =>
      book.stillOpen(mcpId, [{ ...asked(request), assignedAtMs: 200_000 - ageMs }], 0, 200_000).mean;
    expect(openAfter("m", ocr, 60_000)).toBe(1);
    answer(book, "m", summary, Array(100).fill(20_000));
    expect(openAfter("m", ocr, 1_000)).toBeGreaterThan(0.9);
    answer(book, "n", ocr, Array(100).fill(100));
    expect(openAfter("m", ocr, 1_000)).toBeLessThan(0.1);
    answer(book, "m", ocr, Array(100).fill(5_000));
    expect(openAfter("m", ocr, 1_000)).toBeGreaterThan(0.9);
    expect(openAfter("m", ocr, 10_000)).toBeLessThan(0.1);
    expect(openAfter("m", summary, 10_000)).toBeGreaterThan(0.9);
  });

  test("sums to as many as do run, in the mean over many moments, when answers take as long as before", () => {
    const rng = seededRng(5);
    const exponential = (meanMs: number) => -meanMs * Math.log(1 - rng());
    const book = createSignalBook();
    answer(
      book,
      "m",
      ocr,
      Array.from({ length: 400 }, () => exponential(100)),
    );
    let expectedSum = 0;
    let trueSum = 0;
    let above = 0;
    for (let round = 0; round < 400; round += 1) {
      const nowMs = 5_000 + round;
      const toldAtMs = nowMs - 1_000 - 1_000 * rng();
      const sent = Array.from({ length: 60 }, () => ({ ...asked(ocr), assignedAtMs: nowMs - 3_000 * rng(), tookMs: exponential(100) }));
      const unheard = sent.filter(({ assignedAtMs, tookMs }) => assignedAtMs + tookMs > toldAtMs);
      const running = unheard.filter(({ assignedAtMs, tookMs }) => assignedAtMs + tookMs > nowMs).length;
      const { mean, variance } = book.stillOpen("m", unheard, toldAtMs, nowMs);
      expectedSum += mean;
      trueSum += running;
      if (running > Math.ceil(mean + 2 * Math.sqrt(variance))) above += 1;
    }
    expect(trueSum).toBeGreaterThan(600);
    expect(expectedSum / trueSum).toBeGreaterThan(0.9);
    expect(expectedSum / trueSum).toBeLessThan(1.15);
    expect(above / 400).toBeLessThan(0.05);
  });
});
