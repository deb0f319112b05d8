/** Completions that are remembered one by one, per MCP and class. */
export const completionsKept = 64;

/** The newest completions of one MCP in one class, and the mean that follows peaks. Mutable: written once per end. */
export type Completions = {
  readonly latencyMs: Float64Array;
  readonly inFlight: Float64Array;
  readonly atMs: Float64Array;
  /** How many were ever added; the ring holds the last `completionsKept`. */
  added: number;
  peakMs: number;
  /** Requests in flight to which `peakMs` belongs. */
  peakInFlight: number;
  peakAtMs: number;
  /** The last answer of `nearMedian`, for which load it holds and from when until when. */
  memoInFlight: number;
  memoFromMs: number;
  memoUntilMs: number;
  memoMedian: number;
  /** The last answer of `lateOfNewest`, and for which deadlines and times it holds. */
  readonly memoLate: Late;
};

/** Of the newest completions: how many there are, and how many took longer than a deadline. */
type Late = {
  late: number;
  count: number;
  /** Holds for deadlines from `deadlineFromMs` to below `deadlineBelowMs`, and for those that count since a time from `sinceFromMs` to `sinceUntilMs`. */
  deadlineFromMs: number;
  deadlineBelowMs: number;
  sinceFromMs: number;
  sinceUntilMs: number;
};

export function noCompletions(): Completions {
  return {
    latencyMs: new Float64Array(completionsKept),
    inFlight: new Float64Array(completionsKept),
    atMs: new Float64Array(completionsKept),
    added: 0,
    peakMs: 0,
    peakInFlight: 0,
    peakAtMs: 0,
    memoInFlight: Number.NaN,
    memoFromMs: 0,
    memoUntilMs: 0,
    memoMedian: Number.NaN,
    memoLate: {
      late: 0,
      count: 0,
      deadlineFromMs: Number.NaN,
      deadlineBelowMs: Number.NaN,
      sinceFromMs: Number.NaN,
      sinceUntilMs: Number.NaN,
    },
  };
}

/** Forgets all but what `peakAt` says. */
export function clearCompletions(completions: Completions): void {
  completions.added = 0;
  forgetMemos(completions);
}

function forgetMemos(completions: Completions): void {
  completions.memoInFlight = Number.NaN;
  completions.memoLate.deadlineBelowMs = Number.NaN;
}

export function addCompletion(completions: Completions, latencyMs: number, inFlight: number, atMs: number, peakDecayMs: number): void {
  const slot = completions.added % completionsKept;
  completions.latencyMs[slot] = latencyMs;
  completions.inFlight[slot] = inFlight;
  completions.atMs[slot] = atMs;
  if (completions.added === 0 || latencyMs >= completions.peakMs) {
    completions.peakMs = latencyMs;
    completions.peakInFlight = inFlight;
  } else {
    const kept = Math.exp(-Math.max(0, atMs - completions.peakAtMs) / peakDecayMs);
    completions.peakMs = completions.peakMs * kept + latencyMs * (1 - kept);
    completions.peakInFlight = completions.peakInFlight * kept + inFlight * (1 - kept);
  }
  completions.peakAtMs = completions.added === 0 ? atMs : Math.max(completions.peakAtMs, atMs);
  completions.added += 1;
  forgetMemos(completions);
}

/** The peak-following mean, brought to another number in flight. Unit: ms.     Source: Finagle, PeakEwma. */
export function peakAt(completions: Completions, inFlight: number): number {
  return (completions.peakMs * (inFlight + 1)) / (completions.peakInFlight + 1);
}

const distances = new Float64Array(completionsKept);
const picked = new Float64Array(completionsKept);
const latencies = new Float64Array(completionsKept);

/**
 * Median latency of the `count` completions nearest to `inFlight` among those younger than `maxAgeMs`; of equally near ones the newer, then the slower, so
 * that the order of arrival decides nothing. NaN when fewer than `min` are young enough. Remembered until something changes or grows too old.
 */
export function nearMedian(
  completions: Completions,
  inFlight: number,
  nowMs: number,
  rule: { readonly nearCount: number; readonly nearMaxAgeMs: number; readonly samplesMin: number },
): number {
  if (inFlight === completions.memoInFlight && nowMs >= completions.memoFromMs && nowMs < completions.memoUntilMs)
    return completions.memoMedian;
  const kept = Math.min(completions.added, completionsKept);
  let young = 0;
  let taken = 0;
  let untilMs = Number.POSITIVE_INFINITY;
  // The newest first: of equally near ones they stay, and those after them need not be moved.
  for (let back = 1; back <= kept; back += 1) {
    const slot = (completions.added - back) % completionsKept;
    const expiresAtMs = (completions.atMs[slot] ?? 0) + rule.nearMaxAgeMs;
    if (expiresAtMs <= nowMs) continue;
    young += 1;
    if (expiresAtMs < untilMs) untilMs = expiresAtMs;
    taken = take(completions, slot, Math.abs((completions.inFlight[slot] ?? 0) - inFlight), taken, rule.nearCount);
  }
  completions.memoInFlight = inFlight;
  completions.memoFromMs = nowMs;
  completions.memoUntilMs = untilMs;
  completions.memoMedian = young < rule.samplesMin ? Number.NaN : medianOfPicked(completions, taken);
  return completions.memoMedian;
}

/** Keeps the nearest `count` slots in `picked`, nearest first. Returns how many there are. */
function take(completions: Completions, slot: number, distance: number, taken: number, count: number): number {
  let place = taken;
  while (place > 0 && isNearer(completions, slot, distance, place - 1)) place -= 1;
  if (place >= count) return taken;
  for (let move = Math.min(taken, count - 1); move > place; move -= 1) {
    picked[move] = picked[move - 1] ?? 0;
    distances[move] = distances[move - 1] ?? 0;
  }
  picked[place] = slot;
  distances[place] = distance;
  return Math.min(count, taken + 1);
}

function isNearer(completions: Completions, slot: number, distance: number, place: number): boolean {
  const other = distances[place] ?? 0;
  if (distance !== other) return distance < other;
  const otherSlot = picked[place] ?? 0;
  const atMs = completions.atMs[slot] ?? 0;
  const otherAtMs = completions.atMs[otherSlot] ?? 0;
  if (atMs !== otherAtMs) return atMs > otherAtMs;
  return (completions.latencyMs[slot] ?? 0) > (completions.latencyMs[otherSlot] ?? 0);
}

function medianOfPicked(completions: Completions, taken: number): number {
  for (let index = 0; index < taken; index += 1) {
    const latency = completions.latencyMs[picked[index] ?? 0] ?? 0;
    let place = index;
    while (place > 0 && (latencies[place - 1] ?? 0) > latency) {
      latencies[place] = latencies[place - 1] ?? 0;
      place -= 1;
    }
    latencies[place] = latency;
  }
  const middle = taken >> 1;
  const upper = latencies[middle] ?? 0;
  return taken % 2 === 1 ? upper : (upper + (latencies[middle - 1] ?? 0)) / 2;
}

/**
 * Of the newest `countMax` completions since `sinceMs`: how many there are, and how many took longer than `deadlineMs`. Remembered while neither moves past one of them, for one
 * `countMax`: a deadline that follows the fleet moves a little with every end, and seldom past a latency. Overwritten by the next call.
 */
export function lateOfNewest(
  completions: Completions,
  deadlineMs: number,
  countMax: number,
  sinceMs: number,
): { readonly late: number; readonly count: number } {
  const memo = completions.memoLate;
  const isSameDeadline = deadlineMs >= memo.deadlineFromMs && deadlineMs < memo.deadlineBelowMs;
  if (isSameDeadline && sinceMs >= memo.sinceFromMs && sinceMs <= memo.sinceUntilMs) return memo;
  let late = 0;
  let count = 0;
  let inTimeMaxMs = Number.NEGATIVE_INFINITY;
  let lateMinMs = Number.POSITIVE_INFINITY;
  let oldestMs = Number.POSITIVE_INFINITY;
  const kept = Math.min(completions.added, completionsKept, countMax);
  for (let back = 1; back <= kept; back += 1) {
    const slot = (completions.added - back) % completionsKept;
    const atMs = completions.atMs[slot] ?? 0;
    if (atMs < sinceMs) continue;
    const latencyMs = completions.latencyMs[slot] ?? 0;
    count += 1;
    if (atMs < oldestMs) oldestMs = atMs;
    if (latencyMs > deadlineMs) {
      late += 1;
      if (latencyMs < lateMinMs) lateMinMs = latencyMs;
    } else if (latencyMs > inTimeMaxMs) inTimeMaxMs = latencyMs;
  }
  memo.late = late;
  memo.count = count;
  memo.deadlineFromMs = inTimeMaxMs;
  memo.deadlineBelowMs = lateMinMs;
  memo.sinceFromMs = sinceMs;
  memo.sinceUntilMs = oldestMs;
  return memo;
}
