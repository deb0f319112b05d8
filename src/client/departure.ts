import { type DrainNotice, DrainReason } from "../../gen/mcp/coordinator/v1/session_pb.js";
import { limits } from "../platform/limits.js";
import { msOf } from "./wire/time.js";

/** How a session leaves a stream that the coordinator wants ended. Milliseconds. */
export type Departure = {
  /** Until it stops sending and half-closes; it goes on as before until then. */
  readonly leaveInMs: number;
  /** From the end of the stream to the next. */
  readonly reconnectMs: number;
  /** From now until the coordinator should have ended the stream. */
  readonly overdueMs: number;
  readonly isFenced: boolean;
};

/** Time that the end of a drained stream may take beyond its deadline. */
const graceMs = 1_000;

/**
 * The delay that the notice gives is spent sending, not waiting, where the deadline leaves room for both: then the only pause is the reconnect itself. What a
 * fenced session sends is refused, so it stops at once.     `canSend`: the session is past its Welcome.
 */
export function departureOf(notice: DrainNotice, canSend: boolean): Departure {
  const delayMs = msOf(notice.reconnectDelay, 0);
  const deadlineMs = msOf(notice.deadline, limits.clientCloseMaxMs);
  const isFenced = notice.reason === DrainReason.FENCED;
  const mayStay = canSend && !isFenced && delayMs * 2 <= deadlineMs;
  return { leaveInMs: mayStay ? delayMs : 0, reconnectMs: mayStay ? 0 : delayMs, overdueMs: deadlineMs + graceMs, isFenced };
}
