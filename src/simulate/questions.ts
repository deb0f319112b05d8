import { type Rng, seededRng } from "../platform/rng.js";
import { plainRequest } from "../smart-router/request.js";
import type { Arrival, Arrivals } from "./arrivals.js";
import { exponential, seedFor } from "./draws.js";

/** Which of the two kinds of MCP: the weak and cheap one, or the strong and dear one. */
export type Arm = "weak" | "strong";

/** A question, and who answers it rightly. The same for every policy: what an arm answers does not depend on chance. */
export type Question = { readonly topic: string; readonly chars: number; readonly weak: boolean; readonly strong: boolean };

/** What a generator knows of a topic: how many questions, how many of them each arm answers rightly, how many both do, and their mean length. */
export type TopicCounts = {
  readonly topic: string;
  readonly questions: number;
  readonly weak: number;
  readonly strong: number;
  readonly both: number;
  readonly chars: number;
};

/**
 * Questions whose counts are those of `topics`, exactly: who answers which is dealt out by `seed`. Lengths are exponential around the mean.
 * Shape: in the order of topics.
 */
export function generateQuestions(topics: readonly TopicCounts[], seed: number): readonly Question[] {
  const rng = seededRng(seed);
  return topics.flatMap(({ topic, questions, weak, strong, both, chars }) => {
    const kinds = Array.from({ length: questions }, (_, index) => {
      if (index < both) return { weak: true, strong: true };
      if (index < weak) return { weak: true, strong: false };
      return { weak: false, strong: index < weak + strong - both };
    });
    return shuffled(kinds, rng).map((kind) => ({ topic, chars: Math.max(20, Math.round(exponential(rng, chars))), ...kind }));
  });
}

/** `items` in an order that `rng` deals.     Source: Fisher and Yates. */
export function shuffled<T>(items: readonly T[], rng: Rng): readonly T[] {
  const order = items.map((item) => ({ item, at: rng() }));
  return order.sort((a, b) => a.at - b.at).map(({ item }) => item);
}

/**
 * `count` questions at Poisson times, each a request whose type is its topic and whose size is its length. The whole pool comes in an order of the seed, then again in another
 * order. `item` is the position in `pool`.     Units: `workMs` of each.
 */
export function questionArrivals(pool: readonly Question[], count: number, perSecond: number, workMs: (rng: Rng) => number): Arrivals {
  return function* arrive(seed: number): Generator<Arrival> {
    const gapRng = seededRng(seedFor(seed, "gaps"));
    const orderRng = seededRng(seedFor(seed, "questions"));
    const workRng = seededRng(seedFor(seed, "work"));
    const positions = pool.map((_, position) => position);
    let order: readonly number[] = [];
    let atMs = 0;
    for (let index = 0; index < count; index += 1) {
      if (index % pool.length === 0) order = shuffled(positions, orderRng);
      const item = order[index % pool.length] ?? 0;
      const { topic, chars } = pool[item] ?? { topic: "", chars: 0 };
      atMs += exponential(gapRng, 1_000 / perSecond);
      yield { atMs, workMs: workMs(workRng), request: { ...plainRequest, requestType: topic, inputBytes: chars }, domain: topic, item };
    }
  };
}

/** Share of the pool's questions, and how often each arm is right, by topic. */
export type TopicRates = { readonly share: number; readonly weak: number; readonly strong: number };

export function ratesByTopic(pool: readonly Question[]): ReadonlyMap<string, TopicRates> {
  const counts = new Map<string, { all: number; weak: number; strong: number }>();
  for (const { topic, weak, strong } of pool) {
    const own = counts.get(topic) ?? { all: 0, weak: 0, strong: 0 };
    own.all += 1;
    own.weak += weak ? 1 : 0;
    own.strong += strong ? 1 : 0;
    counts.set(topic, own);
  }
  return new Map(
    [...counts].map(([topic, { all, weak, strong }]) => [topic, { share: all / pool.length, weak: weak / all, strong: strong / all }]),
  );
}

/** Accuracy when every question has the same chance of the strong arm. */
export function randomMix(rates: ReadonlyMap<string, TopicRates>, strongShare: number): number {
  let accuracy = 0;
  for (const { share, weak, strong } of rates.values()) accuracy += share * (weak + strongShare * (strong - weak));
  return accuracy;
}

/** Accuracy when the topics in which the strong arm helps most go to it, as many as make up its share: the most that knowing the topic alone can give. */
export function bestMix(rates: ReadonlyMap<string, TopicRates>, strongShare: number): number {
  const byGain = [...rates.values()].sort((a, b) => b.strong - b.weak - (a.strong - a.weak));
  let left = strongShare;
  let accuracy = 0;
  for (const { share, weak, strong } of byGain) {
    const taken = Math.min(share, left);
    left -= taken;
    accuracy += share * weak + taken * (strong - weak);
  }
  return accuracy;
}
