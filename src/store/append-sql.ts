import { type Column, claimColumns, eventColumns, jsonSeparator, shareColumns } from "./batch-columns.js";
import { slotMicros } from "./timestamps.js";

/** The time of a bigint of microseconds. Exact: both casts and the division round to the nearest microsecond. */
const at = (micros: string): string => `to_timestamp(${micros}::float8 / 1000000)`;

/** Whether the batch's latest start, or terminal, speaks for the interaction from now on. */
const newStart = "(x.start_event_id IS NULL OR EXCLUDED.start_event_id > x.start_event_id)";
const newTerminal = "(x.terminal_event_id IS NULL OR EXCLUDED.terminal_event_id > x.terminal_event_id)";
const taken = (when: string, column: string): string => `${column} = CASE WHEN ${when} THEN EXCLUDED.${column} ELSE x.${column} END`;

/**
 * Rows out of parameters, from `$first` on. Many: an array per column. What has no NULLs and a fixed width is read by subscript, which is one step; a subscript into anything else walks the array from its
 * beginning, and is unnested. JSON comes as one text, and is split: quoting it for an array costs more than all else of an event. One: a parameter per column.
 */
function rowsFrom<Row>(columns: readonly Column<Row>[], first: number, isMany: boolean, alias: string): string {
  const numbered = columns.map((column, index) => ({ ...column, number: `$${first + index}` }));
  if (!isMany) {
    // By way of text: for some types the driver has a serializer of its own, and these values are text already.
    const values = numbered.map(({ name, type, number }) => `${number}::text::${type} AS ${name}`);
    return `(SELECT ${values.join(", ")}) AS ${alias}`;
  }
  const split = numbered.filter(({ type }) => type === "jsonb");
  const walked = numbered.filter(({ type, isOptional }) => type === "text" || (isOptional && type !== "jsonb"));
  const values = numbered.map((column) => {
    if (split.includes(column)) return `${column.name}::jsonb AS ${column.name}`;
    return walked.includes(column) ? column.name : `(${column.number}::${column.type}[])[ord::int] AS ${column.name}`;
  });
  const sources = [
    `unnest(${walked.map(({ number, type }) => `${number}::${type}[]`).join(", ")})`,
    ...split.map(({ number }) => `string_to_table(${number}::text, ${separator})`),
  ];
  const names = [...walked, ...split].map(({ name }) => name);
  return `(SELECT ${values.join(", ")} FROM ROWS FROM (${sources.join(", ")}) WITH ORDINALITY AS u(${names.join(", ")}, ord)) AS ${alias}`;
}

/** As SQL writes it. */
const separator = `chr(${jsonSeparator.charCodeAt(0)})`;

/** Where the parameters of claims and shares begin. */
const firstClaim = 1 + eventColumns.length;
const firstShare = firstClaim + claimColumns.length;

/**
 * The ingest statement: one batch, one round trip, one implicit transaction, all or nothing. Parameters: the columns of events, claims and shares, as
 * arrays, or of one event as scalars, where a claim with epoch 0 is none. Result: one row with `stored_at` in ms and `is_owned`; when that is
 * false, a producer's epoch has passed and nothing was written. An event that is stored already ends it with unique_violation. Both are sorted
 * out by append.ts.
 *
 * In order: `owner` locks the producers' rows whose epoch still holds; `ins` writes the log; `ups` merges what the batch says of each interaction,
 * which the coordinator has folded (fold-batch.ts); `cur` moves the resume points. All batches lock in this order and bring their rows sorted, so
 * batches do not deadlock. One plan serves every batch size (the pool runs with force_generic_plan): the only joins are by producer_id.
 */
function appendSql(isMany: boolean): string {
  const claimCount = isMany ? `cardinality($${firstClaim}::text[])` : `least($${firstClaim + 1}::text::bigint, 1)`;
  const isOwned = `(SELECT count(*) FROM owner) = ${claimCount}`;
  return `
WITH owner AS MATERIALIZED (
  SELECT p.producer_id, c.last_sequence
  FROM ${rowsFrom(claimColumns, firstClaim, isMany, "c")} JOIN producer p ON p.producer_id = c.producer_id AND p.epoch = c.epoch
  ORDER BY p.producer_id FOR NO KEY UPDATE OF p
), ins AS (
  INSERT INTO interaction_event (event_id, mcp_id, interaction_id, producer_id, sequence, kind, source, occurred_at, digest, body, raw)
  SELECT event_id, mcp_id, interaction_id, producer_id, sequence, kind, source, ${at("occurred")}, digest, body, raw
  FROM ${rowsFrom(eventColumns, 1, isMany, "e")}
  WHERE ${isOwned}
), ups AS (
  INSERT INTO interaction AS x (mcp_id, interaction_id, state, event_count, has_conflict, last_event_slot, last_event_at, started_at, ended_at,
    start_event_id, progress_event_id, terminal_event_id, duration_ms, quality_score, success,
    request_type, session_id, user_pseudonym, error_code, adapter_used)
  SELECT mcp_id, interaction_id, state, event_count, has_conflict, floor(last_at::float8 / ${slotMicros})::int, ${at("last_at")}, ${at("started")},
    ${at("ended")}, start_event_id, progress_event_id, terminal_event_id, duration_ms, quality_score, success,
    request_type, session_id, user_pseudonym, error_code, adapter_used
  FROM ${rowsFrom(shareColumns, firstShare, isMany, "s")}
  WHERE ${isOwned}
  ON CONFLICT (mcp_id, interaction_id) DO UPDATE SET
    event_count = x.event_count + EXCLUDED.event_count,
    has_conflict = x.has_conflict OR EXCLUDED.has_conflict OR COALESCE(x.success <> EXCLUDED.success, false),
    state = CASE WHEN EXCLUDED.terminal_event_id IS NOT NULL AND ${newTerminal} THEN EXCLUDED.state
                 WHEN x.terminal_event_id IS NOT NULL THEN x.state ELSE GREATEST(x.state, EXCLUDED.state) END,
    last_event_slot = GREATEST(x.last_event_slot, EXCLUDED.last_event_slot), last_event_at = GREATEST(x.last_event_at, EXCLUDED.last_event_at),
    started_at = LEAST(x.started_at, EXCLUDED.started_at),
    ${["ended_at", "duration_ms", "quality_score", "success", "error_code", "adapter_used"].map((column) => taken(newTerminal, column)).join(", ")},
    ${["request_type", "session_id", "user_pseudonym"].map((column) => taken(newStart, column)).join(", ")},
    start_event_id = GREATEST(x.start_event_id, EXCLUDED.start_event_id),
    progress_event_id = GREATEST(x.progress_event_id, EXCLUDED.progress_event_id),
    terminal_event_id = GREATEST(x.terminal_event_id, EXCLUDED.terminal_event_id)
), cur AS (
  UPDATE producer p SET resume_sequence = GREATEST(p.resume_sequence, owner.last_sequence), seen_at = now()
  FROM owner WHERE p.producer_id = owner.producer_id AND ${isOwned}
)
SELECT (extract(epoch FROM now()) * 1000)::float8 AS stored_at, ${isOwned} AS is_owned`;
}

export const appendManySql = appendSql(true);
/** For a batch of one, which is most of them when little happens: no arrays to parse, no rows to make. */
export const appendOneSql = appendSql(false);
