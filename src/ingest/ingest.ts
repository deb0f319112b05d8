import type { Draft } from "../interaction/event.js";
import type { Clock } from "../platform/clock.js";
import type { Logger } from "../platform/log.js";
import type { Rng } from "../platform/rng.js";
import type { Store } from "../store/store.js";
import { type AcceptDeps, type Accepted, accept, type Bearer, type Refused } from "./accept.js";
import { CommitQueue } from "./commit.js";
import { createSettle, type Settle } from "./settle.js";

/** The one front door: every transport judges with `accept`, offers to `queue`, and hears the outcome from its Origin. */
export type Ingest = {
  /** Judges an event by the clock of this moment; a refusal is counted. */
  readonly accept: (bearer: Bearer, draft: Draft) => Accepted | Refused;
  /** The same, but a refusal is not counted: for callers who may judge the same event again. */
  readonly judge: (bearer: Bearer, draft: Draft) => Accepted | Refused;
  /** Judges an event as if for storing, but whatever its age, and counts nothing: to compare it with what is stored. */
  readonly compare: (bearer: Bearer, draft: Draft) => Accepted | Refused;
  readonly queue: CommitQueue;
  /** Counts, and tells the followers, what was committed in a transaction beside the queue (decide.ts). Once per event, after the COMMIT. */
  readonly settle: Settle["settle"];
  readonly follow: Settle["follow"];
  readonly followTimes: Settle["followTimes"];
  readonly countRefused: Settle["countRefused"];
  readonly tally: Settle["tally"];
};

export type IngestDeps = AcceptDeps & {
  readonly store: Pick<Store, "laneCount" | "append" | "setAside">;
  readonly clock: Clock;
  readonly rng: Rng;
  readonly log: Logger;
};

/** Puts the three stages together: accept, commit, settle. */
export function createIngest(deps: IngestDeps): Ingest {
  const settle = createSettle();
  const queue = new CommitQueue({
    laneCount: deps.store.laneCount,
    append: deps.store.append,
    setAside: deps.store.setAside,
    settle: settle.settle,
    clock: deps.clock,
    rng: deps.rng,
    log: deps.log,
  });
  const timeless: AcceptDeps = {
    pseudonym: deps.pseudonym,
    maxClockSkewMs: Number.POSITIVE_INFINITY,
    dedupeHorizonMs: Number.POSITIVE_INFINITY,
  };
  return {
    accept: (bearer, draft) => {
      const judged = accept(deps, bearer, draft, deps.clock.nowMs());
      if (judged.kind === "refused") settle.countRefused(judged.verdict, bearer.source);
      return judged;
    },
    judge: (bearer, draft) => accept(deps, bearer, draft, deps.clock.nowMs()),
    compare: (bearer, draft) => accept(timeless, bearer, draft, deps.clock.nowMs()),
    queue,
    settle: settle.settle,
    follow: settle.follow,
    followTimes: settle.followTimes,
    countRefused: settle.countRefused,
    tally: settle.tally,
  };
}
