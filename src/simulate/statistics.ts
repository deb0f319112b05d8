/** A mean over seeds with its 95 % interval. `halfWidth` is NaN for fewer than two seeds. */
export type Estimate = { readonly mean: number; readonly halfWidth: number; readonly count: number };

/**
 * The value below which a share of `q` of all values lies: linear between the two nearest ranks. NaN for none.
 * Shape: `sorted` ascending.     Source: Hyndman and Fan 1996, type 7.
 */
export function quantile(sorted: ArrayLike<number>, q: number): number {
  if (sorted.length === 0) return Number.NaN;
  const at = (sorted.length - 1) * q;
  const below = sorted[Math.floor(at)] ?? Number.NaN;
  const above = sorted[Math.ceil(at)] ?? Number.NaN;
  return below + (above - below) * (at - Math.floor(at));
}

/** Quantile of counted values: `seen` from value to how often. NaN for none. Nearest rank from above. */
export function quantileOfCounts(seen: ReadonlyMap<number, number>, q: number): number {
  const total = [...seen.values()].reduce((sum, count) => sum + count, 0);
  let below = 0;
  for (const [value, count] of [...seen].sort((a, b) => a[0] - b[0])) {
    below += count;
    if (below >= q * total) return value;
  }
  return Number.NaN;
}

/** Mean over seeds with Student's 95 % interval. */
export function estimate(values: readonly number[]): Estimate {
  const count = values.length;
  const mean = values.reduce((sum, value) => sum + value, 0) / count;
  if (count < 2) return { mean, halfWidth: Number.NaN, count };
  const variance = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (count - 1);
  return { mean, halfWidth: studentT95(count - 1) * Math.sqrt(variance / count), count };
}

/** Mean of the differences a − b, seed by seed: with common random numbers much narrower than the difference of two means. Shape: equally long. */
export function pairedDifference(a: readonly number[], b: readonly number[]): Estimate {
  return estimate(a.map((value, index) => value - (b[index] ?? Number.NaN)));
}

/** Fairness of shares: 1 when all are equal, 1/n when one has everything.     Source: Jain, Chiu and Hawe 1984. */
export function jainIndex(shares: readonly number[]): number {
  const sum = shares.reduce((total, share) => total + share, 0);
  const squares = shares.reduce((total, share) => total + share * share, 0);
  return squares === 0 ? 1 : (sum * sum) / (shares.length * squares);
}

/** Two-sided 95 % quantiles of Student's t for 1 to 30 degrees of freedom, then 1.96.     Source: any table of the distribution. */
const t95 = [
  12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.16, 2.145, 2.131, 2.12, 2.11, 2.101, 2.093, 2.086,
  2.08, 2.074, 2.069, 2.064, 2.06, 2.056, 2.052, 2.048, 2.045, 2.042,
];

/** How many standard errors a 95 % interval reaches to either side. */
export function studentT95(degreesOfFreedom: number): number {
  return t95[degreesOfFreedom - 1] ?? 1.96;
}
