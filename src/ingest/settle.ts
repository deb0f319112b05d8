import type { NewEvent, Outcome } from "../interaction/event.js";
import { assert } from "../platform/assert.js";
import type { CommitTiming, Origin, Pending } from "./pending.js";
import { statusOf, type Verdict, type VerdictStatus } from "./verdict.js";

/** Counts of everything that was answered since the process started. */
export type Tally = {
  readonly counts: Readonly<Record<VerdictStatus, number>>;
  readonly deadLetters: number;
};

export type Settle = {
  /** Hands every outcome of a commit back to who brought the event, then tells the followers what is new in the store. */
  readonly settle: (items: readonly Pending[], outcomes: ReadonlyMap<Pending, Outcome>, timing: CommitTiming) => void;
  /** Counts a verdict that never reached the store. */
  readonly countRefused: (verdict: Verdict) => void;
  /** Calls `seen` with the events that each commit stored. `seen` must not throw. */
  readonly follow: (seen: (events: readonly NewEvent[]) => void) => void;
  readonly tally: () => Tally;
};

/** The stage after the commit. */
export function createSettle(): Settle {
  const counts = emptyCounts();
  let deadLetters = 0;
  const followers: ((events: readonly NewEvent[]) => void)[] = [];
  return {
    settle: (items, outcomes, timing) => {
      const stored: NewEvent[] = [];
      const origins = new Set<Origin>();
      for (const item of items) {
        const outcome = outcomes.get(item);
        assert(outcome !== undefined, "every item has an outcome");
        counts[statusOf(outcome)] += 1;
        if (outcome.kind === "stored") stored.push(item.event);
        if (outcome.kind === "poison") deadLetters += 1;
        item.origin.settled(item.event, outcome);
        origins.add(item.origin);
      }
      for (const origin of origins) origin.flushed(timing);
      if (stored.length > 0) for (const seen of followers) seen(stored);
    },
    countRefused: (verdict) => {
      counts[verdict.status] += 1;
    },
    follow: (seen) => {
      followers.push(seen);
    },
    tally: () => ({ counts: { ...counts }, deadLetters }),
  };
}

function emptyCounts(): Record<VerdictStatus, number> {
  return {
    stored: 0,
    duplicate: 0,
    invalid: 0,
    too_large: 0,
    too_old: 0,
    clock_skew: 0,
    conflict: 0,
    permission_denied: 0,
    fenced: 0,
    overloaded: 0,
    unavailable: 0,
    not_found: 0,
    not_collected: 0,
  };
}
