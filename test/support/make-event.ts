import type { MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import type { InteractionEventSchema } from "../../gen/mcp/coordinator/v1/events_pb.js";

export type EventInit = Exclude<MessageInitShape<typeof InteractionEventSchema>, { readonly $typeName: string }>;

/** A valid event of now; `more` overrides fields. */
export function makeEvent(more: EventInit = {}): EventInit {
  return {
    mcpId: "demo",
    interactionId: "i-1",
    occurredAt: timestampFromMs(Date.now()),
    detail: { case: "start", value: { requestType: "search" } },
    ...more,
  };
}
