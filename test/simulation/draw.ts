import type { Rng } from "../../src/platform/rng.js";
import { seededRng } from "../../src/platform/rng.js";

/** Every choice of one schedule, out of one seed. */
export class Draw {
  readonly rng: Rng;

  constructor(seed: number) {
    this.rng = seededRng(seed);
  }

  /** A whole number, 0 to `count` - 1. */
  below(count: number): number {
    return Math.floor(this.rng() * count);
  }

  /** A whole number, both ends included. */
  between(low: number, high: number): number {
    return low + this.below(high - low + 1);
  }

  chance(probability: number): boolean {
    return this.rng() < probability;
  }

  /** One of `items`, which must not be empty. */
  pick<T>(items: readonly T[]): T {
    const item = items[this.below(items.length)];
    if (item === undefined) throw new Error("nothing to pick from");
    return item;
  }

  /** A key, each as likely as its weight says; at least one weight is above zero. */
  weighted<K extends string>(weights: Readonly<Record<K, number>>): K {
    const entries = Object.entries(weights) as [K, number][]; // Object.entries forgets the key type
    let left = this.rng() * entries.reduce((sum, [, weight]) => sum + weight, 0);
    for (const [key, weight] of entries) {
      left -= weight;
      if (left < 0 && weight > 0) return key;
    }
    throw new Error("no weight is above zero");
  }

  /** Hex digits, for ids. */
  hex(length: number): string {
    let text = "";
    for (let i = 0; i < length; i += 1) text += this.below(16).toString(16);
    return text;
  }
}
