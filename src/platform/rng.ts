/** A source of randomness: uniform in [0, 1). */
export type Rng = () => number;

/** Randomness of the machine; not for secrets. */
export const systemRng: Rng = () => Math.random();

/**
 * The same numbers for the same seed, on every machine.
 * Source: mulberry32, Tommy Ettinger, public domain; period 2^32, enough for tests and simulated load.
 */
export function seededRng(seed: number): Rng {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}
