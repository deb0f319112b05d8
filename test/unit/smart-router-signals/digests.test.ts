import fc from "fast-check";
import { expect, test } from "vitest";
import { plainRequest, type RouteRequest } from "../../../src/smart-router/request.js";
import { createSignalBook, type LocalSignalBook } from "../../../src/smart-router/signals/book.js";
import type { McpDigest } from "../../../src/smart-router/signals/digests.js";
import { endedWith } from "../../support/ended.js";

const ocr: RouteRequest = { ...plainRequest, requestType: "ocr", inputBytes: 5_000 };

const step = fc.record({
  mcp: fc.constantFrom("a", "b"),
  type: fc.constantFrom("ocr", "summary"),
  // Apart, so that weights differ: of two answers with the same weight the median is either, and rounding on the way decides which.
  afterMs: fc.integer({ min: 300, max: 5_000 }),
  tookMs: fc.integer({ min: 1, max: 3_000 }),
  inFlight: fc.integer({ min: 0, max: 12 }),
  result: fc.constantFrom("ok" as const, "ok" as const, "error" as const),
  quality: fc.option(fc.double({ min: 0, max: 1, noNaN: true }), { nil: undefined }),
  audited: fc.option(fc.double({ min: 0, max: 1, noNaN: true }), { nil: undefined }),
  ends: fc.boolean(),
});
const steps = fc.array(step, { minLength: 1, maxLength: 50 });
/** Nothing stays open: ages of open requests travel as a histogram, which is 15 % coarse. */
const endedSteps = steps.map((all) => all.map((one) => ({ ...one, ends: true })));
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

function play(book: LocalSignalBook, all: readonly Step[], fromMs = 1_000): number {
  let nowMs = fromMs;
  for (const [index, one] of all.entries()) {
    nowMs += one.afterMs;
    const common = {
      decisionId: `d${fromMs}-${index}`,
      mcpId: one.mcp,
      request: { ...ocr, requestType: one.type },
      inFlightBefore: one.inFlight,
    };
    book.assigned({ ...common, atMs: nowMs });
    if (!one.ends) continue;
    const { result, quality, audited: auditedQuality } = one;
    book.ended({
      ...common,
      startedAtMs: nowMs,
      endedAtMs: nowMs + one.tookMs,
      result,
      durationMs: undefined,
      quality,
      auditedQuality,
      cost: 1,
    });
  }
  return nowMs + 3_000;
}

/** As it arrives: through JSON. */
const sent = (digests: readonly McpDigest[]): readonly McpDigest[] => JSON.parse(JSON.stringify(digests));

function close(a: number, b: number, tolerance: number): void {
  expect(Math.abs(a - b)).toBeLessThanOrEqual(tolerance * Math.max(1, Math.abs(a), Math.abs(b)));
}

function expectAlike(there: LocalSignalBook, thereMs: number, here: LocalSignalBook, hereMs: number): void {
  for (const mcpId of ["a", "b"]) {
    for (const requestType of ["ocr", "summary"]) {
      const request = { ...ocr, requestType };
      const original = there.read(mcpId, request, 2, thereMs);
      const copy = here.read(mcpId, request, 2, hereMs);
      close(copy.errorRate, original.errorRate, 1e-3);
      close(copy.tail, original.tail, 1e-3);
      close(copy.quality, original.quality, 1e-3);
      close(copy.selfFactor ?? 1, original.selfFactor ?? 1, 1e-2);
      close(copy.cost, original.cost, 1e-2);
      close(copy.latencyMs, original.latencyMs, 1e-3);
    }
  }
  close(here.readClass(ocr, hereMs).p90Ms, there.readClass(ocr, thereMs).p90Ms, 1e-3);
}

test("a coordinator that adopts the digests of a fleet reads of it what its holder reads, on another clock", () => {
  fc.assert(
    fc.property(endedSteps, fc.integer({ min: -1_000_000, max: 1_000_000 }), (all, skewMs) => {
      const there = createSignalBook();
      const nowMs = play(there, all);
      there.tick(nowMs);
      const here = createSignalBook();
      for (const digest of sent(there.digestOf(["b", "a"], nowMs, 64))) here.adopt(digest, "there/1", 0, nowMs + skewMs);
      here.adoptShared([there.sharedSums(nowMs)], nowMs + skewMs);
      here.tick(nowMs + skewMs);
      expectAlike(there, nowMs, here, nowMs + skewMs);
    }),
    { numRuns: 100 },
  );
});

test("adopting again and again counts nothing twice, and the newest word replaces the ones before", () => {
  fc.assert(
    fc.property(endedSteps, endedSteps, (first, second) => {
      const there = createSignalBook();
      const here = createSignalBook();
      const firstMs = play(there, first);
      const early = sent(there.digestOf(["a", "b"], firstMs, 64));
      const nowMs = play(there, second, firstMs);
      const late = sent(there.digestOf(["a", "b"], nowMs, 64));
      for (const digest of early) here.adopt(digest, "there/1", 0, firstMs);
      for (let round = 0; round < 3; round += 1) for (const digest of late) here.adopt(digest, "there/1", 0, nowMs);
      here.adoptShared([there.sharedSums(nowMs)], nowMs);
      here.tick(nowMs);
      there.tick(nowMs);
      expectAlike(there, nowMs, here, nowMs);
    }),
    { numRuns: 100 },
  );
});

test("the order in which MCPs are adopted changes nothing", () => {
  fc.assert(
    fc.property(steps, (all) => {
      const there = createSignalBook();
      const nowMs = play(there, all);
      const digests = sent(there.digestOf(["a", "b"], nowMs, 64));
      const [forwards, backwards] = [createSignalBook(), createSignalBook()];
      for (const digest of digests) forwards.adopt(digest, "there/1", 0, nowMs);
      for (const digest of [...digests].reverse()) backwards.adopt(digest, "there/1", 0, nowMs);
      for (const mcpId of ["a", "b"]) {
        const one = forwards.read(mcpId, ocr, 1, nowMs);
        const other = backwards.read(mcpId, ocr, 1, nowMs);
        close(one.latencyMs, other.latencyMs, 1e-9);
        close(one.tail, other.tail, 1e-9);
        close(one.errorRate, other.errorRate, 1e-9);
      }
    }),
    { numRuns: 50 },
  );
});

test("what is told keeps its age, and open requests that were told of count no longer than ten seconds", () => {
  const there = createSignalBook();
  for (let index = 0; index < 10; index += 1) {
    there.ended(endedWith({ decisionId: `d${index}`, request: ocr }));
  }
  there.assigned({ decisionId: "stuck", mcpId: "a", request: ocr, atMs: 100, inFlightBefore: 0 });
  const here = createSignalBook();
  for (const digest of sent(there.digestOf(["a"], 5_100, 8))) here.adopt(digest, "there/1", 500, 5_600);
  const told = here.read("a", ocr, 0, 5_600);
  expect(told).toMatchObject({ ageMs: 500, latencyFrom: "open_age" });
  close(told.latencyMs, 5_500, 0.15);
  expect(here.read("a", ocr, 0, 15_000)).toMatchObject({ ageMs: 9_900, latencyFrom: "open_age" });
  expect(here.read("a", ocr, 0, 15_200)).toMatchObject({ ageMs: 10_100, latencyFrom: "near", latencyMs: 100 });
  here.claim("a");
  expect(here.read("a", ocr, 0, 5_700)).toMatchObject({ ageMs: undefined, latencyFrom: "near" });
});

test("after a restart posteriors are what they were, and nothing is open", () => {
  fc.assert(
    fc.property(endedSteps, fc.integer({ min: 0, max: 30_000 }), (all, downMs) => {
      const before = createSignalBook();
      const nowMs = play(before, all);
      before.tick(nowMs);
      const after = createSignalBook();
      after.restoreShared(JSON.parse(JSON.stringify(before.sharedSums(nowMs))), downMs);
      for (const digest of sent(before.digestOf(["a", "b"], nowMs, 64))) after.restore(digest, downMs, downMs);
      expectAlike(before, nowMs + downMs, after, downMs);
      expect(after.digestOf(["a", "b"], downMs, 8).every(({ inFlight }) => inFlight === 0)).toBe(true);
    }),
    { numRuns: 50 },
  );
});

test("what was lived through since a restart is not overwritten by what was stored before it", () => {
  const before = createSignalBook();
  play(before, [
    { mcp: "a", type: "ocr", afterMs: 0, tookMs: 2_000, inFlight: 0, result: "error", quality: 0.1, audited: undefined, ends: true },
  ]);
  const after = createSignalBook();
  after.assigned({ decisionId: "new", mcpId: "a", request: ocr, atMs: 0, inFlightBefore: 0 });
  const known = after.read("a", ocr, 0, 100);
  for (const digest of before.digestOf(["a"], 3_000, 8)) after.restore(digest, 0, 100);
  expect(after.read("a", ocr, 0, 100)).toEqual(known);
});
