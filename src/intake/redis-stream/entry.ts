import type { Instant } from "../../interaction/event.js";
import { entryFields, verdictKeyPrefix } from "../../interaction/redis-contract.js";
import type { FieldFault } from "../../platform/errors.js";
import { limits } from "../../platform/limits.js";
import { readEventBytes } from "../../wire/event-bytes.js";
import { type ReadReport, type ReportDefaults, readReport } from "../../wire/report-body.js";

/** One field of an entry, as Redis keeps it: any name, any bytes. A name may stand more than once. */
export type EntryField = { readonly name: string; readonly value: Uint8Array };

/** What an entry says. */
export type ReadEntry = {
  readonly report: ReadReport;
  /** Undefined when the entry has none. */
  readonly apiKey: string | undefined;
  /** The stream that waits for the verdict; undefined when nobody does, or when it may not be written to, which is a fault then. */
  readonly replyTo: string | undefined;
};

/**
 * Reads the fields of an entry by the contract of docs/redis.md. Pure and total: whatever they are, the report is a draft or has faults.
 * Forms: `event`, an encoded InteractionEvent or its JSON; or `report`, a JSON object that `readReport` knows; or neither: then all other fields are the
 * members of such an object. Beside `event` or `report`, fields that are not ours are ignored. `addedAt` is the time of a report that has none of its own.
 * Bound: `redisEntryMaxBytes` over all names and values.
 */
export function readEntry(stream: string, fields: readonly EntryField[], addedAt?: Instant): ReadEntry {
  const faults: FieldFault[] = [];
  const named = new Map<string, Uint8Array>();
  for (const { name, value } of fields) {
    if (named.has(name)) faults.push({ field: shown(name), reason: "REPEATED", description: "stands more than once" });
    named.set(name, value);
  }
  const bytes = entryBytes(fields);
  if (bytes > limits.redisEntryMaxBytes) {
    const description = `the entry has ${bytes} bytes; at most ${limits.redisEntryMaxBytes} are allowed`;
    faults.unshift({ field: "entry", reason: "TOO_LARGE", description });
  }
  const replyTo = readReplyTo(stream, named, faults);
  const apiKey = readText(named, entryFields.apiKey, faults);
  const defaults: ReportDefaults = addedAt === undefined ? {} : { occurredAt: addedAt };
  const report = faults.length === 0 ? readForm(named, defaults) : undefined;
  return { report: report ?? faulty(faults), apiKey, replyTo };
}

/** Size of an entry: all names and values.     Units: bytes. */
export function entryBytes(fields: readonly EntryField[]): number {
  return fields.reduce((sum, { name, value }) => sum + Buffer.byteLength(name) + value.byteLength, 0);
}

function readReplyTo(stream: string, named: ReadonlyMap<string, Uint8Array>, faults: FieldFault[]): string | undefined {
  const replyTo = readText(named, entryFields.replyTo, faults);
  if (replyTo === undefined) return undefined;
  const prefix = verdictKeyPrefix(stream);
  if (replyTo.startsWith(prefix) && replyTo.length > prefix.length && Buffer.byteLength(replyTo) <= limits.idMaxBytes) return replyTo;
  const description = `must begin with "${prefix}", and be at most ${limits.idMaxBytes} bytes long`;
  faults.push({ field: entryFields.replyTo, reason: "NOT_ALLOWED", description });
  return undefined;
}

function readForm(named: ReadonlyMap<string, Uint8Array>, defaults: ReportDefaults): ReadReport {
  const event = named.get(entryFields.event);
  const report = named.get(entryFields.report);
  if (event !== undefined && report !== undefined) {
    return faulty([{ field: entryFields.report, reason: "AMBIGUOUS", description: "`event` is there too; give one of them" }]);
  }
  if (event !== undefined && event[0] !== openingBrace) return readEventBytes(event);
  if (event !== undefined) return readJson(entryFields.event, event, (value) => readReport({ event: value }));
  if (report !== undefined) return readJson(entryFields.report, report, (value) => readReport(value, defaults));
  return readFlat(named, defaults);
}

/** First byte of a JSON object. No encoded InteractionEvent begins with it: it would open a group, which proto3 does not have. */
const openingBrace = 0x7b;

function readJson(field: string, bytes: Uint8Array, read: (value: unknown) => ReadReport): ReadReport {
  const parsed = parseJson(bytes);
  if (parsed.kind === "faulty") return faulty([{ field, reason: "MALFORMED", description: parsed.description }]);
  if (typeof parsed.value === "object" && parsed.value !== null && !Array.isArray(parsed.value)) return read(parsed.value);
  return faulty([{ field, reason: "MALFORMED", description: "must be one JSON object; several reports are several entries" }]);
}

/** The fields themselves are the report: the form of the documented `xadd(stream, interaction_data)`. */
function readFlat(named: ReadonlyMap<string, Uint8Array>, defaults: ReportDefaults): ReadReport {
  const faults: FieldFault[] = [];
  const members: [string, unknown][] = [];
  for (const name of named.keys()) {
    if (name === entryFields.apiKey || name === entryFields.replyTo) continue;
    const text = readText(named, name, faults);
    if (text !== undefined) members.push([name, flatValue(name, text)]);
  }
  if (faults.length > 0) return faulty(faults);
  if (members.length > 0) return readReport(Object.fromEntries(members), defaults);
  const description = "an entry has `event`, `report`, or the fields of a report";
  return faulty([{ field: entryFields.report, reason: "REQUIRED", description }]);
}

/** Redis knows text only. Members that documents show as numbers or truth values become such; text that is a JSON object or array becomes that. */
function flatValue(name: string, text: string): unknown {
  const isStructure = /^\s*[[{]/.test(text);
  if (!isStructure && !scalarMembers.has(name)) return text;
  try {
    const value: unknown = JSON.parse(text);
    return isStructure || typeof value === "number" || typeof value === "boolean" ? value : text;
  } catch {
    return text; // Translated: what is no JSON is text, and the reader of the report says whether that will do.
  }
}

/** Members of documented reports that are numbers or truth values; names and ids stay text even if they look like numbers. */
const scalarMembers: ReadonlySet<string> = new Set([
  "timestamp",
  "success",
  "progress",
  "processing_time",
  "duration",
  "duration_ms",
  "quality_score",
  "confidence",
  "retryable",
  "input_size",
  "output_size",
]);

function readText(named: ReadonlyMap<string, Uint8Array>, name: string, faults: FieldFault[]): string | undefined {
  const bytes = named.get(name);
  if (bytes === undefined) return undefined;
  try {
    return utf8.decode(bytes);
  } catch {
    // Translated: bytes that are no UTF-8 are a fault of their field.
    faults.push({ field: shown(name), reason: "NOT_UTF8", description: "must be UTF-8" });
    return undefined;
  }
}

type Parsed = { readonly kind: "parsed"; readonly value: unknown } | { readonly kind: "faulty"; readonly description: string };

function parseJson(bytes: Uint8Array): Parsed {
  try {
    return { kind: "parsed", value: JSON.parse(utf8.decode(bytes)) };
  } catch (thrown) {
    // Translated. The message of JSON.parse quotes a piece of the text, which helps whoever reads the dead letter and is not longer than a line.
    return { kind: "faulty", description: `is no JSON: ${thrown instanceof Error ? thrown.message : String(thrown)}` };
  }
}

const utf8 = new TextDecoder("utf-8", { fatal: true });

/** A stranger's name, short enough to be shown. */
const shown = (name: string): string => (name.length <= 64 ? name : `${name.slice(0, 61)}...`);

function faulty(faults: readonly FieldFault[]): ReadReport {
  return { kind: "faulty", eventId: "", interactionId: "", faults: faults.slice(0, limits.violationMaxCount) };
}
