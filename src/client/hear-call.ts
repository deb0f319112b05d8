import type { StreamInteractionsResponse } from "../../gen/mcp/coordinator/v1/interaction_service_pb.js";
import type { SessionCall } from "./connect.js";

/** What a session wants to hear of its call. */
export type CallEars = {
  readonly headers: () => void;
  readonly frame: (frame: StreamInteractionsResponse) => void;
  readonly writable: () => void;
  /** Comes once, last. `code` is a gRPC status. */
  readonly ended: (code: number, details: string) => void;
};

/** Hears a call for as long as it is the current one: one that was cancelled may speak once more. */
export function hearCall(call: SessionCall, isCurrent: () => boolean, ears: CallEars): void {
  const ifCurrent = (task: () => void): void => {
    if (isCurrent()) task();
  };
  call.on("metadata", () => ifCurrent(ears.headers));
  call.on("data", (frame: StreamInteractionsResponse) => ifCurrent(() => ears.frame(frame)));
  call.on("drain", () => ifCurrent(ears.writable));
  // The failure becomes state through `status`, which always follows `error`; without a listener it would end the process.
  call.on("error", () => undefined);
  call.on("status", ({ code, details }) => ifCurrent(() => ears.ended(code, details)));
}
