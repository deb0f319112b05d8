import type { NewEvent, Outcome } from "../interaction/event.js";
import { assert } from "../platform/assert.js";
import { appendSql } from "./append-sql.js";
import { columnsOf } from "./batch-columns.js";
import type { Pool } from "./connect.js";
import { findStored } from "./find-events.js";
import { StoreFault } from "./store.js";

type AppendRow = { readonly stored_at: number; readonly exceptions: string | null };

/**
 * Commits a batch in one statement; see Store.append. A second statement runs only when an id was there before, to tell a repetition from other
 * content under the same id.
 */
export async function appendEvents(pool: Pool, events: readonly NewEvent[]): Promise<readonly Outcome[]> {
  const { parameters, ordered } = columnsOf(events);
  const [row] = await pool.run(({ sql }) => sql.unsafe<AppendRow[]>(appendSql, [...parameters], { prepare: true }));
  assert(row !== undefined, "the append statement returns one row");
  const stored: Outcome = { kind: "stored", storedAtMs: Math.floor(row.stored_at) };
  if (row.exceptions === null) return events.map(() => stored);
  const exceptions = await judge(pool, ordered, row.exceptions);
  return events.map((event) => exceptions.get(event) ?? stored);
}

/** What became of the events that were not stored. `text` is the column `exceptions` of appendSql. */
async function judge(pool: Pool, ordered: readonly NewEvent[], text: string): Promise<ReadonlyMap<NewEvent, Outcome>> {
  const outcomes = new Map<NewEvent, Outcome>();
  const known: NewEvent[] = [];
  for (const entry of text.split(",")) {
    const event = ordered[Number.parseInt(entry, 10) - 1];
    assert(event !== undefined, "an exception names an event of the batch");
    if (entry.endsWith("f")) outcomes.set(event, { kind: "fenced" });
    else known.push(event);
  }
  if (known.length === 0) return outcomes;
  const before = new Map((await findStored(pool, known)).map((row) => [`${row.eventId} ${row.mcpId}`, row]));
  for (const event of known) {
    const row = before.get(`${event.eventId} ${event.mcpId}`);
    if (row === undefined) throw new StoreFault("transient", "VANISHED", "a partition was dropped while a batch was judged");
    const isSame = row.digest === event.digest;
    outcomes.set(event, isSame ? { kind: "duplicate", storedAtMs: row.storedAtMs } : { kind: "conflict" });
  }
  return outcomes;
}
