import type { Detail, EventKind, Json, Payload, Span } from "../../interaction/event.js";
import { unreachable } from "../../platform/assert.js";
import { type Fields, isObject, type JsonObject } from "./fields.js";

/** The objects of the documents that hold what an event of a kind says. Their members are as good as members of the report itself. */
export const sectionsOf = {
  start: ["request_data", "request_info"],
  progress: ["progress_data"],
  complete: ["result_data", "processing_data"],
  error: ["error_data", "processing_data"],
} as const satisfies Record<EventKind, readonly string[]>;

/** The detail of an event of a kind. What has no field of its own becomes the payload. */
export function readDetail(kind: EventKind, fields: Fields): Detail {
  switch (kind) {
    case "start":
      return readStart(fields);
    case "progress":
      return readProgress(fields);
    case "complete":
      return readComplete(fields);
    case "error":
      return readError(fields);
    default:
      return unreachable(kind);
  }
}

function readStart(fields: Fields): Detail {
  const parameters = fields.object("parameters", "start.parameters");
  const level = (key: "quality_level" | "privacy_level") => fields.text(key, `start.${key}`) || textIn(parameters, key);
  const levels = { qualityLevel: level("quality_level"), privacyLevel: level("privacy_level") };
  return {
    kind: "start",
    requestType: fields.text("request_type", "start.request_type"),
    userId: fields.text("user_id", "start.user_id", true),
    inputBytes: fields.whole("input_size", "start.input_bytes") || fields.whole("input_bytes", "start.input_bytes"),
    ...levels,
    parameters,
    routingDecisionId: fields.text("routing_decision_id", "start.routing_decision_id"),
    payload: payloadOf(fields),
  };
}

/** The documents leave open what progress says: what does not fit a field is content. */
function readProgress(fields: Fields): Detail {
  const fraction = fields.takeIf("fraction", "progress.fraction", isShare) ?? fields.takeIf("progress", "progress.fraction", isShare);
  return {
    kind: "progress",
    fraction: fraction ?? 0,
    step: fields.takeIf("step", "progress.step", isText) ?? "",
    message: fields.takeIf("message", "progress.message", isText) ?? "",
    resourceUsage: fields.usage("progress.resource_usage"),
    payload: payloadOf(fields),
  };
}

function readComplete(fields: Fields): Detail {
  for (const key of ["error_code", "error_message"]) if (fields.peek(key)?.value === null) fields.drop(key);
  return {
    kind: "complete",
    success: fields.boolean("success", "complete.success"),
    processingTime: readProcessingTime(fields, "complete.processing_time"),
    outputBytes: fields.whole("output_size", "complete.output_bytes") || fields.whole("output_bytes", "complete.output_bytes"),
    qualityScore: fields.number("quality_score", "complete.quality_score"),
    confidence: fields.number("confidence", "complete.confidence"),
    adapterUsed: fields.text("adapter_used", "complete.adapter_used"),
    stepsExecuted: fields.texts("steps_executed", "complete.steps_executed"),
    resourceUsage: fields.usage("complete.resource_usage"),
    payload: payloadOf(fields),
  };
}

function readError(fields: Fields): Detail {
  return {
    kind: "error",
    errorType: fields.text("error_type", "error.error_type"),
    errorCode: fields.text("error_code", "error.error_code", true),
    errorMessage: fields.text("error_message", "error.error_message"),
    retryable: fields.boolean("retryable", "error.retryable") ?? false,
    processingTime: readProcessingTime(fields, "error.processing_time"),
    resourceUsage: fields.usage("error.resource_usage"),
    payload: payloadOf(fields),
  };
}

/**
 * The reporter guide's monitor puts the time into `performance_metrics`. That object stays in the payload as it is: its memory and processor figures are
 * those of the whole machine, and the memory may be negative, so they are no resource usage of an interaction.
 */
function readProcessingTime(fields: Fields, field: string): Span | undefined {
  const metrics = fields.peek("performance_metrics");
  if (fields.peek("processing_time")?.value === null) fields.drop("processing_time");
  if (fields.peek("processing_time") === undefined && isObject(metrics?.value)) {
    const time = metrics.value.processing_time;
    if (time !== undefined) fields.put("processing_time", `${metrics.path}.processing_time`, time);
  }
  return fields.span("processing_time", field);
}

function payloadOf(fields: Fields): Payload | undefined {
  const rest = fields.rest();
  return rest === undefined ? undefined : { kind: "json", json: rest, contentType: "" };
}

/** Parameters stay whole; what the contract has fields for is read there too. */
function textIn(parameters: JsonObject | undefined, key: string): string {
  const value = parameters?.[key];
  return typeof value === "string" ? value : "";
}

const isText = (value: Json): value is string => typeof value === "string";
const isShare = (value: Json): value is number => typeof value === "number" && value >= 0 && value <= 1;
