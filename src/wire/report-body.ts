import { fromJson, type JsonValue, toBinary } from "@bufbuild/protobuf";
import { InteractionEventSchema } from "../../gen/mcp/coordinator/v1/events_pb.js";
import type { Draft, EventKind, Instant, Json } from "../interaction/event.js";
import type { FieldFault } from "../platform/errors.js";
import { limits } from "../platform/limits.js";
import { draftFromProto } from "./event.js";
import { readDetail, sectionsOf } from "./report/detail.js";
import { Fields, isObject, type JsonObject } from "./report/fields.js";

/** Where the fields of a draft stood in the report, so that a fault of a field can be named as its sender knows it. */
export type Places = {
  /** In front of the path of every field that is not in `byField`. */
  readonly prefix: string;
  /** Path in the report by path in the contract, for example `complete.quality_score` → `result_data.quality_score`. */
  readonly byField: Readonly<Record<string, string>>;
};

/** One report of a JSON body: a draft, or what kept it from being one. Ids are empty where the report has none that can be read. */
export type ReadReport =
  | { readonly kind: "draft"; readonly draft: Draft; readonly places: Places }
  | { readonly kind: "faulty"; readonly eventId: string; readonly interactionId: string; readonly faults: readonly FieldFault[] };

/** What a way in knows about a report that the report may not say itself. */
export type ReportDefaults = {
  /** For reports without a time of their own: when the entry or row was made, or else when the report came. */
  readonly occurredAt?: Instant;
};

/**
 * Reads one report as HTTP bodies, Redis entries and rows of the shared table carry it. Pure and total: whatever the value is, it is a draft or has faults,
 * and each fault names its place in the report.
 * Forms, all of docs/http.md: `{"event": …}` with an InteractionEvent in the JSON mapping of Protocol Buffers, which loses nothing; the documented bodies with
 * `action`, their members at the top, under `data`, or in the section of the action. The same content gives the same draft in any of these forms.
 * A whole interaction without `action` is more than one event: see `readReports`.
 */
export function readReport(value: unknown, defaults: ReportDefaults = {}): ReadReport {
  if (!isObject(value)) return faulty([{ field: "", reason: "MALFORMED", description: "a report is a JSON object" }]);
  if (isDeeperThan(value, limits.jsonMaxDepth + 4)) {
    return faulty([{ field: "", reason: "TOO_DEEP", description: `at most ${limits.jsonMaxDepth} levels of nesting` }]);
  }
  return Object.hasOwn(value, "event") && !Object.hasOwn(value, "action") ? readEvent(value.event) : readBody(value, defaults);
}

/**
 * Like `readReport`, for bodies that may hold a whole interaction: the document with `request_data` and `result_data` and no `action` gives its start and its
 * end; everything else gives one report.     Shape: one or two reports.
 */
export function readReports(value: unknown, defaults: ReportDefaults = {}): readonly ReadReport[] {
  if (!isObject(value) || !isWhole(value)) return [readReport(value, defaults)];
  const { request_data, result_data, error_data, processing_data, event_id, ...shared } = value;
  const times = isObject(processing_data) ? processing_data : {};
  const start = { ...shared, action: "start", ...present({ request_data, timestamp: times.start_time }) };
  const kind = isPresent(result_data) ? "complete" : "error";
  const end = { ...shared, action: kind, ...present({ result_data, error_data, processing_data, event_id, timestamp: times.end_time }) };
  return [readReport(start, defaults), readReport(end, defaults)];
}

function present(members: { readonly [key: string]: Json | undefined }): JsonObject {
  return Object.fromEntries(Object.entries(members).filter((entry): entry is [string, Json] => isPresent(entry[1])));
}

/** Whether a body without `action` tells of the request and of what came of it. */
function isWhole(value: JsonObject): boolean {
  if (isPresent(value.action) || Object.hasOwn(value, "event")) return false;
  return isPresent(value.request_data) && (isPresent(value.result_data) || isPresent(value.error_data));
}

const isPresent = (value: Json | undefined): boolean => value !== undefined && value !== null;

function readEvent(event: Json | undefined): ReadReport {
  if (!isObject(event)) return faulty([{ field: "event", reason: "REQUIRED", description: "must be an object" }]);
  try {
    // The cast: a parsed JSON object is a JsonValue.
    const message = fromJson(InteractionEventSchema, event as JsonValue, {
      ignoreUnknownFields: true,
      recursionLimit: limits.decodeMaxDepth,
    });
    const draft = draftFromProto(message, toBinary(InteractionEventSchema, message).byteLength);
    return { kind: "draft", draft, places: { prefix: "event.", byField: {} } };
  } catch (thrown) {
    // Translated: protobuf-es says in its message what does not fit, and names the field.
    const description = thrown instanceof Error ? thrown.message : String(thrown);
    const named = /\.InteractionEvent\.(\w+)/.exec(description)?.[1];
    const field = named === undefined ? "event" : `event.${named}`;
    return faulty(
      [{ field, reason: "MALFORMED", description }],
      textOf(event.eventId ?? event.event_id),
      textOf(event.interactionId ?? event.interaction_id),
    );
  }
}

/** Members of a report that say what it is about, and never what happened. Only the report itself and `data` may hold them. */
const ownKeys: readonly string[] = ["action", "interaction_id", "mcp_id", "event_id", "sequence", "timestamp", "occurred_at"];

function readBody(body: JsonObject, defaults: ReportDefaults): ReadReport {
  const own = new Fields();
  const fields = new Fields();
  const { data } = body;
  const levels: readonly Level[] = [
    { members: body, prefix: "" },
    { members: isObject(data) ? data : {}, prefix: "data." },
  ];
  if (isPresent(data) && !isObject(data)) own.faults.push({ field: "data", reason: "MALFORMED", description: "must be an object" });
  for (const { members, prefix } of levels)
    own.add(
      partOf(members, (key) => ownKeys.includes(key)),
      prefix,
    );
  const kind = readKind(levels, own);
  if (kind !== undefined) addMembers(levels, kind, fields, own);
  const ids = { eventId: own.text("event_id", "event_id"), interactionId: own.text("interaction_id", "interaction_id") };
  const about = {
    ...ids,
    sequence: own.whole("sequence", "sequence"),
    mcpId: own.text("mcp_id", "mcp_id"),
    occurredAt: own.instant("timestamp", "occurred_at") ?? own.instant("occurred_at", "occurred_at") ?? defaults.occurredAt,
  };
  for (const [key, value] of Object.entries(own.rest() ?? {})) if (value !== null) fields.put(key, key, value);
  const draft: Draft = {
    ...about,
    parentInteractionId: fields.text("parent_interaction_id", "parent_interaction_id"),
    traceParent: fields.text("trace_parent", "trace_parent"),
    sessionId: fields.text("session_id", "session_id"),
    labels: readLabels(fields),
    detail: kind === undefined ? undefined : readDetail(kind, fields),
    encodedBytes: Buffer.byteLength(JSON.stringify(body)),
  };
  const faults = [...own.faults, ...fields.faults].slice(0, limits.violationMaxCount);
  if (faults.length > 0) return faulty(faults, ids.eventId, ids.interactionId);
  const inside = isObject(data) ? "data." : "";
  const unread = { interaction_id: `${inside}interaction_id`, occurred_at: `${inside}timestamp` };
  return { kind: "draft", draft, places: { prefix: "", byField: { ...unread, ...own.places, ...fields.places } } };
}

/** The report itself, and its `data`. */
type Level = { readonly members: JsonObject; readonly prefix: string };

const kindByWord: ReadonlyMap<string, EventKind> = new Map([
  ["start", "start"],
  ["progress", "progress"],
  ["complete", "complete"],
  ["error", "error"],
]);

/** The sections that tell the kind of a report without an action. */
const kindBySection: ReadonlyMap<string, EventKind> = new Map([
  ["request_data", "start"],
  ["request_info", "start"],
  ["progress_data", "progress"],
  ["result_data", "complete"],
  ["error_data", "error"],
]);

/** The documented spellings: `interaction_start`, `report_interaction_start`, `start`. Without an action, the sections tell if they agree. */
function readKind(levels: readonly Level[], own: Fields): EventKind | undefined {
  const action = own.text("action", "action");
  if (own.faults.some(({ field }) => field === "action" || field === "data.action")) return undefined;
  const place = own.places.action ?? "action";
  if (action !== "") {
    const kind = kindByWord.get(action.replace(/^(report_)?interaction_/, ""));
    if (kind === undefined) own.faults.push({ field: place, reason: "MALFORMED", description: actionRule });
    return kind;
  }
  const sections = [...kindBySection].filter(([name]) => levels.some(({ members }) => isObject(members[name])));
  const [only, second] = new Set(sections.map(([, kind]) => kind));
  if (only !== undefined && second === undefined) return only;
  own.faults.push({ field: place, reason: "REQUIRED", description: actionRule });
  return undefined;
}

const actionRule = 'must be "interaction_start", "interaction_progress", "interaction_complete" or "interaction_error"';

/** Puts what the report says of what happened into `fields`, from wherever it stands. Keys of the API are no part of a report and go nowhere. */
function addMembers(levels: readonly Level[], kind: EventKind, fields: Fields, own: Fields): void {
  const sections: readonly string[] = sectionsOf[kind];
  for (const { members, prefix } of levels) {
    const isOwn = (key: string) => ownKeys.includes(key) || key === "api_key" || (key === "data" && prefix === "");
    fields.add(
      partOf(members, (key) => !isOwn(key) && !sections.includes(key)),
      prefix,
    );
    for (const name of sections) {
      const section = members[name];
      if (isObject(section)) {
        fields.add(section, `${prefix}${name}.`);
        fields.places[payloadFieldOf[kind]] ??= prefix + name;
      } else if (isPresent(section)) own.faults.push({ field: prefix + name, reason: "MALFORMED", description: "must be an object" });
    }
  }
}

/** Where the contract holds what has no field of its own. */
const payloadFieldOf = {
  start: "start.request.json",
  progress: "progress.data.json",
  complete: "complete.result.json",
  error: "error.data.json",
} as const satisfies Record<EventKind, string>;

function partOf(members: JsonObject, isWanted: (key: string) => boolean): JsonObject {
  return Object.fromEntries(Object.entries(members).filter(([key]) => isWanted(key)));
}

/** Labels of their own, `mcp_type`, and short texts of `metadata`; what does not fit a label stays in `metadata`. */
function readLabels(fields: Fields): Record<string, string> {
  const labels = new Map(Object.entries(fields.labels()));
  const type = labels.has("mcp_type") ? undefined : fields.takeIf("mcp_type", "labels.mcp_type", isLabelValue);
  if (type !== undefined) labels.set("mcp_type", type);
  const metadata = fields.peek("metadata");
  if (metadata === undefined || !isObject(metadata.value)) return Object.fromEntries(labels);
  const rest: [string, Json][] = [];
  for (const [key, value] of Object.entries(metadata.value)) {
    const isLabel = key !== "" && Buffer.byteLength(key) <= limits.labelKeyMaxBytes && isLabelValue(value);
    if (isLabel && !labels.has(key) && labels.size < limits.labelMaxCount) labels.set(key, value);
    else rest.push([key, value]);
  }
  if (rest.length === 0) fields.drop("metadata");
  else fields.put("metadata", metadata.path, Object.fromEntries(rest));
  return Object.fromEntries(labels);
}

function isLabelValue(value: Json): value is string {
  return typeof value === "string" && Buffer.byteLength(value) <= limits.labelValueMaxBytes;
}

/** The path of a field of the contract in the report that it came from. */
export function placeOf(places: Places, field: string): string {
  return places.byField[field] ?? `${places.prefix}${field}`;
}

function isDeeperThan(value: Json, levels: number): boolean {
  if (typeof value !== "object" || value === null) return false;
  if (levels === 0) return true;
  return Object.values(value).some((member: Json) => isDeeperThan(member, levels - 1));
}

function faulty(faults: readonly FieldFault[], eventId = "", interactionId = ""): ReadReport {
  return { kind: "faulty", eventId, interactionId, faults };
}

const textOf = (value: unknown): string => (typeof value === "string" ? value : "");
