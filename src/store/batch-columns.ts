import type { Facts, NewEvent } from "../interaction/event.js";
import type { Share } from "./fold-batch.js";
import { kindNumbers, sourceNumbers, stateNumbers } from "./tables.js";

/** One parameter of the append statement: what it is called in the statement, and what it says of a row. */
export type Column<Row> = {
  readonly name: string;
  readonly type: "uuid" | "text" | "bigint" | "int" | "smallint" | "boolean" | "float8" | "bytea" | "jsonb";
  /** Whether `of` may give undefined, which is NULL. */
  readonly isOptional: boolean;
  readonly of: (row: Row) => string | number | bigint | boolean | undefined;
};

const required = <Row>(name: string, type: Column<Row>["type"], of: Column<Row>["of"]): Column<Row> => ({
  name,
  type,
  isOptional: false,
  of,
});
const optional = <Row>(name: string, type: Column<Row>["type"], of: Column<Row>["of"]): Column<Row> => ({
  name,
  type,
  isOptional: true,
  of,
});

/** A row of the log. */
export const eventColumns: readonly Column<NewEvent>[] = [
  required("event_id", "uuid", (event) => event.eventId),
  required("mcp_id", "text", (event) => event.mcpId),
  required("interaction_id", "text", (event) => event.interactionId),
  required("producer_id", "text", (event) => event.producerId),
  required("sequence", "bigint", (event) => event.sequence),
  required("kind", "smallint", (event) => kindNumbers[event.kind]),
  required("source", "smallint", (event) => sourceNumbers[event.source]),
  required("occurred", "bigint", (event) => event.occurredAtUs),
  required("digest", "uuid", (event) => event.digest),
  required("body", "jsonb", (event) => event.body),
  optional("raw", "bytea", (event) => event.raw && hexOf(event.raw)),
];

/** A producer that some of the events are fenced by, with the farthest resume point among them. */
export type Claim = { readonly producerId: string; readonly epoch: number; lastSequence: bigint };

export const claimColumns: readonly Column<Claim>[] = [
  required("producer_id", "text", (claim) => claim.producerId),
  required("epoch", "bigint", (claim) => claim.epoch),
  required("last_sequence", "bigint", (claim) => claim.lastSequence),
];

/** What the batch adds to the row of an interaction. */
export const shareColumns: readonly Column<Share>[] = [
  required("mcp_id", "text", (share) => share.any.mcpId),
  required("interaction_id", "text", (share) => share.any.interactionId),
  required("state", "smallint", (share) => stateNumbers[stateOf(share)]),
  required("event_count", "int", (share) => share.eventCount),
  required("has_conflict", "boolean", (share) => share.hasConflict),
  required("last_at", "bigint", (share) => share.lastEventAtUs),
  optional("started", "bigint", (share) => share.startedAtUs),
  optional("ended", "bigint", (share) => share.terminal?.occurredAtUs),
  optional("start_event_id", "uuid", (share) => share.start?.eventId),
  optional("progress_event_id", "uuid", (share) => share.progress?.eventId),
  optional("terminal_event_id", "uuid", (share) => share.terminal?.eventId),
  optional("duration_ms", "float8", (share) => terminalOf(share)?.durationMs),
  optional("quality_score", "float8", (share) => terminalOf(share)?.qualityScore),
  optional("success", "boolean", (share) => terminalOf(share)?.success),
  optional("request_type", "text", (share) => startOf(share)?.requestType),
  optional("session_id", "text", (share) => startOf(share)?.sessionId),
  optional("user_pseudonym", "text", (share) => startOf(share)?.userPseudonym),
  optional("error_code", "text", (share) => terminalOf(share)?.errorCode),
  optional("adapter_used", "text", (share) => terminalOf(share)?.adapterUsed),
];

/** The distinct claims of a batch; by producer, so that all batches lock alike. Events of sessions without an epoch claim nothing. */
export function claimsOf(events: readonly NewEvent[]): readonly Claim[] {
  const claims = new Map<string, Claim[]>();
  for (const { producerId, epoch, resumeSequence } of events) {
    if (epoch === 0) continue;
    const own = claims.get(producerId);
    const claim = own?.find((candidate) => candidate.epoch === epoch);
    if (claim !== undefined) {
      if (resumeSequence > claim.lastSequence) claim.lastSequence = resumeSequence;
    } else if (own !== undefined) own.push({ producerId, epoch, lastSequence: resumeSequence });
    else claims.set(producerId, [{ producerId, epoch, lastSequence: resumeSequence }]);
  }
  return [...claims.keys()].sort().flatMap((producerId) => claims.get(producerId) ?? []);
}

/** What fences an event, as one text. */
export const claimKey = (claim: { readonly producerId: string; readonly epoch: number }): string => `${claim.epoch} ${claim.producerId}`;

/** The values of one row, as text. */
export function scalars<Row>(columns: readonly Column<Row>[], row: Row): readonly (string | null)[] {
  return columns.map((column) => column.of(row)?.toString() ?? null);
}

/** One text per column: an array literal, or, of JSON, the elements between separators (append-sql.ts takes them apart). */
export function arrays<Row>(columns: readonly Column<Row>[], rows: readonly Row[]): readonly string[] {
  return columns.map((column) => arrayOf(column, rows));
}

/** Stands between texts of JSON, which hold no control characters: so none needs quotes, and none has to be read twice. */
export const jsonSeparator = "\u0001";

/**
 * A column that says nothing is empty, since unnest fills up with NULL. The JSON text of an array is an array literal but for its brackets, and native code makes it: null is NULL there, and quotes
 * are quoted alike. Only for what else JSON escapes, such as a line break, every element is quoted here. Bytes are hex behind a backslash, and integers of 64 bits are no JSON.
 */
function arrayOf<Row>(column: Column<Row>, rows: readonly Row[]): string {
  const elements = rows.map(column.of);
  if (column.isOptional && elements.every((element) => element === undefined)) return "{}";
  if (column.type === "jsonb") return elements.join(jsonSeparator);
  if (typeof elements[0] === "bigint") return `{${elements.join(",")}}`;
  const json = column.type === "bytea" ? undefined : JSON.stringify(elements);
  return json === undefined || json.includes("\\") ? `{${elements.map(quoted).join(",")}}` : `{${json.slice(1, -1)}}`;
}

const special = /["\\]/;

function quoted(element: string | number | bigint | boolean | undefined): string {
  if (element === undefined) return "NULL";
  const text = String(element);
  return `"${special.test(text) ? text.replaceAll(/["\\]/g, "\\$&") : text}"`;
}

const startOf = ({ start }: Share): (Facts & { kind: "start" }) | undefined => (start?.facts.kind === "start" ? start.facts : undefined);
const terminalOf = ({ terminal }: Share): (Facts & { kind: "terminal" }) | undefined =>
  terminal?.facts.kind === "terminal" ? terminal.facts : undefined;

function stateOf(share: Share): keyof typeof stateNumbers {
  const terminal = terminalOf(share);
  if (terminal !== undefined) return terminal.success ? "completed" : "failed";
  return share.progress === undefined ? "started" : "running";
}

function hexOf(bytes: Uint8Array): string {
  return `\\x${Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("hex")}`;
}
