/** Weights are scaled to this; the sequence of picks repeats after so many generations. */
const top = 65_535;
/** Places the picks of equal weights apart from each other, so that they do not come in bursts. */
const offset = 32_767;

/** Where a schedule stands. */
export type StridePick = { readonly index: number; readonly next: number };

/**
 * Picks by weight without randomness: everyone is visited in turn, and skipped as often as its weight is below the greatest one. `sequence` counts visits.
 * Shape: at least one weight, all finite and ≥ 0; with none above 0, everyone is equal.     Cost: O(1) in the mean, O(n · max/mean) at worst.
 * Source: gRPC core, static_stride_scheduler; router.md anchors 1.1.
 */
export function pickByStride(weights: readonly number[], sequence: number): StridePick {
  const greatest = weights.reduce((a, b) => Math.max(a, b), 0);
  for (let at = sequence; ; at++) {
    const index = at % weights.length;
    if (greatest === 0) return { index, next: at + 1 };
    const generation = Math.floor(at / weights.length);
    // At least 1: nobody who has any weight at all is skipped for ever.
    const own = weights[index] ?? 0;
    const weight = own === 0 ? 0 : Math.max(1, Math.round((own / greatest) * top));
    const mod = (weight * generation + index * offset) % top;
    if (mod >= top - weight) return { index, next: at + 1 };
  }
}
