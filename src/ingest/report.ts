import type { NewEvent, Outcome } from "../interaction/event.js";
import type { Clock } from "../platform/clock.js";
import { limits } from "../platform/limits.js";
import type { Accepted, Refused } from "./accept.js";
import { flowOf } from "./fair-queue.js";
import type { Ingest } from "./ingest.js";
import { createVerdict, judge, type Verdict } from "./verdict.js";

/** How long a unary caller waits. */
export type Patience = {
  /** Aborts when the caller is gone. */
  readonly signal: AbortSignal;
  /** Milliseconds left until the caller's deadline; undefined without one. */
  readonly timeoutMs: number | undefined;
};

/**
 * Commits a judged batch for a caller that waits for one answer: one verdict per event, in order.
 * Without room for all of them nothing is offered and every accepted event is OVERLOADED. What is not settled in time is UNAVAILABLE: it may still be stored, and
 * sending it again is a DUPLICATE then.     Bound: `limits.reportDeadlineMs`, or nine tenths of the caller's deadline if that is shorter.
 */
export async function reportOnce(
  ingest: Ingest,
  clock: Clock,
  judged: readonly (Accepted | Refused)[],
  patience: Patience,
): Promise<readonly Verdict[]> {
  const verdicts: (Verdict | undefined)[] = judged.map((one) => (one.kind === "refused" ? one.verdict : undefined));
  const accepted = judged.flatMap((one, i) => (one.kind === "accepted" ? [{ event: one.event, i }] : []));
  if (accepted.length > 0) {
    const { queue } = ingest;
    const hasRoom = queue.hasRoom || accepted.every(({ event }) => queue.hasRoomFor(flowOf("mcp", event.mcpId)));
    if (hasRoom) await settleAll(ingest, clock, accepted, verdicts, patience);
    const status = hasRoom ? "unavailable" : "overloaded";
    for (const { event, i } of accepted) {
      if (verdicts[i] !== undefined) continue;
      const verdict = createVerdict(event, status, { retryAfterMs: limits.storeBackoff.maxMs });
      ingest.countRefused(verdict, event.source);
      verdicts[i] = verdict;
    }
  }
  return verdicts.flatMap((verdict) => (verdict === undefined ? [] : [verdict]));
}

type Place = { readonly event: NewEvent; readonly i: number };

/** Resolves when every event is settled, the time is up, or the caller is gone. */
function settleAll(
  ingest: Ingest,
  clock: Clock,
  accepted: readonly Place[],
  verdicts: (Verdict | undefined)[],
  patience: Patience,
): Promise<void> {
  return new Promise((resolve) => {
    let left = accepted.length;
    const done = () => {
      cancelTimer();
      patience.signal.removeEventListener("abort", done);
      resolve();
    };
    const waitMs = Math.min(limits.reportDeadlineMs, (patience.timeoutMs ?? Number.POSITIVE_INFINITY) * 0.9);
    const cancelTimer = clock.after(waitMs, done);
    patience.signal.addEventListener("abort", done, { once: true });
    const receivedAtMs = clock.monotonicMs();
    for (const { event, i } of accepted) {
      const settled = (_: NewEvent, outcome: Outcome) => {
        verdicts[i] = judge(event, outcome);
        left -= 1;
        if (left === 0) done();
      };
      const laneKey = event.producerId === "" ? event.interactionId : event.producerId;
      const place = ingest.queue.placeOf(laneKey, flowOf("mcp", event.mcpId));
      ingest.queue.offer(place, { event, origin: { settled, flushed: () => {} }, receivedAtMs });
    }
  });
}
