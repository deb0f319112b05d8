import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { mmluQuestions, mmluTopics } from "../../../src/simulate/mmlu.js";
import { bestMix, generateQuestions, type Question, questionArrivals, randomMix, ratesByTopic } from "../../../src/simulate/questions.js";

const pool = mmluQuestions({ text: () => undefined });
const share = (of: readonly Question[], holds: (question: Question) => boolean): number => of.filter(holds).length / of.length;

describe("the questions of MMLU", () => {
  test("without the file have the statistics of the file: 14 042 in 57 topics, 68.1 and 80.6 % right, 85.9 % by either", () => {
    expect(pool.length).toBe(14_042);
    expect(mmluTopics.length).toBe(57);
    expect(share(pool, ({ weak }) => weak)).toBeCloseTo(0.6808, 4);
    expect(share(pool, ({ strong }) => strong)).toBeCloseTo(0.8058, 4);
    expect(share(pool, ({ weak, strong }) => weak || strong)).toBeCloseTo(0.8586, 4);
  });

  test.each([
    [0.25, 0.712, 0.743],
    [0.5, 0.743, 0.778],
    [0.75, 0.775, 0.801],
  ])("with %d of strong answers, chance gives %d and the best topics %d", (strongShare, chance, best) => {
    expect(randomMix(ratesByTopic(pool), strongShare)).toBeCloseTo(chance, 3);
    expect(bestMix(ratesByTopic(pool), strongShare)).toBeCloseTo(best, 3);
  });

  test("are read from the file where there is one", () => {
    const text = "domain,prompt_chars,weak_correct,strong_correct\nanatomy,111,1,0\nvirology,96,0,1\n";
    expect(mmluQuestions({ text: () => text })).toEqual([
      { topic: "anatomy", chars: 111, weak: true, strong: false },
      { topic: "virology", chars: 96, weak: false, strong: true },
    ]);
  });
});

describe("generateQuestions", () => {
  test("keeps every count, whatever the seed", () => {
    fc.assert(
      fc.property(fc.integer(), fc.nat(20), fc.nat(20), fc.nat(20), fc.nat(20), (seed, both, onlyWeak, onlyStrong, neither) => {
        const questions = both + onlyWeak + onlyStrong + neither;
        const topic = { topic: "t", questions, weak: both + onlyWeak, strong: both + onlyStrong, both, chars: 100 };
        const dealt = generateQuestions([topic], seed);
        expect(dealt.length).toBe(questions);
        expect(dealt.filter(({ weak, strong }) => weak && strong).length).toBe(both);
        expect(dealt.filter(({ weak, strong }) => weak && !strong).length).toBe(onlyWeak);
        expect(dealt.filter(({ weak, strong }) => !weak && strong).length).toBe(onlyStrong);
      }),
    );
  });
});

describe("bestMix", () => {
  test("is never worse than chance, and the same with none or all", () => {
    const topic = fc.record({
      share: fc.double({ min: 0.01, max: 1, noNaN: true }),
      weak: fc.double({ min: 0, max: 1, noNaN: true }),
      strong: fc.double({ min: 0, max: 1, noNaN: true }),
    });
    fc.assert(
      fc.property(fc.array(topic, { minLength: 1, maxLength: 20 }), fc.double({ min: 0, max: 1, noNaN: true }), (topics, strongShare) => {
        const total = topics.reduce((sum, each) => sum + each.share, 0);
        const rates = new Map(topics.map((each, index) => [String(index), { ...each, share: each.share / total }]));
        expect(bestMix(rates, strongShare)).toBeGreaterThanOrEqual(randomMix(rates, strongShare) - 1e-9);
        for (const extreme of [0, 1]) expect(bestMix(rates, extreme)).toBeCloseTo(randomMix(rates, extreme), 9);
      }),
    );
  });
});

describe("questionArrivals", () => {
  test("brings the whole pool before it begins again, in another order for another seed, ascending by time", () => {
    const small = pool.slice(0, 50);
    const arrivals = questionArrivals(small, 75, 10, () => 100);
    const first = [...arrivals(1)];
    expect(new Set(first.slice(0, 50).map(({ item }) => item)).size).toBe(50);
    expect(first.length).toBe(75);
    expect(first.every((arrival, index) => index === 0 || arrival.atMs >= (first[index - 1]?.atMs ?? 0))).toBe(true);
    expect([...arrivals(1)]).toEqual(first);
    expect([...arrivals(2)].map(({ item }) => item)).not.toEqual(first.map(({ item }) => item));
    expect(first[0]?.request).toMatchObject({
      requestType: small[first[0]?.item ?? 0]?.topic,
      inputBytes: small[first[0]?.item ?? 0]?.chars,
    });
  });
});
