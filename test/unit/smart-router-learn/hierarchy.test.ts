import fc from "fast-check";
import { expect, test } from "vitest";
import { blend, type LevelSum, noParticular, particularAt, priorStrength } from "../../../src/smart-router/learn/hierarchy.js";
import { noEffects } from "../../../src/smart-router/learn/shared-effect.js";
import { signalDefaults } from "../../../src/smart-router/signals/settings.js";

const settings = signalDefaults.quality;
const nothing: LevelSum = { count: 0, sum: 0 };

function blended(all: LevelSum, type: LevelSum, own: LevelSum) {
  const into = noParticular();
  blend(all, type, own, settings, into);
  return into;
}

const level = fc.record({ count: fc.integer({ min: 0, max: 500 }), mean: fc.double({ min: -1, max: 1, noNaN: true }) });
/** Sums of three nested levels: what a coarser one holds includes the finer one. */
const nested = fc.tuple(level, level, level).map(([ofClass, ofOtherClasses, ofOtherTypes]) => {
  const own = { count: ofClass.count, sum: ofClass.count * ofClass.mean };
  const type = { count: own.count + ofOtherClasses.count, sum: own.sum + ofOtherClasses.count * ofOtherClasses.mean };
  const all = { count: type.count + ofOtherTypes.count, sum: type.sum + ofOtherTypes.count * ofOtherTypes.mean };
  return { own, type, all };
});

test("with one class and nothing else it is the sum over the count and the strength of the prior", () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 500 }), fc.double({ min: -1, max: 1, noNaN: true }), (count, mean) => {
      const one = { count, sum: count * mean };
      const { mean: result, strength } = blended(one, one, one);
      expect(result).toBeCloseTo(one.sum / (count + priorStrength(settings)), 12);
      expect(strength).toBeCloseTo(count + priorStrength(settings), 9);
    }),
  );
});

test("the prior alone is worth twenty samples", () => {
  expect(priorStrength(settings)).toBeCloseTo(20, 9);
  expect(blended(nothing, nothing, nothing)).toMatchObject({ mean: 0, strength: expect.closeTo(20, 9) });
});

test("it never goes beyond the means of the levels, and shared effects are taken away once at most", () => {
  fc.assert(
    fc.property(nested, ({ own, type, all }) => {
      const { mean, typeSlope, classSlope } = blended(all, type, own);
      const means = [own, type, all].filter(({ count }) => count > 0).map(({ sum, count }) => sum / count);
      expect(mean).toBeGreaterThanOrEqual(Math.min(0, ...means) - 1e-9);
      expect(mean).toBeLessThanOrEqual(Math.max(0, ...means) + 1e-9);
      for (const slope of [typeSlope, classSlope, typeSlope + classSlope]) {
        expect(slope).toBeLessThanOrEqual(0);
        expect(slope).toBeGreaterThanOrEqual(-1 - 1e-12);
      }
    }),
  );
});

test("the more the class itself knows, the nearer it comes to its own mean, and the surer it is", () => {
  const others = { count: 100, sum: -50 };
  const at = (count: number) => {
    const own = { count, sum: 0.5 * count };
    const sum = { count: count + others.count, sum: own.sum + others.sum };
    return blended(sum, sum, own);
  };
  let before = at(0);
  for (const count of [5, 20, 100, 1_000, 100_000]) {
    const now = at(count);
    expect(now.mean).toBeGreaterThan(before.mean);
    expect(now.strength).toBeGreaterThan(before.strength);
    before = now;
  }
  expect(before.mean).toBeCloseTo(0.5, 2);
});

test("a value is linear in the effects of type and class", () => {
  const particular = { mean: 0.3, typeSlope: -0.25, classSlope: -0.5, strength: 40 };
  expect(particularAt(particular, noEffects)).toBe(0.3);
  expect(particularAt(particular, { typeEffect: 0.4, classEffect: 0.2 })).toBeCloseTo(0.1, 12);
});
