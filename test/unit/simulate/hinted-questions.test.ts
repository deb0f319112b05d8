import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { generateHinted, gsm8k, routerArena } from "../../../src/simulate/hinted-questions.js";
import { bestMix, type Question, randomMix, ratesByTopic } from "../../../src/simulate/questions.js";

const share = (of: readonly Question[], holds: (question: Question) => boolean): number => of.filter(holds).length / of.length;

describe("questions with a hint", () => {
  test.each([
    [gsm8k, 0.638, 0.857, 0.929],
    [routerArena, 0.518, 0.691, 0.742],
  ])("have the published shares: $name", (counts, weak, strong, either) => {
    const pool = generateHinted(counts, { separation: 1, bands: 10 }, 7);
    expect(pool.length).toBe(counts.questions);
    expect(share(pool, (question) => question.weak)).toBeCloseTo(weak, 3);
    expect(share(pool, (question) => question.strong)).toBeCloseTo(strong, 3);
    expect(share(pool, (question) => question.weak || question.strong)).toBeCloseTo(either, 3);
  });

  test("keep every count, whatever the seed and the hint, and are the same for the same seed", () => {
    const count = fc.nat(30);
    fc.assert(
      fc.property(
        fc.integer(),
        fc.nat(2),
        fc.integer({ min: 1, max: 5 }),
        count,
        count,
        count,
        count,
        (seed, separation, bands, both, byWeak, byStrong, none) => {
          const questions = both + byWeak + byStrong + none;
          fc.pre(questions >= bands);
          const counts = { name: "t", questions, weak: both + byWeak, strong: both + byStrong, either: questions - none, chars: 100 };
          const pool = generateHinted(counts, { separation, bands }, seed);
          expect(pool.filter(({ weak, strong }) => weak && strong).length).toBe(both);
          expect(pool.filter(({ weak, strong }) => weak && !strong).length).toBe(byWeak);
          expect(pool.filter(({ weak, strong }) => !weak && strong).length).toBe(byStrong);
          expect(new Set(pool.map(({ topic }) => topic)).size).toBe(bands);
          expect(generateHinted(counts, { separation, bands }, seed)).toEqual(pool);
        },
      ),
    );
  });

  test("without a hint nobody can be better than chance, with one knowing the bands is enough to lose nothing at 80 % of the cost", () => {
    const blind = ratesByTopic(generateHinted(gsm8k, { separation: 0, bands: 1 }, 7));
    expect(bestMix(blind, 0.79)).toBeCloseTo(randomMix(blind, 0.79), 9);
    const told = ratesByTopic(generateHinted(gsm8k, { separation: 1, bands: 10 }, 7));
    expect(bestMix(told, 1) - bestMix(told, 0.79)).toBeLessThan(0.005);
  });
});
