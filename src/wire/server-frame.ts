import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { type StreamInteractionsResponse, StreamInteractionsResponseSchema } from "../../gen/mcp/coordinator/v1/interaction_service_pb.js";

/** A frame to a client. */
export type ServerFrame = StreamInteractionsResponse;

/** Wraps one member of the oneof. */
export function respond(frame: MessageInitShape<typeof StreamInteractionsResponseSchema>["frame"]): ServerFrame {
  return create(StreamInteractionsResponseSchema, { frame } as MessageInitShape<typeof StreamInteractionsResponseSchema>); // exactOptionalPropertyTypes: the oneof is always given here
}
