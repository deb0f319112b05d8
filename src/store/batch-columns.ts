import type { Facts, NewEvent } from "../interaction/event.js";
import { kindNumbers, sourceNumbers } from "./tables.js";

/** A batch as the parameters of the append statement. */
export type BatchColumns = {
  /** Text of one array literal per parameter of the statement, in its order. */
  readonly parameters: readonly string[];
  /** The events in the order of the statement's ordinals: by event_id, so that the greater ordinal is the greater id. */
  readonly ordered: readonly NewEvent[];
};

/** Turns rows into array literals by concatenation: about 2.3 µs per event, see SPEC.md, decision 1. */
export function columnsOf(events: readonly NewEvent[]): BatchColumns {
  const ordered = isAscending(events) ? events : [...events].sort((a, b) => (a.eventId < b.eventId ? -1 : 1));
  const groups = numberInteractions(ordered);
  const claims = new Claims();
  const text: Record<Column, string> = { ...emptyColumns };
  let separator = "{";
  for (const event of ordered) {
    text.eventId += separator + event.eventId;
    text.group += `${separator}${groups.get(interactionKey(event))}`;
    text.claim += `${separator}${claims.add(event)}`;
    text.mcpId += separator + quoted(event.mcpId);
    text.interactionId += separator + quoted(event.interactionId);
    text.kind += `${separator}${kindNumbers[event.kind]}`;
    text.source += `${separator}${sourceNumbers[event.source]}`;
    text.sequence += `${separator}${event.sequence}`;
    text.occurredAtUs += `${separator}${event.occurredAtUs}`;
    text.digest += separator + event.digest;
    // JSON text holds no control characters, so JSON's quoting of it is that of an array literal too, and native code.
    text.body += separator + JSON.stringify(event.body);
    text.raw += separator + (event.raw === undefined ? "NULL" : `"\\\\x${hexOf(event.raw)}"`);
    addFacts(text, separator, event.facts);
    separator = ",";
  }
  return { parameters: [...columns.map((column) => `${text[column]}}`), ...claims.parameters()], ordered };
}

/** Columns of an event, in the order of the statement's parameters. Three columns of claims follow. */
const columns = [
  "eventId",
  "group",
  "claim",
  "mcpId",
  "interactionId",
  "kind",
  "source",
  "sequence",
  "occurredAtUs",
  "digest",
  "body",
  "raw",
  "requestType",
  "sessionId",
  "userPseudonym",
  "success",
  "durationMs",
  "qualityScore",
  "errorCode",
  "adapterUsed",
] as const;

type Column = (typeof columns)[number];

const emptyColumns: Readonly<Record<Column, string>> = {
  eventId: "",
  group: "",
  claim: "",
  mcpId: "",
  interactionId: "",
  kind: "",
  source: "",
  sequence: "",
  occurredAtUs: "",
  digest: "",
  body: "",
  raw: "",
  requestType: "",
  sessionId: "",
  userPseudonym: "",
  success: "",
  durationMs: "",
  qualityScore: "",
  errorCode: "",
  adapterUsed: "",
};

function addFacts(text: Record<Column, string>, separator: string, facts: Facts): void {
  const start = facts.kind === "start" ? facts : undefined;
  const terminal = facts.kind === "terminal" ? facts : undefined;
  text.requestType += separator + (start === undefined ? "NULL" : quoted(start.requestType));
  text.sessionId += separator + (start === undefined ? "NULL" : quoted(start.sessionId));
  text.userPseudonym += separator + (start === undefined ? "NULL" : quoted(start.userPseudonym));
  text.success += separator + (terminal === undefined ? "NULL" : terminal.success ? "t" : "f");
  text.durationMs += `${separator}${terminal?.durationMs ?? "NULL"}`;
  text.qualityScore += `${separator}${terminal?.qualityScore ?? "NULL"}`;
  text.errorCode += separator + (terminal === undefined ? "NULL" : quoted(terminal.errorCode));
  text.adapterUsed += separator + (terminal === undefined ? "NULL" : quoted(terminal.adapterUsed));
}

/** The distinct (producer, epoch) pairs of a batch, with the greatest sequence of each. */
class Claims {
  readonly #ordinals = new Map<string, number>();
  readonly #claims: { readonly producerId: string; readonly epoch: number; lastSequence: bigint }[] = [];

  /** Ordinal of the event's claim, from 1. */
  add(event: NewEvent): number {
    const key = `${event.epoch} ${event.producerId}`;
    const known = this.#ordinals.get(key);
    if (known === undefined) {
      this.#claims.push({ producerId: event.producerId, epoch: event.epoch, lastSequence: event.sequence });
      this.#ordinals.set(key, this.#claims.length);
      return this.#claims.length;
    }
    const claim = this.#claims[known - 1];
    if (claim !== undefined && event.sequence > claim.lastSequence) claim.lastSequence = event.sequence;
    return known;
  }

  parameters(): readonly string[] {
    return [
      `{${this.#claims.map((claim) => quoted(claim.producerId)).join(",")}}`,
      `{${this.#claims.map((claim) => claim.epoch).join(",")}}`,
      `{${this.#claims.map((claim) => claim.lastSequence).join(",")}}`,
    ];
  }
}

/** Ordinals of the batch's interactions in one order that all lanes share, so that two batches lock rows in the same order. */
function numberInteractions(events: readonly NewEvent[]): ReadonlyMap<string, number> {
  const numbers = new Map<string, number>();
  for (const event of events) numbers.set(interactionKey(event), 0);
  let count = 0;
  for (const key of [...numbers.keys()].sort()) numbers.set(key, count++);
  return numbers;
}

const interactionKey = (event: NewEvent): string => `${event.mcpId}\0${event.interactionId}`;

function isAscending(events: readonly NewEvent[]): boolean {
  return events.every((event, index) => index === 0 || (events[index - 1]?.eventId ?? "") < event.eventId);
}

function quoted(text: string): string {
  return /["\\]/.test(text) ? `"${text.replaceAll(/["\\]/g, "\\$&")}"` : `"${text}"`;
}

function hexOf(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("hex");
}
