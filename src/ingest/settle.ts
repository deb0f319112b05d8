import type { NewEvent, Outcome, Source } from "../interaction/event.js";
import { assert } from "../platform/assert.js";
import type { CommitTiming, Origin, Pending } from "./pending.js";
import { statusOf, type Verdict, type VerdictStatus } from "./verdict.js";

/** Counts of verdicts, and of events among them that became dead letters. */
export type SourceTally = { readonly counts: Readonly<Record<VerdictStatus, number>>; readonly deadLetters: number };

/** Counts of everything that was answered since the process started: over all, and by the way in. */
export type Tally = SourceTally & { readonly bySource: Readonly<Record<Source, SourceTally>> };

export type Settle = {
  /** Hands every outcome of a commit back to who brought the event, then tells the followers what is new in the store. */
  readonly settle: (items: readonly Pending[], outcomes: ReadonlyMap<Pending, Outcome>, timing: CommitTiming) => void;
  /** Counts a verdict that never reached the store. */
  readonly countRefused: (verdict: Verdict, source: Source) => void;
  /** Calls `seen` with the events that each commit stored. `seen` must not throw. */
  readonly follow: (seen: (events: readonly NewEvent[]) => void) => void;
  /** Calls `timed` with the times of each commit. It must not throw. */
  readonly followTimes: (timed: (timing: CommitTiming) => void) => void;
  readonly tally: () => Tally;
};

/** The stage after the commit. */
export function createSettle(): Settle {
  const bySource = { grpc: emptyTally(), http: emptyTally(), redis: emptyTally(), table: emptyTally() } satisfies Record<
    Source,
    CountedSource
  >;
  const followers: ((events: readonly NewEvent[]) => void)[] = [];
  const timers: ((timing: CommitTiming) => void)[] = [];
  return {
    settle: (items, outcomes, timing) => {
      const stored: NewEvent[] = [];
      const origins = new Set<Origin>();
      for (const item of items) {
        const outcome = outcomes.get(item);
        assert(outcome !== undefined, "every item has an outcome");
        const tally: CountedSource = bySource[item.event.source];
        tally.counts[statusOf(outcome)] += 1;
        if (outcome.kind === "stored") stored.push(item.event);
        if (outcome.kind === "poison") tally.deadLetters += 1;
        item.origin.settled(item.event, outcome);
        origins.add(item.origin);
      }
      for (const origin of origins) origin.flushed(timing);
      for (const timed of timers) timed(timing);
      if (stored.length > 0) for (const seen of followers) seen(stored);
    },
    countRefused: (verdict, source) => {
      bySource[source].counts[verdict.status] += 1;
    },
    follow: (seen) => {
      followers.push(seen);
    },
    followTimes: (timed) => {
      timers.push(timed);
    },
    tally: () => tallyOf(bySource),
  };
}

type CountedSource = { readonly counts: Record<VerdictStatus, number>; deadLetters: number };

function tallyOf(bySource: Readonly<Record<Source, CountedSource>>): Tally {
  const total = emptyTally();
  for (const { counts, deadLetters } of Object.values(bySource)) {
    total.deadLetters += deadLetters;
    // Keys of a complete record.
    for (const status of Object.keys(counts) as VerdictStatus[]) total.counts[status] += counts[status];
  }
  const copyOf = ({ counts, deadLetters }: CountedSource): SourceTally => ({ counts: { ...counts }, deadLetters });
  const { grpc, http, redis, table } = bySource;
  return { ...total, bySource: { grpc: copyOf(grpc), http: copyOf(http), redis: copyOf(redis), table: copyOf(table) } };
}

function emptyTally(): CountedSource {
  const counts = {
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
  return { counts, deadLetters: 0 };
}
