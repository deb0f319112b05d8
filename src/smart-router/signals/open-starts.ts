/** When the open requests of one MCP in one class began, ascending. Mutable: one entry per request in flight. Unit: monotonic ms. */
export type OpenStarts = number[];

/** Most open requests of one MCP and class that are told apart: beyond, its median age is known well enough. */
const openStartsMax = 1_024;

/** Where `startedAtMs` belongs: the first place whose entry is greater. */
function placeOf(starts: OpenStarts, startedAtMs: number): number {
  let low = 0;
  let high = starts.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((starts[middle] ?? 0) <= startedAtMs) low = middle + 1;
    else high = middle;
  }
  return low;
}

export function addStart(starts: OpenStarts, startedAtMs: number): void {
  if (starts.length >= openStartsMax) return;
  const last = starts.at(-1);
  if (last === undefined || last <= startedAtMs) starts.push(startedAtMs);
  else starts.splice(placeOf(starts, startedAtMs), 0, startedAtMs);
}

/** Harmless when it is not there. */
export function removeStart(starts: OpenStarts, startedAtMs: number): void {
  const place = placeOf(starts, startedAtMs) - 1;
  if (place >= 0 && starts[place] === startedAtMs) starts.splice(place, 1);
}

/** Median age of what is open; 0 when nothing is, or when time went backwards. Unit: ms. */
export function medianAge(starts: OpenStarts, nowMs: number): number {
  const count = starts.length;
  if (count === 0) return 0;
  const upper = starts[count >> 1] ?? 0;
  const start = count % 2 === 1 ? upper : (upper + (starts[(count >> 1) - 1] ?? 0)) / 2;
  return Math.max(0, nowMs - start);
}

/** How many are open for longer than `ageMs`. */
export function openLonger(starts: OpenStarts, ageMs: number, nowMs: number): number {
  const first = starts[0];
  if (first === undefined || nowMs - first <= ageMs) return 0;
  const before = nowMs - ageMs;
  let place = placeOf(starts, before);
  while (place > 0 && (starts[place - 1] ?? 0) >= before) place -= 1;
  return place;
}
