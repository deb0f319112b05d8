import { fromJson, type JsonObject } from "@bufbuild/protobuf";
import { type InteractionEvent, InteractionEventSchema, type Payload } from "../../gen/mcp/coordinator/v1/events_pb.js";
import { assert } from "../platform/assert.js";
import { limits } from "../platform/limits.js";

/** A stored event as it is read back; the fields of store's StoredEvent that matter here. */
export type StoredEventView = {
  readonly eventId: string;
  readonly mcpId: string;
  readonly interactionId: string;
  readonly sequence: bigint;
  readonly occurredAtUs: number;
  /** JSON value of NewEvent.body; see interaction/content.ts. */
  readonly body: unknown;
  readonly raw: Uint8Array | undefined;
};

/** The event as it was sent, with the labels of its session added and the user's pseudonym in place of user_id. */
export function storedEventToProto(stored: StoredEventView): InteractionEvent {
  assert(typeof stored.body === "object" && stored.body !== null, "a stored body is a JSON object");
  const { ns, stamped, labels, ...content } = stored.body as JsonObject; // written by contentText, which makes objects only
  for (const member of Object.values(content)) stripRawCount(member);
  const json = {
    ...content,
    labels: { ...asObject(stamped), ...asObject(labels) },
    event_id: stored.eventId,
    mcp_id: stored.mcpId,
    interaction_id: stored.interactionId,
    sequence: stored.sequence.toString(),
  };
  const event = fromJson(InteractionEventSchema, json, { recursionLimit: limits.decodeMaxDepth });
  const seconds = Math.floor(stored.occurredAtUs / 1_000_000);
  const micros = stored.occurredAtUs - seconds * 1_000_000;
  event.occurredAt = { $typeName: "google.protobuf.Timestamp", seconds: BigInt(seconds), nanos: micros * 1000 + Number(ns ?? 0) };
  const payload = payloadOf(event);
  if (payload !== undefined && stored.raw !== undefined) payload.body = { case: "raw", value: stored.raw };
  return event;
}

function asObject(value: unknown): JsonObject {
  return typeof value === "object" && value !== null ? (value as JsonObject) : {}; // labels are objects of strings
}

/** Takes the count of raw bytes out of a detail's payload: it is for readers of the table and no field of the contract. */
function stripRawCount(detail: unknown): void {
  if (typeof detail !== "object" || detail === null) return;
  for (const key of ["request", "data", "result"]) {
    const payload = (detail as Record<string, unknown>)[key]; // a JSON object: any key may be there
    if (typeof payload === "object" && payload !== null) delete (payload as Record<string, unknown>).raw_bytes;
  }
}

function payloadOf(event: InteractionEvent): Payload | undefined {
  switch (event.detail.case) {
    case "start":
      return event.detail.value.request;
    case "progress":
    case "error":
      return event.detail.value.data;
    case "complete":
      return event.detail.value.result;
    case undefined:
      return undefined;
  }
}
