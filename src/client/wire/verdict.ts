import { type EventAck, EventStatus } from "../../../gen/mcp/coordinator/v1/events_pb.js";
import type { Settlement } from "../transports/transport.js";
import { msOf } from "./time.js";

/** Names of statuses as a Settlement's reason begins with them. */
const statusNames: ReadonlyMap<number, string> = new Map(
  Object.entries(EventStatus).flatMap(([name, value]) => (typeof value === "number" ? [[value, name] as const] : [])),
);

const resolving: ReadonlyMap<EventStatus, Settlement["outcome"]> = new Map([
  [EventStatus.STORED, "stored"],
  [EventStatus.DUPLICATE, "duplicate"],
  [EventStatus.NOT_COLLECTED, "not_collected"],
] as const);

/** A verdict of the wire as a settlement. What a newer coordinator may say and we do not know is deferred: `retryable` alone decides. */
export function settlementOf(eventId: string, ack: EventAck): Settlement {
  const outcome = resolving.get(ack.status);
  if (outcome !== undefined) return { eventId, outcome, reason: "" };
  const reason = reasonOf(ack);
  if (!ack.retryable && ack.status !== EventStatus.UNSPECIFIED) return { eventId, outcome: "rejected", reason };
  const retryAfterMs = msOf(ack.retryDelay, 0);
  return { eventId, outcome: "deferred", reason, ...(retryAfterMs > 0 ? { retryAfterMs } : {}) };
}

function reasonOf({ status, violations }: EventAck): string {
  const name = statusNames.get(status) ?? `status ${status}`;
  const [first] = violations;
  return first === undefined ? name : `${name}: ${first.field} ${first.reason}, ${first.description}`;
}

/** Refusals that are about the credential and not about the event: another key, or a corrected one, mends them. */
const mendable = ["PERMISSION_DENIED", "FENCED"];

/** Whether offering the event again cannot help, whatever becomes of the configuration. */
export function isFinalRefusal(reason: string): boolean {
  return !mendable.some((name) => reason.startsWith(name));
}
