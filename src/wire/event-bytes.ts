import { fromBinary } from "@bufbuild/protobuf";
import { InteractionEventSchema } from "../../gen/mcp/coordinator/v1/events_pb.js";
import { limits } from "../platform/limits.js";
import { draftFromProto } from "./event.js";
import type { ReadReport } from "./report-body.js";

/** Reads one report as an encoded InteractionEvent. Pure and total, as `readReport` is.     Bound: nested `decodeMaxDepth` deep. */
export function readEventBytes(encoded: Uint8Array): ReadReport {
  try {
    const event = fromBinary(InteractionEventSchema, encoded, { recursionLimit: limits.decodeMaxDepth });
    return { kind: "draft", draft: draftFromProto(event, encoded.byteLength), places: { prefix: "event.", byField: {} } };
  } catch (thrown) {
    // Translated: protobuf-es says in its message why the bytes are no event.
    const description = `is no encoded InteractionEvent: ${thrown instanceof Error ? thrown.message : String(thrown)}`;
    return { kind: "faulty", eventId: "", interactionId: "", faults: [{ field: "event", reason: "MALFORMED", description }] };
  }
}
