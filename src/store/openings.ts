import { limits } from "../platform/limits.js";
import type { Pool } from "./connect.js";
import { type Opening, openProducers } from "./producers.js";
import { type ProducerOpened, StoreFault } from "./store.js";

type Waiting = {
  readonly opening: Opening;
  readonly isWanted: () => boolean;
  readonly resolve: (opened: ProducerOpened | undefined) => void;
  readonly reject: (thrown: unknown) => void;
};

/**
 * Opens producers in groups: one statement at a time, and whatever is asked meanwhile forms the next. A thousand Hellos after a restart are a few commits,
 * not a thousand.
 *
 * A producer's openings are carried out in the order they were asked: of two in one group the later waits for the next. A client that gives up on a Welcome
 * and says Hello again has two on their way; were the older the last to bump the epoch, the abandoned stream would fence the live one.
 * One that nobody waits for any more when its turn comes is not carried out. Its client may have gone to another coordinator while the database was away from this
 * one: bumped now, the epoch would fence the live session there.
 * Bound: one entry per session that is being opened.
 */
export function createOpenings(pool: Pool): (opening: Opening, isWanted?: () => boolean) => Promise<ProducerOpened | undefined> {
  let waiting: Waiting[] = [];
  let isBusy = false;
  const run = async (): Promise<void> => {
    isBusy = true;
    while (waiting.length > 0) {
      const { group, rest } = takeGroup(waiting);
      waiting = rest;
      await carryOut(pool, group.filter(isStillWanted));
    }
    isBusy = false;
  };
  return (opening, isWanted = () => true) =>
    new Promise((resolve, reject) => {
      waiting.push({ opening, isWanted, resolve, reject });
      if (!isBusy) void run();
    });
}

/** Tells those who are gone, if they still listen, that nothing was done for them. */
function isStillWanted({ isWanted, reject }: Waiting): boolean {
  if (isWanted()) return true;
  reject(new StoreFault("transient", "ABANDONED", "nobody waits for this opening any more"));
  return false;
}

/** The oldest openings of distinct producers. */
function takeGroup(waiting: readonly Waiting[]): { readonly group: readonly Waiting[]; readonly rest: Waiting[] } {
  const taken = new Set<string>();
  const group: Waiting[] = [];
  const rest: Waiting[] = [];
  for (const one of waiting) {
    if (group.length >= limits.openingsMaxCount || taken.has(one.opening.producerId)) rest.push(one);
    else group.push(one);
    taken.add(one.opening.producerId);
  }
  return { group, rest };
}

/** Never rejects: failure goes to those who asked. One that the store cannot take must not fail its neighbours. */
async function carryOut(pool: Pool, group: readonly Waiting[]): Promise<void> {
  if (group.length === 0) return;
  try {
    const opened = await openProducers(
      pool,
      group.map(({ opening }) => opening),
    );
    for (const { opening, resolve } of group) resolve(opened.get(opening.producerId));
  } catch (thrown) {
    if (thrown instanceof StoreFault && thrown.kind === "poison" && group.length > 1) {
      for (const one of group) await carryOut(pool, [one]);
    } else {
      for (const { reject } of group) reject(thrown);
    }
  }
}
