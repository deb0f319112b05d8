/** Buckets, and by what each is wider than the one before: 1 ms to 1.15^95, which is 9.7 minutes, at 15 % resolution. */
export const bucketCount = 96;
const ratio = 1.15;
const lnRatio = Math.log(ratio);

/**
 * Weights by latency, as sums from above: element b is the weight of all latencies in bucket b or higher, element 0 that of all. Reading a tail is one look.
 * Bucket 0 holds [0, 1) ms, bucket b holds [1.15^(b−1), 1.15^b), the last one everything above.
 */
export type LogHistogram = Float64Array;

export function emptyHistogram(): LogHistogram {
  return new Float64Array(bucketCount);
}

export function bucketOf(latencyMs: number): number {
  if (!(latencyMs >= 1)) return 0;
  return Math.min(bucketCount - 1, 1 + Math.floor(Math.log(latencyMs) / lnRatio));
}

const edges = Float64Array.from({ length: bucketCount + 1 }, (_, bucket) => (bucket === 0 ? 0 : ratio ** (bucket - 1)));

/** Lower edge of a bucket; that of `bucketCount` is where the last one is taken to end. Unit: ms. */
export function edgeOf(bucket: number): number {
  return edges[bucket] ?? Number.POSITIVE_INFINITY;
}

export function addToHistogram(histogram: LogHistogram, latencyMs: number, weight: number): void {
  addToBucket(histogram, bucketOf(latencyMs), weight);
}

/** The same for a latency of which the bucket is known: one latency goes to a dozen histograms. */
export function addToBucket(histogram: LogHistogram, ofLatency: number, weight: number): void {
  for (let bucket = ofLatency; bucket >= 0; bucket -= 1) histogram[bucket] = (histogram[bucket] ?? 0) + weight;
}

export function scaleHistogram(histogram: LogHistogram, factor: number): void {
  for (let bucket = 0; bucket < bucketCount; bucket += 1) histogram[bucket] = (histogram[bucket] ?? 0) * factor;
}

/** Weight of all. */
export function totalOf(histogram: LogHistogram): number {
  return histogram[0] ?? 0;
}

/** A latency as a place in a histogram: its bucket, and the share of the bucket below it. Computed once for many histograms. */
export type Threshold = { bucket: number; share: number };

/** Writes where `latencyMs` lies to `into`. The last bucket is open: all of it counts as above. */
export function placeThreshold(latencyMs: number, into: Threshold): void {
  const bucket = bucketOf(latencyMs);
  const low = edgeOf(bucket);
  into.bucket = bucket;
  into.share = bucket === bucketCount - 1 ? 0 : Math.min(1, Math.max(0, (latencyMs - low) / (edgeOf(bucket + 1) - low)));
}

/** Weight above a threshold; inside of a bucket it is spread evenly. */
export function weightAbove(histogram: LogHistogram, threshold: Threshold): number {
  const from = histogram[threshold.bucket] ?? 0;
  const above = histogram[threshold.bucket + 1] ?? 0;
  return above + (from - above) * (1 - threshold.share);
}

/** The latency that a share of `quantile` of the weight is below, even inside of a bucket; undefined when empty. Unit: ms, > 0. */
export function quantileOf(histogram: LogHistogram, quantile: number): number | undefined {
  const total = totalOf(histogram);
  if (!(total > 0)) return undefined;
  const wanted = total * (1 - quantile);
  let low = 0;
  let high = bucketCount - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if ((histogram[middle] ?? 0) > wanted) low = middle;
    else high = middle - 1;
  }
  const from = histogram[low] ?? 0;
  const above = low === bucketCount - 1 ? 0 : (histogram[low + 1] ?? 0);
  const share = from > above ? Math.min(1, Math.max(0, (from - wanted) / (from - above))) : 1;
  return Math.max(latencyMinMs, edgeOf(low) + (edgeOf(low + 1) - edgeOf(low)) * share);
}

/** No latency is taken for shorter: whole milliseconds are the finest that many clients report, and 0 would divide. */
export const latencyMinMs = 0.1;
