/**
 * What would be at `place` if the first `count` of `values`, none of which is NaN, were sorted ascending; 0 when there is no such place. Reorders them.
 * Cost: O(count) on average; sorting is several times as much.     Source: Hoare, "Algorithm 65: find", 1961.
 */
export function smallest(values: Float64Array, count: number, place: number): number {
  let low = 0;
  let high = count - 1;
  while (low < high) {
    const pivot = values[(low + high) >> 1] ?? 0;
    let left = low;
    let right = high;
    while (left <= right) {
      while ((values[left] ?? 0) < pivot) left += 1;
      while ((values[right] ?? 0) > pivot) right -= 1;
      if (left > right) break;
      const swapped = values[left] ?? 0;
      values[left] = values[right] ?? 0;
      values[right] = swapped;
      left += 1;
      right -= 1;
    }
    if (place <= right) high = right;
    else if (place >= left) low = left;
    else break;
  }
  return place >= 0 && place < count ? (values[place] ?? 0) : 0;
}
