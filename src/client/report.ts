import type { Detail, Draft, EventKind, Json } from "../interaction/event.js";
import { unreachable } from "../platform/assert.js";
import type { FieldFault } from "../platform/errors.js";
import { isObject, ReportValues } from "./report-values.js";
import { timestampOf } from "./wire/time.js";

/** What any report may say about its interaction. */
export type ReportContext = {
  readonly parentInteractionId?: string;
  /** W3C traceparent. */
  readonly traceParent?: string;
  /** The end user's session. */
  readonly sessionId?: string;
  readonly labels?: Readonly<Record<string, string>>;
  /** When it happened.     Units: ms since the Unix epoch. Default: now. */
  readonly occurredAtMs?: number;
};

/** Resources used. `resourceUsage` of withInteraction is that of the whole process; see Usage in measure.ts. */
export type ReportedUsage = { readonly cpuPercent?: number; readonly memoryBytes?: number; readonly gpuPercent?: number };

/** Content that is stored and given back, never interpreted: any JSON value, or bytes. */
export type ReportedContent = Json | Uint8Array;

/** An interaction begins. Documented names in snake_case, such as `user_id` and `input_size`, are understood too. */
export type StartReport = ReportContext & {
  /** The routing class, for example "ocr_processing". */
  readonly requestType?: string;
  /** Who asked; only a keyed hash of it is stored. */
  readonly userId?: string;
  /** Unit: bytes. */
  readonly inputSize?: number;
  readonly qualityLevel?: string;
  readonly privacyLevel?: string;
  readonly parameters?: { readonly [key: string]: Json };
  /** The decision of the router that sent the request here. */
  readonly routingDecisionId?: string;
  readonly request?: ReportedContent;
};

/** It is under way. A full spool drops these first. */
export type ProgressReport = ReportContext & {
  /** 0 to 1. */
  readonly fraction?: number;
  readonly step?: string;
  readonly message?: string;
  readonly resourceUsage?: ReportedUsage;
  readonly data?: ReportedContent;
};

/** It ended with a result. */
export type CompleteReport = ReportContext & {
  /** False: a result came, and the interaction failed all the same. Default true. */
  readonly success?: boolean;
  readonly processingTimeMs?: number;
  /** Unit: bytes. */
  readonly outputSize?: number;
  /** 0 to 1. */
  readonly qualityScore?: number;
  /** 0 to 1. */
  readonly confidence?: number;
  readonly adapterUsed?: string;
  readonly stepsExecuted?: readonly string[];
  readonly resourceUsage?: ReportedUsage;
  readonly result?: ReportedContent;
};

/** It ended with an error. `errorOf` makes one from what was thrown. */
export type ErrorReport = ReportContext & {
  readonly errorType?: string;
  readonly errorCode?: string;
  readonly errorMessage?: string;
  readonly retryable?: boolean;
  readonly processingTimeMs?: number;
  readonly resourceUsage?: ReportedUsage;
  readonly data?: ReportedContent;
};

/** What the reporter adds to every report. Labels of the report win. */
export type ReportIdentity = Pick<Draft, "eventId" | "mcpId" | "interactionId" | "labels">;

/** A report as a draft, and what of it could not be read. */
export type DraftedReport = { readonly draft: Draft; readonly faults: readonly FieldFault[] };

const contextNames = ["parentInteractionId", "traceParent", "sessionId", "labels", "occurredAtMs"];

/** Fields by kind; the last is where content goes. */
const fieldNames = {
  start: ["requestType", "userId", "inputSize", "qualityLevel", "privacyLevel", "parameters", "routingDecisionId", "request"],
  progress: ["fraction", "step", "message", "resourceUsage", "data"],
  complete: [
    ...["success", "processingTimeMs", "outputSize", "qualityScore", "confidence", "adapterUsed", "stepsExecuted", "resourceUsage"],
    "result",
  ],
  error: ["errorType", "errorCode", "errorMessage", "retryable", "processingTimeMs", "resourceUsage", "data"],
} as const satisfies Record<EventKind, readonly string[]>;

/** By kind: every spelling of a field, and the field. */
const spellings = Object.fromEntries(
  Object.entries(fieldNames).map(([kind, names]) => [
    kind,
    new Map([...contextNames, ...names].flatMap((name) => [[name, name] as const, [snakeCase(name), name] as const])),
  ]),
) as unknown as Readonly<Record<EventKind, ReadonlyMap<string, string>>>; // the keys are those of fieldNames

/**
 * Reads a report. Total: whatever is given, there is a draft; what is wrong with it is in `faults` and in checkDraft. Members without a field go into the
 * content, as documents of the reporter have them. Units: `nowMs` is wall time.
 */
export function draftOf(kind: EventKind, identity: ReportIdentity, report: unknown, nowMs: number): DraftedReport {
  const given: Record<string, unknown> = {};
  let rest: Record<string, unknown> | undefined;
  const shape: FieldFault[] = [];
  if (isObject(report)) rest = sortMembers(kind, report, given);
  else if (report !== undefined && report !== null) shape.push({ field: kind, reason: "MALFORMED", description: "must be an object" });
  const values = new ReportValues(given);
  const context = {
    parentInteractionId: values.text("parentInteractionId"),
    traceParent: values.text("traceParent"),
    sessionId: values.text("sessionId"),
    labels: { ...identity.labels, ...values.labels("labels") },
  };
  const occurredAtMs = values.number("occurredAtMs") ?? nowMs;
  const hasTime = Number.isFinite(occurredAtMs) && Math.abs(occurredAtMs) < 1e15;
  const detail = detailOf(kind, values, rest);
  const draft: Draft = {
    ...{ ...identity, sequence: 0n, ...context },
    // A time that no timestamp can express is left to the check, which misses it.
    ...{ occurredAt: hasTime ? timestampOf(occurredAtMs) : undefined, detail, encodedBytes: 0 },
  };
  return { draft, faults: shape.length === 0 ? values.faults : shape };
}

/** Puts members under the names of their fields; gives those that have none. */
function sortMembers(
  kind: EventKind,
  report: Readonly<Record<string, unknown>>,
  given: Record<string, unknown>,
): Record<string, unknown> | undefined {
  let rest: Record<string, unknown> | undefined;
  for (const [key, value] of Object.entries(report)) {
    if (value === undefined) continue;
    const name = spellings[kind].get(key);
    if (name !== undefined) given[name] = value;
    // The documents give seconds.
    else if (key === "processing_time" && typeof value === "number" && kind !== "start") given.processingTimeMs = value * 1_000;
    else {
      rest ??= {};
      rest[key] = value;
    }
  }
  return rest;
}

function detailOf(kind: EventKind, values: ReportValues, rest: Record<string, unknown> | undefined): Detail {
  switch (kind) {
    case "start":
      return {
        kind,
        requestType: values.text("requestType"),
        userId: values.text("userId"),
        inputBytes: values.size("inputSize"),
        qualityLevel: values.text("qualityLevel"),
        privacyLevel: values.text("privacyLevel"),
        parameters: values.object("parameters"),
        routingDecisionId: values.text("routingDecisionId"),
        payload: values.payload("request", rest),
      };
    case "progress":
      return {
        kind,
        fraction: values.number("fraction") ?? 0,
        step: values.text("step"),
        message: values.text("message"),
        resourceUsage: values.usage("resourceUsage"),
        payload: values.payload("data", rest),
      };
    case "complete":
      return {
        kind,
        success: values.boolean("success"),
        processingTime: values.span("processingTimeMs"),
        outputBytes: values.size("outputSize"),
        qualityScore: values.number("qualityScore"),
        confidence: values.number("confidence"),
        adapterUsed: values.text("adapterUsed"),
        stepsExecuted: values.texts("stepsExecuted"),
        resourceUsage: values.usage("resourceUsage"),
        payload: values.payload("result", rest),
      };
    case "error":
      return {
        kind,
        errorType: values.text("errorType"),
        errorCode: values.text("errorCode"),
        errorMessage: values.text("errorMessage"),
        retryable: values.boolean("retryable") ?? false,
        processingTime: values.span("processingTimeMs"),
        resourceUsage: values.usage("resourceUsage"),
        payload: values.payload("data", rest),
      };
    default:
      return unreachable(kind);
  }
}

function snakeCase(name: string): string {
  return name.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}
