import type { JsonObject } from "@bufbuild/protobuf";
import type { Detail, Draft, Payload, ResourceUsage } from "../../interaction/event.js";
import { unreachable } from "../../platform/assert.js";
import type { EventInit } from "./frames.js";

type PayloadInit = {
  readonly body: { readonly case: "json"; readonly value: JsonObject } | { readonly case: "raw"; readonly value: Uint8Array };
  readonly contentType: string;
};

/** A draft as the wire has it. Shape: `draft` has passed checkDraft, and its `eventId` is set. */
export function eventInitOf(draft: Draft): EventInit {
  const { detail, occurredAt } = draft;
  return {
    eventId: draft.eventId,
    mcpId: draft.mcpId,
    interactionId: draft.interactionId,
    parentInteractionId: draft.parentInteractionId,
    traceParent: draft.traceParent,
    labels: draft.labels,
    sessionId: draft.sessionId,
    ...(occurredAt === undefined ? {} : { occurredAt }),
    ...(detail === undefined ? {} : { detail: detailInitOf(detail) }),
  };
}

function detailInitOf(detail: Detail): NonNullable<EventInit["detail"]> {
  switch (detail.kind) {
    case "start": {
      const { kind, payload, parameters, ...fields } = detail;
      // A cast: whoever made the draft gave an object, as a Struct must be.
      const known = parameters === undefined ? {} : { parameters: parameters as JsonObject };
      return { case: kind, value: { ...fields, ...known, ...named("request", payload) } };
    }
    case "progress": {
      const { kind, payload, resourceUsage, ...fields } = detail;
      return { case: kind, value: { ...fields, ...usageInit(resourceUsage), ...named("data", payload) } };
    }
    case "complete": {
      const { kind, payload, resourceUsage, success, processingTime, qualityScore, confidence, stepsExecuted, ...fields } = detail;
      const known = present({ success, processingTime, qualityScore, confidence });
      return {
        case: kind,
        value: { ...fields, ...known, stepsExecuted: [...stepsExecuted], ...usageInit(resourceUsage), ...named("result", payload) },
      };
    }
    case "error": {
      const { kind, payload, resourceUsage, processingTime, ...fields } = detail;
      return { case: kind, value: { ...fields, ...present({ processingTime }), ...usageInit(resourceUsage), ...named("data", payload) } };
    }
    default:
      return unreachable(detail);
  }
}

function named<Name extends string>(name: Name, payload: Payload | undefined): { readonly [K in Name]?: PayloadInit } {
  if (payload === undefined || payload.kind === "none") return {};
  const { contentType } = payload;
  const init: PayloadInit =
    payload.kind === "raw"
      ? { body: { case: "raw", value: payload.raw }, contentType }
      : { body: { case: "json", value: payload.json as JsonObject }, contentType }; // an object, as a Struct must be
  // The cast: a computed name widens to string.
  return { [name]: init } as { readonly [K in Name]?: PayloadInit };
}

function usageInit(usage: ResourceUsage | undefined): { readonly resourceUsage?: Present<ResourceUsage> } {
  return usage === undefined ? {} : { resourceUsage: present(usage) };
}

type Present<T> = { readonly [K in keyof T]?: Exclude<T[K], undefined> };

/** Without the members that are undefined: an optional field that is there has a value. */
function present<T extends object>(fields: T): Present<T> {
  // The cast: what is left has no undefined in it.
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as Present<T>;
}
