import type { FieldFault } from "../platform/errors.js";
import { limits } from "../platform/limits.js";
import { parseUuidV7 } from "../platform/uuid-v7.js";
import type { Detail, Draft, Json, Payload, ResourceUsage, Span } from "./event.js";

/** Collects faults, at most `limits.violationMaxCount`. */
type Report = (field: string, reason: string, description: string) => void;

/** What a text may not hold: NUL, which Postgres cannot store, and halves of surrogate pairs, which UTF-8 cannot. */
const suspicious = /[\0\ud800-\udfff]/;

/** 10 000-01-01: the first second that google.protobuf.Timestamp cannot express. */
const timestampEndSeconds = 253_402_300_800n;

/**
 * Every fault of an event that does not depend on time or on who sends it.
 * Shape: empty when there is none; at most `limits.violationMaxCount`, in the order of the contract's fields.
 * Source: the comments of events.proto.
 */
export function checkDraft(draft: Draft): readonly FieldFault[] {
  const faults: FieldFault[] = [];
  const report: Report = (field, reason, description) => {
    if (faults.length < limits.violationMaxCount) faults.push({ field, reason, description });
  };
  if (draft.eventId !== "" && parseUuidV7(draft.eventId) === undefined) {
    report("event_id", "MALFORMED", "must be a UUID version 7 in text form, or empty");
  }
  if (draft.sequence >= 2n ** 63n) report("sequence", "OUT_OF_RANGE", "must be below 2^63");
  checkText(draft.mcpId, "mcp_id", report);
  if (draft.interactionId === "") report("interaction_id", "REQUIRED", "must not be empty");
  checkText(draft.interactionId, "interaction_id", report);
  checkOccurredAt(draft, report);
  checkText(draft.parentInteractionId, "parent_interaction_id", report);
  checkText(draft.traceParent, "trace_parent", report);
  checkLabels(draft.labels, "labels", report);
  checkText(draft.sessionId, "session_id", report);
  if (draft.detail === undefined) report("detail", "REQUIRED", "one of start, progress, complete, error must be set");
  else checkDetail(draft.detail, report);
  return faults;
}

/** Faults of a set of labels; also used for the labels of Hello. */
export function checkLabels(labels: Readonly<Record<string, string>>, field: string, report: Report): void {
  let count = 0;
  for (const key in labels) {
    count += 1;
    if (key === "") report(field, "REQUIRED", "a label's key must not be empty");
    checkText(key, field, report, limits.labelKeyMaxBytes);
    const value = labels[key] ?? "";
    if (!isSound(value, limits.labelValueMaxBytes)) {
      checkText(value, `${field}[${JSON.stringify(key.slice(0, 64))}]`, report, limits.labelValueMaxBytes);
    }
    if (count > limits.labelMaxCount) {
      report(field, "TOO_MANY", `at most ${limits.labelMaxCount} labels`);
      return;
    }
  }
}

/** Whether a text needs no closer look: nearly always. */
const isSound = (text: string, maxBytes: number): boolean => text.length === 0 || (text.length * 3 <= maxBytes && !suspicious.test(text));

/** Faults of one short text. */
export function checkText(text: string, field: string, report: Report, maxBytes: number = limits.idMaxBytes): void {
  if (isSound(text, maxBytes)) return;
  if (text.length * 3 > maxBytes && Buffer.byteLength(text) > maxBytes) report(field, "TOO_LONG", `at most ${maxBytes} bytes of UTF-8`);
  if (!suspicious.test(text)) return;
  if (text.includes("\0")) report(field, "UNSUPPORTED_CHARACTER", "must not contain NUL");
  if (!text.isWellFormed()) report(field, "UNSUPPORTED_CHARACTER", "must not contain unpaired surrogates");
}

function checkOccurredAt(draft: Draft, report: Report): void {
  const at = draft.occurredAt;
  if (at === undefined) {
    report("occurred_at", "REQUIRED", 'must be set, for example "2026-01-31T12:00:00Z"');
  } else if (at.nanos < 0 || at.nanos > 999_999_999) {
    report("occurred_at", "MALFORMED", "nanos must be 0 to 999,999,999");
  } else if (at.seconds < 0n || (at.seconds === 0n && at.nanos === 0)) {
    report("occurred_at", "OUT_OF_RANGE", "must be after 1970-01-01T00:00:00Z");
  } else if (at.seconds >= timestampEndSeconds) {
    report("occurred_at", "OUT_OF_RANGE", "must be before the year 10000");
  }
}

function checkDetail(detail: Detail, report: Report): void {
  switch (detail.kind) {
    case "start":
      checkText(detail.requestType, "start.request_type", report);
      checkText(detail.userId, "start.user_id", report);
      checkText(detail.qualityLevel, "start.quality_level", report);
      checkText(detail.privacyLevel, "start.privacy_level", report);
      if (detail.parameters !== undefined) checkJson(detail.parameters, "start.parameters", 1, report);
      checkText(detail.routingDecisionId, "start.routing_decision_id", report);
      checkPayload(detail.payload, "start.request", report);
      return;
    case "progress":
      checkShare(detail.fraction, "progress.fraction", report);
      checkText(detail.step, "progress.step", report);
      checkText(detail.message, "progress.message", report, limits.messageMaxBytes);
      checkUsage(detail.resourceUsage, "progress.resource_usage", report);
      checkPayload(detail.payload, "progress.data", report);
      return;
    case "complete":
      checkSpan(detail.processingTime, "complete.processing_time", report);
      checkShare(detail.qualityScore, "complete.quality_score", report);
      checkShare(detail.confidence, "complete.confidence", report);
      checkText(detail.adapterUsed, "complete.adapter_used", report);
      checkSteps(detail.stepsExecuted, report);
      checkUsage(detail.resourceUsage, "complete.resource_usage", report);
      checkPayload(detail.payload, "complete.result", report);
      return;
    case "error":
      checkText(detail.errorType, "error.error_type", report);
      checkText(detail.errorCode, "error.error_code", report);
      checkText(detail.errorMessage, "error.error_message", report, limits.messageMaxBytes);
      checkSpan(detail.processingTime, "error.processing_time", report);
      checkUsage(detail.resourceUsage, "error.resource_usage", report);
      checkPayload(detail.payload, "error.data", report);
      return;
  }
}

function checkShare(value: number | undefined, field: string, report: Report): void {
  if (value === undefined) return;
  if (!Number.isFinite(value)) report(field, "NOT_FINITE", "must be a finite number");
  else if (value < 0 || value > 1) report(field, "OUT_OF_RANGE", "must be 0 to 1");
}

/** A span must be one that google.protobuf.Duration can express, and not negative. */
function checkSpan(span: Span | undefined, field: string, report: Report): void {
  if (span === undefined) return;
  if (span.seconds < 0n || span.nanos < 0) report(field, "OUT_OF_RANGE", "must not be negative");
  else if (span.nanos > 999_999_999 || span.seconds > 315_576_000_000n) report(field, "MALFORMED", "is not a valid Duration");
}

function checkUsage(usage: ResourceUsage | undefined, field: string, report: Report): void {
  if (usage === undefined) return;
  checkAmount(usage.cpuPercent, `${field}.cpu_percent`, report);
  checkAmount(usage.memoryBytes, `${field}.memory_bytes`, report);
  checkAmount(usage.gpuPercent, `${field}.gpu_percent`, report);
}

function checkAmount(value: number | undefined, field: string, report: Report): void {
  if (value === undefined) return;
  if (!Number.isFinite(value)) report(field, "NOT_FINITE", "must be a finite number");
  else if (value < 0) report(field, "OUT_OF_RANGE", "must not be negative");
}

function checkSteps(steps: readonly string[], report: Report): void {
  if (steps.length > limits.stepMaxCount) report("complete.steps_executed", "TOO_MANY", `at most ${limits.stepMaxCount} steps`);
  for (const step of steps.slice(0, limits.stepMaxCount)) checkText(step, "complete.steps_executed", report);
}

function checkPayload(payload: Payload | undefined, field: string, report: Report): void {
  if (payload === undefined) return;
  checkText(payload.contentType, `${field}.content_type`, report);
  if (payload.kind === "json") checkJson(payload.json, `${field}.json`, 1, report);
}

/** Stops at the first fault of a subtree that is too deep, so that hostile nesting costs no more than `limits.jsonMaxDepth` calls. */
function checkJson(value: Json, field: string, depth: number, report: Report): void {
  if (typeof value === "string") {
    checkText(value, field, report, limits.eventMaxBytes);
  } else if (typeof value === "number") {
    if (!Number.isFinite(value)) report(field, "NOT_FINITE", "JSON has no NaN and no infinity");
  } else if (typeof value === "object" && value !== null) {
    if (depth > limits.jsonMaxDepth) {
      report(field, "TOO_DEEP", `at most ${limits.jsonMaxDepth} levels of nesting`);
    } else if (Array.isArray(value)) {
      for (const item of value) checkJson(item, field, depth + 1, report);
    } else {
      checkMembers(value as { readonly [key: string]: Json }, field, depth, report);
    }
  }
}

function checkMembers(value: { readonly [key: string]: Json }, field: string, depth: number, report: Report): void {
  for (const [key, member] of Object.entries(value)) {
    checkText(key, field, report, limits.eventMaxBytes);
    checkJson(member, field, depth + 1, report);
  }
}
