import { seededRng } from "../platform/rng.js";
import { exponential, normal } from "./draws.js";
import { type Question, shuffled } from "./questions.js";

/** What is known of a data set that two arms have answered: counts of questions. */
export type TwoArmCounts = {
  readonly name: string;
  readonly questions: number;
  /** Answered rightly by the weak arm, by the strong one, and by at least one of them. */
  readonly weak: number;
  readonly strong: number;
  readonly either: number;
  /** Mean length. */
  readonly chars: number;
};

/** What callers know of a question before it is answered. */
export type Hint = {
  /** How far the mean of the hint is higher where only the strong arm is right, in its standard deviations. Two questions are put in the right order with probability Φ(this / √2). */
  readonly separation: number;
  /** Equally filled request types that the hint is told in; 1 tells nothing. */
  readonly bands: number;
};

/** The test questions of grade school mathematics: 63.8 % and 85.7 % right, 92.9 % by either.     Source of the shares: router.md 3.2. */
export const gsm8k: TwoArmCounts = { name: "gsm8k", questions: 1_319, weak: 842, strong: 1_130, either: 1_225, chars: 240 };

/** 51.8 % and 69.1 % right, 74.2 % by either.     Source of the shares: router.md 3.2. */
export const routerArena: TwoArmCounts = { name: "router-arena", questions: 8_400, weak: 4_351, strong: 5_804, either: 6_233, chars: 600 };

/**
 * Questions whose counts are those of `counts`, exactly; the topic is the band of the hint, "name/3", or the name alone where there is one band. Lengths are exponential
 * and tell nothing. Deterministic in `seed`.     Shape: in an order that `seed` deals.
 */
export function generateHinted(
  { name, questions, weak, strong, either, chars }: TwoArmCounts,
  hint: Hint,
  seed: number,
): readonly Question[] {
  const rng = seededRng(seed);
  const onlyStrong = either - weak;
  const onlyWeak = either - strong;
  const both = weak - onlyWeak;
  const hinted = Array.from({ length: questions }, (_, index) => {
    const kind = {
      weak: index < both + onlyWeak,
      strong: index < both || (index >= both + onlyWeak && index < both + onlyWeak + onlyStrong),
    };
    const isWorthIt = kind.strong && !kind.weak;
    return { ...kind, hint: normal(rng) + (isWorthIt ? hint.separation : 0), chars: Math.max(20, Math.round(exponential(rng, chars))) };
  });
  const inOrder = hinted.sort((a, b) => a.hint - b.hint);
  const told = inOrder.map(({ weak: byWeak, strong: byStrong, chars: length }, rank) => ({
    topic: hint.bands === 1 ? name : `${name}/${Math.floor((rank * hint.bands) / questions)}`,
    chars: length,
    weak: byWeak,
    strong: byStrong,
  }));
  return shuffled(told, rng);
}
