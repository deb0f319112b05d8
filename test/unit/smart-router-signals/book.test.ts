import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { limits } from "../../../src/platform/limits.js";
import type { Assigned, Ended } from "../../../src/smart-router/policy.js";
import { plainRequest, type RouteRequest } from "../../../src/smart-router/request.js";
import { createSignalBook } from "../../../src/smart-router/signals/book.js";
import { endedWith } from "../../support/ended.js";

const ocr: RouteRequest = { ...plainRequest, requestType: "ocr", inputBytes: 5_000 };

const ended = (over: Partial<Ended> & Pick<Ended, "decisionId">): Ended => endedWith({ request: ocr, ...over });

function assigned(over: Partial<Assigned> & Pick<Assigned, "decisionId">): Assigned {
  return { mcpId: "a", request: ocr, atMs: 0, inFlightBefore: 0, ...over };
}

const step = fc.record({
  mcp: fc.constantFrom("a", "b", "c"),
  type: fc.constantFrom("ocr", "summary"),
  bytes: fc.integer({ min: 0, max: 100_000 }),
  afterMs: fc.integer({ min: -500, max: 5_000 }),
  tookMs: fc.integer({ min: 0, max: 3_000 }),
  inFlight: fc.integer({ min: 0, max: 12 }),
  result: fc.constantFrom("ok" as const, "ok" as const, "error" as const, "expired" as const),
  quality: fc.option(fc.oneof(fc.double({ min: 0, max: 1, noNaN: true }), fc.constantFrom(Number.NaN, -1, 7)), { nil: undefined }),
  audited: fc.option(fc.double({ min: 0, max: 1, noNaN: true }), { nil: undefined }),
  cost: fc.option(fc.double({ min: -1, max: 10, noNaN: false }), { nil: undefined }),
  ends: fc.boolean(),
});
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

function play(
  steps: readonly Step[],
  name: (mcp: string) => string = (mcp) => mcp,
): { book: ReturnType<typeof createSignalBook>; nowMs: number } {
  const book = createSignalBook();
  let nowMs = 1_000;
  for (const [index, one] of steps.entries()) {
    nowMs = Math.max(0, nowMs + one.afterMs);
    const request = { ...plainRequest, requestType: one.type, inputBytes: one.bytes };
    const common = { decisionId: `d${index}`, mcpId: name(one.mcp), request, inFlightBefore: one.inFlight };
    book.assigned({ ...common, atMs: nowMs });
    if (!one.ends) continue;
    const { result, quality, audited: auditedQuality, cost } = one;
    book.ended({
      ...common,
      startedAtMs: nowMs,
      endedAtMs: nowMs + one.tookMs,
      result,
      durationMs: undefined,
      quality,
      auditedQuality,
      cost,
    });
  }
  return { book, nowMs };
}

describe("names that one MCP makes up", () => {
  test("push out its own classes, and not those of the others", () => {
    const book = createSignalBook(undefined, { bounds: { levels: 32, cellsPerMcp: 8 } });
    const answers = (mcpId: string, request: RouteRequest, count: number, latencyMs: number): void => {
      for (let each = 0; each < count; each += 1) {
        const decisionId = `${mcpId} ${request.requestType} ${each}`;
        book.ended(ended({ decisionId, mcpId, request, startedAtMs: 1_000, endedAtMs: 1_000 + latencyMs }));
      }
    };
    answers("honest", ocr, 20, 200);
    for (let name = 0; name < 500; name += 1) answers("hostile", { ...ocr, requestType: `made up ${name}` }, 1, 60_000);
    const { p50Ms } = book.readClass({ ...ocr }, 61_000);
    expect(p50Ms).toBeGreaterThan(150);
    expect(p50Ms).toBeLessThan(250);
    expect(book.read("honest", { ...ocr }, 0, 61_000)).toMatchObject({ latencyFrom: "near" });
  });
});

describe("whatever happens", () => {
  test("probabilities and qualities stay in [0, 1], latencies above 0, and nothing is NaN", () => {
    fc.assert(
      fc.property(
        fc.array(step, { maxLength: 60 }),
        fc.integer({ min: -5_000, max: 10_000_000 }),
        fc.integer({ min: 0, max: 20 }),
        (steps, laterMs, inFlight) => {
          const { book, nowMs } = play(steps);
          for (const mcpId of ["a", "b", "c", "unknown"]) {
            const known = book.read(mcpId, ocr, inFlight, nowMs + laterMs);
            for (const share of [known.tail, known.errorRate, known.quality, known.qualitySigma]) {
              expect(share).toBeGreaterThanOrEqual(0);
              expect(share).toBeLessThanOrEqual(1);
            }
            expect(known.latencyMs).toBeGreaterThan(0);
            expect(Number.isFinite(known.latencyMs + known.cost + known.recent + known.samples)).toBe(true);
            expect(known.selfFactor).toBeGreaterThanOrEqual(0.8 - 1e-9);
            expect(known.selfFactor).toBeLessThanOrEqual(1.25 + 1e-9);
          }
        },
      ),
      { numRuns: 200 },
    );
  });

  test("reading changes nothing", () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), fc.integer({ min: 0, max: 100_000 }), (steps, laterMs) => {
        const quiet = play(steps);
        const watched = play(steps);
        for (const atMs of [0, watched.nowMs, watched.nowMs + 60_000, watched.nowMs - 100]) {
          for (const mcpId of ["c", "a", "nobody"]) watched.book.read(mcpId, { ...ocr, inputBytes: atMs }, 3, atMs);
        }
        const atMs = quiet.nowMs + laterMs;
        expect(watched.book.read("a", ocr, 2, atMs)).toEqual(quiet.book.read("a", ocr, 2, atMs));
      }),
      { numRuns: 100 },
    );
  });

  test("names of MCPs and their order decide nothing", () => {
    const swap: Readonly<Record<string, string>> = { a: "z", b: "y", c: "x" };
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        const { book, nowMs } = play(steps);
        const renamed = play(steps, (mcp) => swap[mcp] ?? mcp).book;
        for (const mcpId of ["a", "b", "c"]) {
          expect({ ...renamed.read(swap[mcpId] ?? "", ocr, 1, nowMs), mcpId }).toEqual(book.read(mcpId, ocr, 1, nowMs));
        }
        expect(book.readWeights(["c", "a", "b"], nowMs)).toEqual(book.readWeights(["a", "b", "c"], nowMs));
      }),
      { numRuns: 100 },
    );
  });
});

test("without any sample the latency is 1 s, and beside others half as much again as their median", () => {
  const book = createSignalBook();
  expect(book.read("a", ocr, 0, 0)).toMatchObject({ latencyMs: 1_000, latencyFrom: "prior", samples: 0 });
  for (let index = 0; index < 20; index += 1) book.ended(ended({ decisionId: `d${index}`, mcpId: "b" }));
  expect(book.read("a", ocr, 0, 100).latencyMs / book.readClass(ocr, 100).p50Ms).toBeCloseTo(1.5, 9);
});

test("a request that has not come back raises the expected latency to its age, until it ends", () => {
  const book = createSignalBook();
  for (let index = 0; index < 20; index += 1) book.ended(ended({ decisionId: `d${index}` }));
  book.assigned(assigned({ decisionId: "stuck", atMs: 200 }));
  expect(book.read("a", ocr, 1, 250)).toMatchObject({ latencyMs: 100, latencyFrom: "near" });
  expect(book.read("a", ocr, 1, 900)).toMatchObject({ latencyMs: 700, latencyFrom: "open_age" });
  book.ended(ended({ decisionId: "stuck", startedAtMs: 200, endedAtMs: 950 }));
  expect(book.read("a", ocr, 0, 950)).toMatchObject({ latencyMs: 100, latencyFrom: "near" });
});

test("an end that is repeated counts once", () => {
  const once = createSignalBook();
  const twice = createSignalBook();
  for (const book of [once, twice]) book.assigned(assigned({ decisionId: "d" }));
  const end = ended({ decisionId: "d", result: "error", quality: 0.3, cost: 2 });
  once.ended(end);
  twice.ended(end);
  twice.ended(end);
  twice.assigned(assigned({ decisionId: "d" }));
  expect(twice.read("a", ocr, 0, 500)).toEqual(once.read("a", ocr, 0, 500));
});

test("a late answer is known for one, however many requests ended meanwhile that nobody decided", () => {
  const book = createSignalBook();
  book.assigned(assigned({ decisionId: "decided" }));
  book.ended(ended({ decisionId: "decided", endedAtMs: 1_000, result: "expired" }));
  for (let count = 0; count <= limits.endedRequestsMax; count += 1) {
    const plain = { decisionId: `interaction ${count}`, mcpId: "b" };
    book.assigned(assigned({ ...plain, atMs: 1_000 }));
    book.ended(ended({ ...plain, startedAtMs: 1_000, endedAtMs: 1_000, isUnnamed: true }));
  }
  const { errorRate } = book.read("a", ocr, 0, 2_000);
  book.ended(ended({ decisionId: "decided", endedAtMs: 2_000 }));
  expect(book.read("a", ocr, 0, 2_000).errorRate).toBe(errorRate);
});

test("failing in 1 ms counts as at least five seconds", () => {
  const book = createSignalBook();
  for (let index = 0; index < 10; index += 1) book.ended(ended({ decisionId: `d${index}`, result: "error", endedAtMs: 1 }));
  const known = book.read("a", ocr, 0, 1);
  expect(known.latencyMs).toBe(5_000);
  expect(known.errorRate).toBeGreaterThan(0.8);
});
