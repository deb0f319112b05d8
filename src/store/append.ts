import type { NewEvent, Outcome } from "../interaction/event.js";
import { assert } from "../platform/assert.js";
import { limits } from "../platform/limits.js";
import { appendManySql, appendOneSql } from "./append-sql.js";
import { arrays, type Column, claimColumns, claimKey, claimsOf, eventColumns, scalars, shareColumns } from "./batch-columns.js";
import type { Runner } from "./connect.js";
import { findStored } from "./find-events.js";
import { foldBatch } from "./fold-batch.js";
import { writeIntoPartitions } from "./partitions.js";
import { StoreFault } from "./store.js";

type AppendRow = { readonly stored_at: number; readonly is_owned: boolean };

/** unique_violation: the batch holds an event that is stored. Source: PostgreSQL manual, appendix A. */
const uniqueViolation = "23505";

/**
 * See Store.append. A batch of new events takes one statement. One that holds an event that was stored before, or whose session was superseded, is
 * refused as a whole and leaves nothing behind; then it is sifted with two reads, and the rest is committed. After a repetition the lane sifts
 * before it commits for a while: repetitions come in numbers, after a reconnect, and a refused statement leaves dead rows.
 */
export function createAppend(
  runner: Runner,
  laneCount: number,
): (lane: number, events: readonly NewEvent[]) => Promise<readonly Outcome[]> {
  const wariness = Array.from({ length: laneCount }, (): Wariness => ({ batches: 0 }));
  return (lane, events) => {
    const own = wariness[lane];
    assert(own !== undefined, "lane exists");
    return appendEvents(runner, own, events);
  };
}

/** How many batches more are sifted before they are written. */
export type Wariness = { batches: number };

/** The same for any runner. In a transaction each statement runs behind a savepoint of its own, so that a refused one leaves the transaction usable. */
export async function appendEvents(runner: Runner, wariness: Wariness, events: readonly NewEvent[]): Promise<readonly Outcome[]> {
  const outcomes = new Map<NewEvent, Outcome>();
  let rest = isAscending(events) ? events : [...events].sort((a, b) => (a.eventId < b.eventId ? -1 : 1));
  for (let attempt = 0; attempt < limits.appendMaxAttempts; attempt += 1) {
    if (attempt > 0 || wariness.batches > 0) {
      const hasRepeats = await sift(runner, rest, outcomes);
      rest = rest.filter((event) => !outcomes.has(event));
      wariness.batches = hasRepeats ? limits.siftAfterRepeatBatches : Math.max(0, wariness.batches - 1);
    }
    const stored = rest.length === 0 ? undefined : await tryAppend(runner, rest);
    if (rest.length > 0 && stored === undefined) continue;
    // Nearly always nothing was sifted out, and nothing is looked up.
    return events.map((event) => (outcomes.size === 0 ? undefined : outcomes.get(event)) ?? stored ?? unanswered());
  }
  throw new StoreFault("transient", "CONTENDED", `a batch met new repetitions ${limits.appendMaxAttempts} times`);
}

function unanswered(): never {
  throw new Error("every event of a batch was stored or sifted out");
}

/** Commits all of the events, or none: undefined when one of them is stored already, or its session superseded. */
async function tryAppend(runner: Runner, events: readonly NewEvent[]): Promise<Outcome | undefined> {
  const { text, parameters } = statementOf(events);
  try {
    const write = () => runner.run(({ sql }) => sql.unsafe<AppendRow[]>(text, parameters, { prepare: true }));
    const idsOf = () => events.map(({ eventId }) => eventId);
    const [row] = await writeIntoPartitions(runner, "interaction_event", idsOf, write);
    assert(row !== undefined, "the append statement returns one row");
    return row.is_owned ? { kind: "stored", storedAtMs: Math.floor(row.stored_at) } : undefined;
  } catch (thrown) {
    if (thrown instanceof StoreFault && thrown.code === uniqueViolation) return undefined;
    throw thrown;
  }
}

type Statement = { readonly text: string; readonly parameters: (string | null)[] };

/** `events` by ascending event_id. */
function statementOf(events: readonly NewEvent[]): Statement {
  const claims = claimsOf(events);
  const shares = foldBatch(events);
  const [event] = events;
  const [share] = shares;
  if (event === undefined || share === undefined || events.length > 1) {
    return {
      text: appendManySql,
      parameters: [...arrays(eventColumns, events), ...arrays(claimColumns, claims), ...arrays(shareColumns, shares)],
    };
  }
  const claim = claims[0] ?? { producerId: "", epoch: 0, lastSequence: 0n };
  return {
    text: appendOneSql,
    parameters: [...scalars(eventColumns, event), ...scalars(claimColumns, claim), ...scalars(shareColumns, share)],
  };
}

/** Adds an outcome for every event that must not be committed again, or at all. Returns whether any of them was stored before. */
async function sift(runner: Runner, events: readonly NewEvent[], outcomes: Map<NewEvent, Outcome>): Promise<boolean> {
  const held = await heldClaims(runner, events);
  const live = events.filter((event) => event.epoch === 0 || held.has(claimKey(event)));
  for (const event of events) if (event.epoch !== 0 && !held.has(claimKey(event))) outcomes.set(event, { kind: "fenced" });
  if (live.length === 0) return false;
  const before = new Map((await findStored(runner, live)).map((row) => [`${row.eventId} ${row.mcpId}`, row]));
  for (const event of live) {
    const row = before.get(`${event.eventId} ${event.mcpId}`);
    if (row === undefined) continue;
    const { digest: storedDigest, storedAtMs } = row;
    const isSame = storedDigest === event.digest;
    outcomes.set(event, isSame ? { kind: "duplicate", storedAtMs } : { kind: "conflict", storedDigest, storedAtMs });
  }
  return before.size > 0;
}

const producerColumns: readonly Column<string>[] = [{ name: "producer_id", type: "text", isOptional: false, of: (id) => id }];
const heldSql = 'SELECT producer_id AS "producerId", epoch::float8 AS epoch FROM producer WHERE producer_id = ANY($1::text[])';

/** Those of the events' claims whose epoch is the producer's newest. */
async function heldClaims(runner: Runner, events: readonly NewEvent[]): Promise<ReadonlySet<string>> {
  const producerIds = [...new Set(events.filter((event) => event.epoch !== 0).map((event) => event.producerId))];
  if (producerIds.length === 0) return new Set();
  const rows = await runner.run(({ sql }) =>
    sql.unsafe<{ producerId: string; epoch: number }[]>(heldSql, [...arrays(producerColumns, producerIds)], { prepare: true }),
  );
  return new Set(rows.map(claimKey));
}

function isAscending(events: readonly NewEvent[]): boolean {
  return events.every((event, index) => index === 0 || (events[index - 1]?.eventId ?? "") < event.eventId);
}
