import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { featureCount } from "../../../src/smart-router/learn/features.js";
import { Ridge } from "../../../src/smart-router/learn/ridge.js";
import { plainRequest } from "../../../src/smart-router/request.js";
import { createSignalBook, type LocalSignalBook } from "../../../src/smart-router/signals/book.js";
import { type QualitySettings, signalDefaults } from "../../../src/smart-router/signals/settings.js";

const request = { ...plainRequest, requestType: "ocr", inputBytes: 100 };
const settings = signalDefaults.quality;

function bookWith(quality: Partial<QualitySettings> = {}): LocalSignalBook {
  return createSignalBook({ ...signalDefaults, quality: { ...settings, ...quality } });
}

let decisions = 0;
function report(
  book: LocalSignalBook,
  mcpId: string,
  atMs: number,
  self: number | undefined,
  audited?: number,
  requestType = "ocr",
): string {
  decisions += 1;
  const decisionId = `d${decisions}`;
  const common = {
    decisionId,
    mcpId,
    request: { ...request, requestType },
    inFlightBefore: 0,
    result: "ok" as const,
    durationMs: undefined,
    cost: undefined,
  };
  book.ended({ ...common, startedAtMs: atMs - 100, endedAtMs: atMs, quality: self, auditedQuality: audited });
  return decisionId;
}

/** Deterministic noise in [-0.5, 0.5). */
const noise = (index: number): number => ((index * 0.618033988749895) % 1) - 0.5;

describe("the shared regression", () => {
  test("finds the coefficients of noiseless data as exactly as its ridge allows", () => {
    const vector = fc.array(fc.double({ min: -1, max: 1, noNaN: true }), { minLength: featureCount, maxLength: featureCount });
    fc.assert(
      fc.property(vector, fc.integer({ min: 1, max: 1_000 }), (truth, seed) => {
        const ridge = new Ridge({ ...settings, ridge: 1e-6, prior: 0 });
        const row = (index: number): Float64Array =>
          Float64Array.from({ length: featureCount }, (_, column) => Math.sin(seed + index * 12.9898 + column * 78.233));
        const target = (features: Float64Array): number => truth.reduce((sum, one, column) => sum + one * (features[column] ?? 0), 0);
        for (let index = 0; index < 200; index += 1) ridge.add(row(index), target(row(index)), 1, 0);
        ridge.solve(0);
        expect(ridge.predict(row(9_999))).toBeCloseTo(target(row(9_999)), 3);
      }),
      { numRuns: 30 },
    );
  });

  test("is the same after its sums have been stored and restored", () => {
    const ridge = new Ridge(settings);
    const features = Float64Array.from({ length: featureCount }, (_, index) => Math.cos(index));
    for (let index = 0; index < 40; index += 1) ridge.add(features, 0.8, 1, index * 1_000);
    ridge.solve(100_000);
    const restored = new Ridge(settings);
    restored.restore(ridge.sums(100_000), 5);
    expect(restored.predict(features)).toBeCloseTo(ridge.predict(features), 9);
  });
});

test("audited MCPs are told apart, with an error that shrinks with every audit", () => {
  const book = bookWith();
  for (let index = 0; index < 100; index += 1) {
    report(book, "good", index, undefined, 0.9 + noise(index) / 10);
    report(book, "poor", index, undefined, 0.5 + noise(index) / 10);
  }
  book.tick(100);
  const good = book.read("good", request, 0, 100);
  const poor = book.read("poor", request, 0, 100);
  expect(good.quality - poor.quality).toBeGreaterThan(0.25);
  expect(good.qualitySigma).toBeLessThan(book.read("unknown", request, 0, 100).qualitySigma);
  expect(good.selfFactor).toBe(1);
});

describe("what an MCP says of itself", () => {
  function fleetWithLiar(quality: Partial<QualitySettings>, lie: (index: number) => number): LocalSignalBook {
    const book = bookWith(quality);
    for (let index = 0; index < 400; index += 1) {
      for (const mcpId of ["h1", "h2", "h3", "h4"]) report(book, mcpId, index * 10, 0.7 + noise(index) / 5);
      report(book, "liar", index * 10, lie(index));
    }
    book.tick(4_000);
    return book;
  }

  test("never moves its score without audits, and its share by a quarter at most", () => {
    const book = fleetWithLiar({}, (index) => 0.95 + noise(index) / 10);
    const honest = book.read("h1", request, 0, 4_000);
    const liar = book.read("liar", request, 0, 4_000);
    expect(liar.quality).toBe(honest.quality);
    expect((liar.selfFactor ?? 1) / (honest.selfFactor ?? 1)).toBeGreaterThan(1.05);
    expect(liar.selfFactor).toBeLessThanOrEqual(1.25 + 1e-12);
  });

  test("counts as missing when it never differs", () => {
    const book = fleetWithLiar({}, () => 1);
    expect(book.read("liar", request, 0, 4_000).selfFactor).toBe(1);
    const trusting = fleetWithLiar({ selfReports: "trusted" }, () => 1);
    const expected = trusting.read("unknown", request, 0, 4_000).quality;
    expect(trusting.read("liar", request, 0, 4_000).quality).toBeCloseTo(expected, 12);
  });

  test("is believed where the operator says so", () => {
    const book = fleetWithLiar({ selfReports: "trusted" }, (index) => 0.95 + noise(index) / 10);
    expect(book.read("liar", request, 0, 4_000).quality - book.read("h1", request, 0, 4_000).quality).toBeGreaterThan(0.15);
  });

  test("is corrected by what audits of the same requests find", () => {
    const book = fleetWithLiar({ selfReports: "trusted" }, (index) => 0.95 + noise(index) / 10);
    const before = book.read("liar", request, 0, 4_000).quality;
    for (let index = 0; index < 40; index += 1) {
      const decisionId = report(book, "liar", 4_000, 0.95 + noise(index) / 10);
      book.audited({ decisionId, mcpId: "liar", request, atMs: 4_000, quality: 0.5 });
    }
    book.tick(4_000);
    const after = book.read("liar", request, 0, 4_000).quality;
    expect(after).toBeLessThan(before - 0.2);
    expect(after).toBeLessThan(book.read("h1", request, 0, 4_000).quality);
  });

  test("is dropped and counted when it is no number in [0, 1]", () => {
    const book = bookWith();
    for (const quality of [Number.NaN, -0.1, 1.1, Number.POSITIVE_INFINITY, 0.5]) report(book, "a", 0, quality);
    expect(book.droppedReports()).toBe(4);
  });
});

test("in silence the estimate goes back to the fleet's, never past it, and its error grows", () => {
  fc.assert(
    fc.property(
      fc.double({ min: 0, max: 1, noNaN: true }),
      fc.array(fc.integer({ min: 1, max: 3_600_000 }), { minLength: 2, maxLength: 5 }),
      (own, silences) => {
        const book = bookWith();
        for (let index = 0; index < 30; index += 1) {
          report(book, "a", 0, undefined, own);
          report(book, "b", 0, undefined, 0.5);
        }
        let distance = Number.POSITIVE_INFINITY;
        let sigma = 0;
        let nowMs = 0;
        for (const silence of silences) {
          nowMs += silence;
          const fleet = book.read("nobody", request, 0, nowMs).quality;
          const known = book.read("a", request, 0, nowMs);
          expect((known.quality - fleet) * (own - 0.5)).toBeGreaterThanOrEqual(-1e-9);
          expect(Math.abs(known.quality - fleet)).toBeLessThanOrEqual(distance + 1e-9);
          expect(known.qualitySigma).toBeGreaterThanOrEqual(sigma);
          distance = Math.abs(known.quality - fleet);
          sigma = known.qualitySigma;
        }
      },
    ),
    { numRuns: 50 },
  );
});

test("a class without audits of its own is judged by the MCP's other requests", () => {
  const book = bookWith();
  for (let index = 0; index < 100; index += 1) {
    report(book, "a", index, undefined, 0.9, "ocr");
    report(book, "b", index, undefined, 0.4, "ocr");
  }
  const other = { ...request, requestType: "translate" };
  expect(book.read("a", other, 0, 100).quality).toBeGreaterThan(book.read("b", other, 0, 100).quality + 0.2);
});

test("an MCP that changes is judged anew after a few hundred samples", () => {
  const book = bookWith();
  for (let index = 0; index < 2_000; index += 1) {
    report(book, "a", index, undefined, 0.9);
    report(book, "b", index, undefined, 0.5);
  }
  for (let index = 0; index < 300; index += 1) {
    report(book, "a", 2_000 + index, undefined, 0.5);
    report(book, "b", 2_000 + index, undefined, 0.9);
  }
  book.tick(2_300);
  expect(book.read("b", request, 0, 2_300).quality).toBeGreaterThan(book.read("a", request, 0, 2_300).quality + 0.1);
});
