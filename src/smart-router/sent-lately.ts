/** So much time is one count, and so much is remembered: longer than a word of another coordinator counts. */
const stepMs = 100;
const steps = 128;

/** How many requests were sent when, in steps of 100 ms, for the last 12 s. Mutable. */
export type SentLately = { readonly counts: Uint32Array; lastStep: number };

export function noneSent(): SentLately {
  return { counts: new Uint32Array(steps), lastStep: Number.NEGATIVE_INFINITY };
}

/** Adds a request. Times do not go back. */
export function addSent(sent: SentLately, atMs: number): void {
  const step = Math.floor(atMs / stepMs);
  const from = Math.max(sent.lastStep + 1, step - steps + 1);
  for (let between = from; between <= step; between += 1) sent.counts[placeOf(between)] = 0;
  sent.lastStep = Math.max(sent.lastStep, step);
  sent.counts[placeOf(step)] = (sent.counts[placeOf(step)] ?? 0) + 1;
}

/** How many were sent after `fromMs` and not after `toMs`, to within a step. */
export function sentBetween(sent: SentLately, fromMs: number, toMs: number): number {
  const last = Math.min(sent.lastStep, Math.floor(toMs / stepMs));
  let sum = 0;
  for (let step = Math.max(Math.floor(fromMs / stepMs) + 1, sent.lastStep - steps + 1); step <= last; step += 1)
    sum += sent.counts[placeOf(step)] ?? 0;
  return sum;
}

function placeOf(step: number): number {
  return ((step % steps) + steps) % steps;
}
