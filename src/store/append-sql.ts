import { slotMicros } from "./timestamps.js";

/** The time of a bigint of microseconds. Exact: both casts and the division round to the nearest microsecond. */
const at = (micros: string): string => `to_timestamp(${micros}::float8 / 1000000)`;

/** Whether the batch's latest start, or terminal, speaks for the interaction from now on. */
const newStart = "(x.start_event_id IS NULL OR EXCLUDED.start_event_id > x.start_event_id)";
const newTerminal = "(x.terminal_event_id IS NULL OR EXCLUDED.terminal_event_id > x.terminal_event_id)";
const taken = (when: string, column: string): string => `${column} = CASE WHEN ${when} THEN EXCLUDED.${column} ELSE x.${column} END`;

/**
 * The ingest statement: one batch, one round trip, one implicit transaction. Parameters: columnsOf. Result: one row with `stored_at` in ms and
 * `exceptions`, which is null when every event was stored, else "ordinal,letter" pairs of those that were not: d for an id that was there, f for fenced.
 *
 * In order: `owner` locks the producers' rows whose epoch still holds; `live` drops fenced events; `ins` writes the log; `stored` is what is new;
 * `agg` folds it per interaction by ordinals, which rise with event_id; `ups` merges; `cur` moves the resume points. All batches lock in this
 * order and each step sorts, so batches do not deadlock. Values of the winning events are read by subscript from the parameters: no joins, hence
 * one plan for every batch size (the pool runs with force_generic_plan).
 */
export const appendSql = `
WITH input AS MATERIALIZED (
  SELECT * FROM unnest($1::uuid[], $2::int[], $3::int[], $4::text[], $5::text[], $6::smallint[], $7::smallint[], $8::bigint[], $9::bigint[],
                       $10::uuid[], $11::text[], $12::bytea[], $16::boolean[])
  WITH ORDINALITY AS t(event_id, grp, claim, mcp_id, interaction_id, kind, source, sequence, occurred, digest, body, raw, success, ord)
), owner AS MATERIALIZED (
  SELECT c.claim, c.producer_id, c.last_sequence
  FROM unnest($21::text[], $22::bigint[], $23::bigint[]) WITH ORDINALITY AS c(producer_id, epoch, last_sequence, claim)
  JOIN producer p ON p.producer_id = c.producer_id AND p.epoch = c.epoch
  ORDER BY p.producer_id FOR NO KEY UPDATE OF p
), live AS MATERIALIZED (
  SELECT * FROM input WHERE ($22::bigint[])[claim] = 0 OR claim IN (SELECT owner.claim FROM owner)
), ins AS (
  INSERT INTO interaction_event (event_id, mcp_id, interaction_id, producer_id, sequence, kind, source, occurred_at, digest, body, raw)
  SELECT event_id, mcp_id, interaction_id, ($21::text[])[claim], sequence, kind, source, ${at("occurred")}, digest, body::jsonb, raw
  FROM live ORDER BY event_id, mcp_id
  ON CONFLICT (event_id, mcp_id) DO NOTHING
  RETURNING event_id, mcp_id
), stored AS MATERIALIZED (
  SELECT * FROM live
  WHERE (SELECT count(*) FROM ins) = (SELECT count(*) FROM live) OR (event_id, mcp_id) IN (SELECT event_id, mcp_id FROM ins)
), agg AS (
  SELECT grp, count(*)::int AS events, max(occurred) AS last_at, min(occurred) FILTER (WHERE kind = 1) AS started,
         max(ord)::int AS any_ord, max(ord) FILTER (WHERE kind = 1)::int AS start_ord, max(ord) FILTER (WHERE kind = 2)::int AS progress_ord,
         max(ord) FILTER (WHERE kind >= 3)::int AS terminal_ord, COALESCE(bool_or(success) <> bool_and(success), false) AS has_conflict
  FROM stored GROUP BY grp
), ups AS (
  INSERT INTO interaction AS x (mcp_id, interaction_id, state, event_count, has_conflict, last_event_slot, last_event_at, started_at, ended_at,
    start_event_id, progress_event_id, terminal_event_id, duration_ms, quality_score, success,
    request_type, session_id, user_pseudonym, error_code, adapter_used)
  SELECT ($4::text[])[any_ord], ($5::text[])[any_ord],
    CASE WHEN ($16::boolean[])[terminal_ord] THEN 3 WHEN terminal_ord IS NOT NULL THEN 4 WHEN progress_ord IS NOT NULL THEN 2 ELSE 1 END,
    events, has_conflict, floor(last_at::float8 / ${slotMicros})::int, ${at("last_at")}, ${at("started")}, ${at("($9::bigint[])[terminal_ord]")},
    ($1::uuid[])[start_ord], ($1::uuid[])[progress_ord], ($1::uuid[])[terminal_ord],
    ($17::float8[])[terminal_ord], ($18::float8[])[terminal_ord], ($16::boolean[])[terminal_ord],
    ($13::text[])[start_ord], ($14::text[])[start_ord], ($15::text[])[start_ord], ($19::text[])[terminal_ord], ($20::text[])[terminal_ord]
  FROM agg ORDER BY grp
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
  FROM owner WHERE p.producer_id = owner.producer_id
)
SELECT (extract(epoch FROM now()) * 1000)::float8 AS stored_at,
  CASE WHEN (SELECT count(*) FROM ins) < cardinality($1::uuid[]) THEN (
    SELECT string_agg(ord::text || CASE WHEN ord IN (SELECT live.ord FROM live) THEN 'd' ELSE 'f' END, ',')
    FROM input WHERE (event_id, mcp_id) NOT IN (SELECT event_id, mcp_id FROM ins)
  ) END AS exceptions`;
