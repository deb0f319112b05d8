import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { seededRng } from "../../../src/platform/rng.js";
import { addEnd, effectOf, noUsualLoad, type UsualLoad } from "../../../src/smart-router/decide/usual-load.js";

const memory = 200;

/** Ends whose latency follows from the number in flight as `latencyOf` says. */
function learned(count: number, latencyOf: (inFlight: number, uniform: number) => number, seed = 1): UsualLoad {
  const rng = seededRng(seed);
  const usual = noUsualLoad();
  for (let end = 0; end < count; end += 1) {
    const inFlight = Math.floor(rng() * 8);
    addEnd(usual, latencyOf(inFlight, rng()), inFlight, end, memory);
  }
  return usual;
}

const growthOf = (usual: UsualLoad): number => effectOf(usual, 16, 2)?.growth ?? Number.NaN;

describe("the usual load of an MCP", () => {
  it("grows in full where requests share a machine, and not at all where each takes as long as it takes", () => {
    expect(growthOf(learned(400, (inFlight) => 50 * (inFlight + 1)))).toBeCloseTo(1, 1);
    expect(growthOf(learned(400, () => 100))).toBe(0);
  });

  it("lies between for a machine that has room for some, and counts what is uncertain as following load", () => {
    const half = growthOf(learned(400, (inFlight) => 200 + 50 * inFlight));
    expect(half).toBeGreaterThan(0.4);
    expect(half).toBeLessThan(0.7);
    const noisy = (inFlight: number, uniform: number): number => (200 + 50 * inFlight) * 2 * uniform;
    expect(growthOf(learned(400, noisy))).toBeGreaterThan(half);
    expect(growthOf(learned(16, noisy))).toBeGreaterThan(growthOf(learned(400, noisy)));
  });

  it("takes latency for a matter of load when the load never differed", () => {
    const usual = noUsualLoad();
    for (let end = 0; end < 20; end += 1) addEnd(usual, 100, 3, end, memory);
    expect(effectOf(usual, 16, 2)).toEqual({ inFlight: 3, latencyMs: 100, growth: 1 });
  });

  it("says nothing after too few ends", () => {
    expect(
      effectOf(
        learned(15, () => 100),
        16,
        2,
      ),
    ).toBeUndefined();
    expect(
      effectOf(
        learned(16, () => 100),
        16,
        2,
      ),
    ).toBeDefined();
  });

  it("forgets what was before the newest few hundred", () => {
    const usual = learned(400, () => 100);
    for (let end = 0; end < 1_000; end += 1) addEnd(usual, 300, 2, 400 + end, memory);
    expect(usual.latencyMs).toBeGreaterThan(295);
    expect(usual.inFlight).toBeCloseTo(2, 1);
    expect(usual.atMs).toBe(1_399);
  });

  it("stays finite and within its bounds whatever is added", () => {
    const end = fc.record({ latencyMs: fc.double(), inFlight: fc.double(), atMs: fc.double({ noNaN: true }) });
    const sane = fc.record({ latencyMs: fc.double({ min: 0, max: 1e7, noNaN: true }), inFlight: fc.nat(1_000), atMs: fc.nat() });
    fc.assert(
      fc.property(
        fc.array(
          fc.oneof(
            sane,
            end.filter(({ latencyMs, inFlight }) => !(latencyMs > 1e7) && !(inFlight > 1e6)),
          ),
          { maxLength: 300 },
        ),
        (ends) => {
          const usual = noUsualLoad();
          for (const { latencyMs, inFlight, atMs } of ends) addEnd(usual, latencyMs, inFlight, atMs, memory);
          expect(usual.count).toBeLessThanOrEqual(memory);
          const effect = effectOf(usual, 1, 2);
          if (effect === undefined) return;
          expect(effect.growth).toBeGreaterThanOrEqual(0);
          expect(effect.growth).toBeLessThanOrEqual(1);
          expect(effect.latencyMs).toBeGreaterThan(0);
          expect(Number.isFinite(effect.inFlight)).toBe(true);
        },
      ),
    );
  });
});
