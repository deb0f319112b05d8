import { hash } from "node:crypto";
import type { Detail, Draft, Json, Payload, ResourceUsage, Span } from "./event.js";

/**
 * The content of an event as JSON text, the same for the same content: members in a fixed order, maps and objects by ascending key, absent fields
 * left out. Names are those of events.proto; 64-bit integers and spans are strings, as ProtoJSON has them. Raw bytes are not part of it: the text
 * says only how many there are.
 * `pseudonym` takes the place of a user id. `draft` has passed checkDraft.
 */
export function contentText(draft: Draft, pseudonym: (userId: string) => string): string {
  const object = new ObjectText();
  const nanosBelowMicros = (draft.occurredAt?.nanos ?? 0) % 1000;
  if (nanosBelowMicros !== 0) object.number("ns", nanosBelowMicros);
  object.text("parent_interaction_id", draft.parentInteractionId);
  object.text("trace_parent", draft.traceParent);
  if (hasMembers(draft.labels)) object.raw("labels", canonicalJson(draft.labels));
  object.text("session_id", draft.sessionId);
  if (draft.detail !== undefined) object.raw(draft.detail.kind, detailText(draft.detail, pseudonym));
  return object.end();
}

/**
 * SHA-256 of what makes two events the same: interaction, time, content and raw bytes, but neither id nor sequence.
 * Shape: 64 hex digits. The first 32 are the digest that is stored.
 */
export function contentHash(interactionId: string, occurredAtUs: number, content: string, raw: Uint8Array | undefined): string {
  const tail = raw === undefined ? "" : hash("sha256", raw, "hex");
  return hash("sha256", `${interactionId}\0${occurredAtUs}\0${content}\0${tail}`, "hex");
}

/** The content with labels of the session added, which are kept apart so that they do not change what the event's own content is. */
export function stampContent(content: string, stampText: string): string {
  if (stampText === "") return content;
  return content === "{}" ? `{"stamped":${stampText}}` : `${content.slice(0, -1)},"stamped":${stampText}}`;
}

/** The raw bytes of the event's payload, if it has any. */
export function rawOf(detail: Detail | undefined): Uint8Array | undefined {
  return detail?.payload?.kind === "raw" ? detail.payload.raw : undefined;
}

/** JSON text with the members of every object by ascending key. Depth is bounded by checkDraft. */
export function canonicalJson(value: Json): string {
  if (typeof value !== "object" || value === null) return JSON.stringify(value);
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(",")}]`;
  const object = value as { readonly [key: string]: Json };
  const keys = Object.keys(object);
  if (keys.length > 1) keys.sort();
  let text = "";
  for (const key of keys) text += `${text === "" ? "" : ","}${JSON.stringify(key)}:${canonicalJson(object[key] ?? null)}`;
  return `{${text}}`;
}

function hasMembers(object: object): boolean {
  for (const _ in object) return true;
  return false;
}

/** Builds the text of one JSON object, member by member; absent values leave nothing. Keys are ours and need no escaping. */
class ObjectText {
  #text = "";

  raw(key: string, json: string): void {
    this.#text += this.#text === "" ? `"${key}":${json}` : `,"${key}":${json}`;
  }
  text(key: string, value: string): void {
    if (value !== "") this.raw(key, JSON.stringify(value));
  }
  number(key: string, value: number | undefined): void {
    if (value !== undefined) this.raw(key, JSON.stringify(value));
  }
  integer(key: string, value: bigint): void {
    if (value !== 0n) this.raw(key, `"${value}"`);
  }
  span(key: string, value: Span | undefined): void {
    if (value !== undefined) this.raw(key, `"${value.seconds}.${value.nanos.toString().padStart(9, "0")}s"`);
  }
  end(): string {
    return `{${this.#text}}`;
  }
}

function detailText(detail: Detail, pseudonym: (userId: string) => string): string {
  const object = new ObjectText();
  switch (detail.kind) {
    case "start":
      object.text("request_type", detail.requestType);
      if (detail.userId !== "") object.text("user_id", pseudonym(detail.userId));
      object.integer("input_bytes", detail.inputBytes);
      object.text("quality_level", detail.qualityLevel);
      object.text("privacy_level", detail.privacyLevel);
      if (detail.parameters !== undefined) object.raw("parameters", canonicalJson(detail.parameters));
      object.text("routing_decision_id", detail.routingDecisionId);
      addPayload(object, "request", detail.payload);
      break;
    case "progress":
      if (detail.fraction !== 0) object.number("fraction", detail.fraction);
      object.text("step", detail.step);
      object.text("message", detail.message);
      addUsage(object, detail.resourceUsage);
      addPayload(object, "data", detail.payload);
      break;
    case "complete":
      if (detail.success !== undefined) object.raw("success", detail.success ? "true" : "false");
      object.span("processing_time", detail.processingTime);
      object.integer("output_bytes", detail.outputBytes);
      object.number("quality_score", detail.qualityScore);
      object.number("confidence", detail.confidence);
      object.text("adapter_used", detail.adapterUsed);
      if (detail.stepsExecuted.length > 0) object.raw("steps_executed", JSON.stringify(detail.stepsExecuted));
      addUsage(object, detail.resourceUsage);
      addPayload(object, "result", detail.payload);
      break;
    case "error":
      object.text("error_type", detail.errorType);
      object.text("error_code", detail.errorCode);
      object.text("error_message", detail.errorMessage);
      if (detail.retryable) object.raw("retryable", "true");
      object.span("processing_time", detail.processingTime);
      addUsage(object, detail.resourceUsage);
      addPayload(object, "data", detail.payload);
      break;
  }
  return object.end();
}

function addUsage(object: ObjectText, usage: ResourceUsage | undefined): void {
  if (usage === undefined) return;
  const inner = new ObjectText();
  inner.number("cpu_percent", usage.cpuPercent);
  inner.number("memory_bytes", usage.memoryBytes);
  inner.number("gpu_percent", usage.gpuPercent);
  object.raw("resource_usage", inner.end());
}

function addPayload(object: ObjectText, key: string, payload: Payload | undefined): void {
  if (payload === undefined) return;
  const inner = new ObjectText();
  inner.text("content_type", payload.contentType);
  if (payload.kind === "json") inner.raw("json", canonicalJson(payload.json));
  if (payload.kind === "raw") inner.number("raw_bytes", payload.raw.byteLength);
  object.raw(key, inner.end());
}
