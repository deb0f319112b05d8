import type { Redis } from "ioredis";
import type { Sql } from "postgres";
import { deadLetterKey } from "../../../src/interaction/redis-contract.js";
import { sleep } from "../results.js";
import type { Ledger } from "./ledger.js";

/** What the database says about the interactions of reporters that report as process.ts does. */
export type Audit = {
  /** Events that their reporter had on disk. */
  readonly durable: number;
  /** Events that a process was killed over before they were on disk: any of them may be stored, once. */
  readonly undecided: number;
  readonly undecidedStored: number;
  readonly lost: number;
  readonly twice: number;
  /** Rows that nobody has reported. */
  readonly strangers: number;
  /** Interactions whose merged state is not what their events say. */
  readonly wrongInteractions: number;
  /** The first of each, for people. */
  readonly examples: readonly string[];
};

type EventRow = { readonly mcp_id: string; readonly interaction_id: string; readonly kind: number };
type InteractionRow = {
  readonly mcp_id: string;
  readonly interaction_id: string;
  readonly event_count: number;
  readonly state: number;
  readonly duration_ms: number | null;
  readonly request_type: string | null;
  readonly error_code: string | null;
  readonly has_conflict: boolean;
};

/** Rows of one reporter by interaction and step: start, progress, end. */
type Found = { readonly ledger: Ledger; readonly counts: Uint8Array; readonly isMerged: Uint8Array };

const examplesMax = 20;

/** Looks up every event by SQL: one row of the log for each, whatever its event id, and one interaction that counts them. */
export async function audit(sql: Sql, ledgers: ReadonlyMap<string, Ledger>, isOurs: (mcpId: string) => boolean): Promise<Audit> {
  const examples: string[] = [];
  const example = (what: string): void => {
    if (examples.length < examplesMax) examples.push(what);
  };
  const found = new Map<string, Found>();
  for (const [mcpId, ledger] of ledgers) {
    const size = ledger.lastTaken + 1;
    found.set(mcpId, { ledger, counts: new Uint8Array(size * 3), isMerged: new Uint8Array(size) });
  }
  let strangers = 0;
  const events = sql<EventRow[]>`SELECT mcp_id, interaction_id, kind FROM interaction_event`.cursor(10_000);
  for await (const rows of events) {
    for (const { mcp_id, interaction_id, kind } of rows) {
      const place = placeOf(found.get(mcp_id), interaction_id, kind);
      if (place === undefined) {
        if (!isOurs(mcp_id)) continue;
        strangers += 1;
        example(`nobody has reported ${mcp_id} ${interaction_id} of kind ${kind}`);
      } else place.counts[place.at] = Math.min(255, (place.counts[place.at] ?? 0) + 1);
    }
  }
  let wrongInteractions = 0;
  const interactions = sql<InteractionRow[]>`
    SELECT mcp_id, interaction_id, event_count, state, duration_ms, request_type, error_code, has_conflict FROM interaction`.cursor(10_000);
  for await (const rows of interactions) {
    for (const row of rows) {
      const place = placeOf(found.get(row.mcp_id), row.interaction_id, 1);
      if (place === undefined) continue;
      place.isMerged[place.at / 3] = 1;
      const wrong = faultOf(row, place);
      if (wrong === undefined) continue;
      wrongInteractions += 1;
      example(`${row.mcp_id} ${row.interaction_id}: ${wrong}`);
    }
  }
  const sums = { durable: 0, undecided: 0, undecidedStored: 0, lost: 0, twice: 0 };
  for (const [mcpId, { ledger, counts, isMerged }] of found) {
    for (let n = 1; n <= ledger.lastTaken; n += 1) {
      const isDurable = ledger.isDurable(n);
      for (let step = 0; step < 3; step += 1) {
        const count = counts[n * 3 + step] ?? 0;
        sums[isDurable ? "durable" : "undecided"] += 1;
        if (!isDurable && count > 0) sums.undecidedStored += 1;
        if (isDurable && count === 0) {
          sums.lost += 1;
          example(`lost: ${mcpId} i-${n}, event ${step + 1} of 3`);
        }
        if (count > 1) {
          sums.twice += 1;
          example(`twice: ${mcpId} i-${n}, event ${step + 1} of 3, ${count} times`);
        }
      }
      if (isDurable && isMerged[n] !== 1) {
        wrongInteractions += 1;
        example(`${mcpId} i-${n} has no interaction`);
      }
    }
  }
  return { ...sums, strangers, wrongInteractions, examples };
}

function placeOf(found: Found | undefined, interactionId: string, kind: number): (Found & { readonly at: number }) | undefined {
  const n = Number(/^i-(\d+)$/.exec(interactionId)?.[1]);
  if (found === undefined || !(n >= 1 && n <= found.ledger.lastTaken)) return undefined;
  // Complete (3) and error (4) are both the end; which one is seen in the state of the interaction.
  return { ...found, at: n * 3 + Math.min(kind, 3) - 1 };
}

/** What is wrong with the merged state, given what process.ts reports. */
function faultOf(row: InteractionRow, { counts, at }: Found & { readonly at: number }): string | undefined {
  const steps = [0, 1, 2].map((step) => counts[at + step] ?? 0);
  const rows = steps.reduce((sum, count) => sum + count, 0);
  if (row.event_count !== rows) return `event_count is ${row.event_count}, its rows are ${rows}`;
  if (row.has_conflict) return "has a conflict";
  if (steps[0] === 1 && row.request_type !== "drill") return `request_type is ${row.request_type}`;
  if (steps[2] !== 1) return undefined;
  const n = at / 3;
  const isFailure = n % 10 === 0;
  if (row.state !== (isFailure ? 4 : 3)) return `state is ${row.state}`;
  if (isFailure) return row.error_code === "DRILL" ? undefined : `error_code is ${row.error_code}`;
  return row.duration_ms === n % 1_000 ? undefined : `duration_ms is ${row.duration_ms}`;
}

/** What is between the reporters and the log: rows of the shared table, entries of the stream without an acknowledgement; and what was given up on either way. */
export type OnTheWay = { readonly rows: number; readonly entries: number; readonly deadLetters: number };

async function countOnTheWay(sql: Sql, redis: Redis): Promise<OnTheWay> {
  const [row] = await sql<{ dead: string; left: string }[]>`
    SELECT (SELECT count(*) FROM dead_letter) AS dead, (SELECT count(*) FROM interaction_logs) AS left`;
  // The cast: XINFO GROUPS answers a list of names and values in turn for each group; the coordinators have made one.
  const [group] = (await redis.xinfo("GROUPS", stream)) as readonly (readonly (string | number)[])[];
  const figure = (name: string) => group?.[group.indexOf(name) + 1] ?? 0;
  // Not the group's lag: after a crash of Redis it stays too large.
  const unread = await redis.xrange(stream, `(${figure("last-delivered-id")}`, "+", "COUNT", 1_000);
  const deadEntries = await redis.xlen(deadLetterKey(stream));
  return { rows: Number(row?.left), entries: Number(figure("pending")) + unread.length, deadLetters: Number(row?.dead) + deadEntries };
}

/** Waits, `maxMs` at most, until nothing is on the way: an event of the table counts as brought once its row is there, before the log has it. */
export async function untilArrived(sql: Sql, redis: Redis, maxMs = 180_000): Promise<OnTheWay> {
  for (const untilMs = performance.now() + maxMs; ; await sleep(200)) {
    const onTheWay = await countOnTheWay(sql, redis);
    if ((onTheWay.rows === 0 && onTheWay.entries === 0) || performance.now() > untilMs) return onTheWay;
  }
}

/** Default name of the coordinators' stream. */
const stream = "mcp:interactions";
