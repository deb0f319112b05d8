import { fromJson, type JsonValue, toBinary } from "@bufbuild/protobuf";
import { InteractionEventSchema } from "../../gen/mcp/coordinator/v1/events_pb.js";
import type { Draft } from "../interaction/event.js";
import type { FieldFault } from "../platform/errors.js";
import { draftFromProto } from "./event.js";

/** One report of a JSON body: a draft, or what kept it from being one. Ids are empty where the report has none that can be read. */
export type ReadReport =
  | { readonly kind: "draft"; readonly draft: Draft }
  | { readonly kind: "faulty"; readonly eventId: string; readonly interactionId: string; readonly faults: readonly FieldFault[] };

/**
 * Reads one report as HTTP bodies, Redis entries and rows of the shared table carry it. Pure and total: whatever the value is, it is a draft or has faults.
 * Forms: `{"event": …}` with an InteractionEvent in the JSON mapping of Protocol Buffers, which loses nothing, so that the same event is the same event on every way in.
 */
export function readReport(value: unknown): ReadReport {
  const event = isObject(value) ? value.event : undefined;
  if (!isObject(event)) return faulty([{ field: "event", reason: "REQUIRED", description: "must be an object" }]);
  try {
    // The cast: a parsed JSON object is a JsonValue.
    const message = fromJson(InteractionEventSchema, event as JsonValue, { ignoreUnknownFields: true });
    return { kind: "draft", draft: draftFromProto(message, toBinary(InteractionEventSchema, message).byteLength) };
  } catch (thrown) {
    // Translated: protobuf-es says in its message what does not fit, and names the field.
    const description = thrown instanceof Error ? thrown.message : String(thrown);
    return faulty([{ field: "event", reason: "MALFORMED", description }], textOf(event.eventId), textOf(event.interactionId));
  }
}

function faulty(faults: readonly FieldFault[], eventId = "", interactionId = ""): ReadReport {
  return { kind: "faulty", eventId, interactionId, faults };
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

const textOf = (value: unknown): string => (typeof value === "string" ? value : "");
