/** Latencies in buckets of 1 % width from 1 µs to some two hours: constant memory, quantiles within 1 %. Units: ms. */
export type Latencies = {
  readonly record: (ms: number) => void;
  /** Adds everything that `other` holds. */
  readonly add: (other: Latencies) => void;
  /** The smallest latency that `share` of all do not exceed; `share` in (0, 1]. 0 when nothing was recorded. */
  readonly quantile: (share: number) => number;
  readonly max: () => number;
  readonly count: () => number;
  /** Counts by bucket, for `add`. */
  readonly buckets: Uint32Array;
};

const growth = Math.log(1.01);
const lowestMs = 0.001;
const bucketCount = 2_300;

export function createLatencies(): Latencies {
  const buckets = new Uint32Array(bucketCount);
  let count = 0;
  let max = 0;
  return {
    buckets,
    record: (ms) => {
      const index = ms <= lowestMs ? 0 : Math.min(bucketCount - 1, Math.ceil(Math.log(ms / lowestMs) / growth));
      buckets[index] = (buckets[index] ?? 0) + 1;
      count++;
      if (ms > max) max = ms;
    },
    add: (other) => {
      for (let index = 0; index < bucketCount; index++) buckets[index] = (buckets[index] ?? 0) + (other.buckets[index] ?? 0);
      count += other.count();
      max = Math.max(max, other.max());
    },
    quantile: (share) => {
      let left = Math.ceil(share * count);
      for (let index = 0; index < bucketCount && left > 0; index++) {
        left -= buckets[index] ?? 0;
        if (left <= 0) return Math.min(max, lowestMs * Math.exp(index * growth));
      }
      return max;
    },
    max: () => max,
    count: () => count,
  };
}
