import fc from "fast-check";
import { expect, test } from "vitest";
import { seededRng } from "../../../src/platform/rng.js";
import { addDeviation, noChange } from "../../../src/smart-router/learn/change-detector.js";
import { plainRequest, type RouteRequest } from "../../../src/smart-router/request.js";
import { createSignalBook, type LocalSignalBook } from "../../../src/smart-router/signals/book.js";
import { signalDefaults } from "../../../src/smart-router/signals/settings.js";

const settings = signalDefaults.quality;
const request: RouteRequest = { ...plainRequest, requestType: "ocr", inputBytes: 5_000 };

/** Deviations of answers that are right with probability `right` where `expected` is expected, in standard deviations of the latter. */
function alarms(seed: number, count: number, right: number, expected: number): readonly number[] {
  const rng = seededRng(seed);
  const detector = noChange();
  const found: number[] = [];
  for (let at = 0; at < count; at += 1) {
    const deviation = ((rng() < right ? 1 : 0) - expected) / Math.sqrt(expected * (1 - expected));
    if (addDeviation(detector, deviation, settings)) found.push(at);
  }
  return found;
}

test("a stationary MCP alarms at most once in ten thousand answers, however good it is", () => {
  fc.assert(
    fc.property(fc.nat(1_000_000), fc.double({ min: 0.15, max: 0.85, noNaN: true }), (seed, right) => {
      expect(alarms(seed, 50_000, right, right).length).toBeLessThanOrEqual(5);
    }),
    { numRuns: 10 },
  );
});

test("a great change in either direction is found soon", () => {
  for (const [before, after, within] of [
    [0.85, 0.55, 50],
    [0.3, 0.9, 50],
  ] as const) {
    const delays = Array.from({ length: 50 }, (_, seed) => alarms(seed, 1_000, after, before)[0] ?? 1_000);
    expect(delays.reduce((sum, one) => sum + one, 0) / delays.length).toBeLessThan(within);
  }
});

test("after an alarm it begins anew", () => {
  const detector = noChange();
  let count = 0;
  while (!addDeviation(detector, -2, settings)) count += 1;
  expect(count).toBe(9);
  expect(detector).toEqual(noChange());
});

let decisions = 0;
function judge(book: LocalSignalBook, mcpId: string, atMs: number, quality: number, isAudit: boolean): void {
  decisions += 1;
  const ended = { decisionId: `d${decisions}`, mcpId, request, inFlightBefore: 0, startedAtMs: atMs, endedAtMs: atMs, durationMs: 100 };
  const judged = { quality: isAudit ? undefined : quality, auditedQuality: isAudit ? quality : undefined };
  book.ended({ ...ended, ...judged, result: "ok", cost: undefined });
}

test("an MCP that changed is judged anew, and the ones beside it with it", () => {
  const book = createSignalBook();
  for (let index = 0; index < 200; index += 1) {
    judge(book, "good", index, index % 20 < 17 ? 1 : 0, true);
    judge(book, "bad", index, index % 20 < 11 ? 1 : 0, true);
  }
  const before = { good: book.read("good", request, 0, 300), bad: book.read("bad", request, 0, 300) };
  expect(before.good.quality).toBeGreaterThan(before.bad.quality + 0.2);
  for (let index = 0; index < 110; index += 1) judge(book, "good", 300 + index, index % 20 < 9 ? 1 : 0, true);
  const after = { good: book.read("good", request, 0, 400), bad: book.read("bad", request, 0, 400) };
  expect(after.good.quality).toBeLessThan(after.bad.quality);
  expect(after.bad.qualitySigma).toBeGreaterThan(1.5 * before.bad.qualitySigma);
});

test("what an MCP says of itself makes nobody forget anything", () => {
  const book = createSignalBook();
  for (let index = 0; index < 200; index += 1) judge(book, "bystander", index, index % 4 === 0 ? 0 : 1, true);
  for (let index = 0; index < 100; index += 1) judge(book, "liar", index, 0.9 + (index % 10) / 100, false);
  const samplesOf = () => book.digestOf(["bystander"], 300, 0)[0]?.cells[0]?.audited[0] ?? 0;
  const before = samplesOf();
  for (let index = 0; index < 200; index += 1) judge(book, "liar", 200, (index % 10) / 100, false);
  expect(before).toBeGreaterThan(100);
  expect(samplesOf()).toBe(before);
});
