import fc from "fast-check";
import { expect, test } from "vitest";
import { addShared, effectsOf, noSharedEffect } from "../../../src/smart-router/learn/shared-effect.js";
import { signalDefaults } from "../../../src/smart-router/signals/settings.js";

const settings = signalDefaults.quality;
const residual = fc.double({ min: -1, max: 1, noNaN: true });
const samples = fc.array(fc.record({ unexplained: residual, weight: fc.double({ min: 0.1, max: 1, noNaN: true }), atMs: fc.nat(1e7) }), {
  minLength: 1,
  maxLength: 100,
});

function learned(all: readonly { readonly unexplained: number; readonly weight: number; readonly atMs: number }[]) {
  const effect = noSharedEffect();
  for (const { unexplained, weight, atMs } of all) addShared(effect, unexplained, weight, atMs, settings);
  return effect;
}

test("levels of which nothing is remembered have no effect", () => {
  expect(effectsOf(undefined, undefined, settings)).toEqual({ typeEffect: 0, classEffect: 0 });
  expect(effectsOf(noSharedEffect(), noSharedEffect(), settings)).toEqual({ typeEffect: 0, classEffect: 0 });
});

test("an effect lies between none and the extremes of its samples", () => {
  fc.assert(
    fc.property(samples, samples, (ofClass, ofType) => {
      const { typeEffect, classEffect } = effectsOf(learned(ofClass), learned(ofType), settings);
      const all = [...ofClass, ...ofType].map(({ unexplained }) => unexplained);
      for (const effect of [typeEffect, classEffect]) {
        expect(effect).toBeGreaterThanOrEqual(Math.min(0, ...all) - 1e-12);
        expect(effect).toBeLessThanOrEqual(Math.max(0, ...all) + 1e-12);
      }
    }),
  );
});

test("a class that is known well has its own effect, and one that is new that of its type", () => {
  const hard = learned(Array.from({ length: 2_000 }, () => ({ unexplained: -0.3, weight: 1, atMs: 0 })));
  const easy = learned(Array.from({ length: 2_000 }, () => ({ unexplained: 0.2, weight: 1, atMs: 0 })));
  const { typeEffect, classEffect } = effectsOf(easy, hard, settings);
  expect(typeEffect).toBeCloseTo(-0.3, 2);
  expect(classEffect).toBeGreaterThan(0.1);
  expect(effectsOf(undefined, hard, settings).classEffect).toBe(typeEffect);
});

test("no more than a bounded number of the newest samples stands behind an effect", () => {
  fc.assert(
    fc.property(samples, (all) => {
      const { count } = learned(all);
      expect(count).toBeLessThanOrEqual(settings.sharedMemorySamples);
    }),
  );
  const turned = learned(
    Array.from({ length: 8_000 }, (_, index) => ({ unexplained: index < 4_000 ? -0.4 : 0.4, weight: 1, atMs: index })),
  );
  expect(effectsOf(undefined, turned, settings).typeEffect).toBeGreaterThan(0.35);
});

test("what other coordinators tell counts as if it had been learned here", () => {
  fc.assert(
    fc.property(samples, samples, (here, there) => {
      const [own, told] = [learned(here), learned(there)];
      const both = { ...own, othersSum: told.sum, othersCount: told.count };
      const one = { ...noSharedEffect(), sum: own.sum + told.sum, count: own.count + told.count };
      expect(effectsOf(both, both, settings).classEffect).toBeCloseTo(effectsOf(one, one, settings).classEffect, 12);
      expect(effectsOf(both, both, settings).typeEffect).toBeCloseTo(effectsOf(one, one, settings).typeEffect, 12);
    }),
  );
});
