import { limits } from "../platform/limits.js";
import type { Spool, SpooledEvent } from "./spool/spool.js";

/** A stretch of a spool that is still to be read: places above `after`, up to `through`. */
type Lane = { after: number; readonly through: number };

/**
 * The order in which a spool is read. Without a backlog: that of the places. With one, what is reported now does not wait behind it: the stretch that an outage has left is
 * read in its own order beside the live one, and each gets half of the room that the other leaves.
 * Bound: `limits.replayLanesMax` stretches; above it the live one simply grows.
 */
export class Lanes {
  readonly #spool: Pick<Spool, "readAfter">;
  /** Backlogs, oldest first, and the live one at the end. */
  #lanes: Lane[] = [{ after: 0, through: Number.POSITIVE_INFINITY }];

  constructor(spool: Pick<Spool, "readAfter">) {
    this.#spool = spool;
  }

  /** Stretches that are read besides the live one. */
  get backlogCount(): number {
    return this.#lanes.length - 1;
  }

  /** Whether there are any, when `newestPlace` is the last one that is durable. */
  hasBacklog(newestPlace: number): boolean {
    this.#split(newestPlace);
    return this.backlogCount > 0;
  }

  /** The next events, at most `maxCount`; none is given twice. `newestPlace` is the last one that is durable. Without `withBacklogs` only those of the live stretch. */
  read(maxCount: number, newestPlace: number, withBacklogs = true): readonly SpooledEvent[] {
    this.#split(newestPlace);
    const live = this.#lanes.at(-1);
    if (live === undefined) return [];
    if (this.backlogCount === 0 || !withBacklogs) return this.#readLane(live, maxCount);
    const fresh = this.#readLane(live, Math.ceil(maxCount / 2));
    const old: SpooledEvent[] = [];
    while (this.backlogCount > 0 && fresh.length + old.length < maxCount) {
      const [oldest] = this.#lanes;
      if (oldest === undefined) break;
      const found = this.#readLane(oldest, maxCount - fresh.length - old.length);
      if (found.length === 0) this.#lanes.shift();
      else old.push(...found);
    }
    return [...fresh, ...old];
  }

  /** A live stretch that cannot be read within the time a live event may wait becomes a backlog. */
  #split(newestPlace: number): void {
    const live = this.#lanes.at(-1);
    if (live === undefined || newestPlace - live.after <= limits.replayLaneMinEvents || this.#lanes.length >= limits.replayLanesMax) return;
    this.#lanes.splice(-1, 1, { after: live.after, through: newestPlace }, { after: newestPlace, through: live.through });
  }

  #readLane(lane: Lane, maxCount: number): readonly SpooledEvent[] {
    const found = this.#spool.readAfter(lane.after, maxCount).filter(({ place }) => place <= lane.through);
    lane.after = found.at(-1)?.place ?? lane.after;
    return found;
  }
}
