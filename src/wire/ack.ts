import { create } from "@bufbuild/protobuf";
import { type EventAck, EventAckSchema, EventStatus } from "../../gen/mcp/coordinator/v1/events_pb.js";
import type { FieldFault } from "../platform/errors.js";
import { durationFromMs, timestampFromMs } from "./time.js";

/** A status as the domain spells it, and its number on the wire. A status that is missing here does not compile. */
export const statusToProto = {
  stored: EventStatus.STORED,
  duplicate: EventStatus.DUPLICATE,
  invalid: EventStatus.INVALID,
  too_large: EventStatus.TOO_LARGE,
  too_old: EventStatus.TOO_OLD,
  clock_skew: EventStatus.CLOCK_SKEW,
  conflict: EventStatus.CONFLICT,
  permission_denied: EventStatus.PERMISSION_DENIED,
  fenced: EventStatus.FENCED,
  overloaded: EventStatus.OVERLOADED,
  unavailable: EventStatus.UNAVAILABLE,
  not_found: EventStatus.NOT_FOUND,
  not_collected: EventStatus.NOT_COLLECTED,
} as const satisfies Record<string, EventStatus>;

/** What an ack says; ingest's Verdict has this shape. */
export type AckView = {
  readonly status: keyof typeof statusToProto;
  readonly eventId: string;
  readonly sequence: bigint;
  readonly interactionId: string;
  readonly retryable: boolean;
  readonly retryAfterMs: number | undefined;
  readonly violations: readonly FieldFault[];
  readonly storedAtMs: number | undefined;
};

/** The verdict as a message. */
export function ackToProto(view: AckView): EventAck {
  const ack = create(EventAckSchema);
  ack.eventId = view.eventId;
  ack.sequence = view.sequence;
  ack.interactionId = view.interactionId;
  ack.status = statusToProto[view.status];
  ack.retryable = view.retryable;
  if (view.retryAfterMs !== undefined) ack.retryDelay = durationFromMs(view.retryAfterMs);
  if (view.storedAtMs !== undefined) ack.storedAt = timestampFromMs(view.storedAtMs);
  for (const fault of view.violations) ack.violations.push({ $typeName: "mcp.coordinator.v1.FieldViolation", ...fault });
  return ack;
}
