import type { NewEvent, Outcome } from "../interaction/event.js";
import { unreachable } from "../platform/assert.js";
import type { FieldFault } from "../platform/errors.js";

/** What became of one event; the same words as EventStatus in the contract. */
export type VerdictStatus =
  | "stored"
  | "duplicate"
  | "invalid"
  | "too_large"
  | "too_old"
  | "clock_skew"
  | "conflict"
  | "permission_denied"
  | "fenced"
  | "overloaded"
  | "unavailable"
  | "not_found"
  | "not_collected";

/** Verdict on one event, for whoever brought it. */
export type Verdict = {
  readonly status: VerdictStatus;
  readonly eventId: string;
  readonly sequence: bigint;
  readonly interactionId: string;
  /** Whether the same event may succeed when it is sent again. Authoritative. */
  readonly retryable: boolean;
  readonly retryAfterMs: number | undefined;
  readonly violations: readonly FieldFault[];
  readonly storedAtMs: number | undefined;
};

/** Whether a status is retryable when nothing more is known. docs/errors.md repeats this table; a test compares both. */
export const retryableByStatus = {
  stored: false,
  duplicate: false,
  invalid: false,
  too_large: false,
  too_old: false,
  clock_skew: true,
  conflict: false,
  permission_denied: false,
  fenced: false,
  overloaded: true,
  unavailable: true,
  not_found: false,
  not_collected: false,
} as const satisfies Record<VerdictStatus, boolean>;

/** Who a verdict is about. */
export type Subject = Pick<Verdict, "eventId" | "sequence" | "interactionId">;

/** A verdict with the defaults of its status. */
export function createVerdict(
  subject: Subject,
  status: VerdictStatus,
  more: Partial<Pick<Verdict, "retryable" | "retryAfterMs" | "violations" | "storedAtMs">> = {},
): Verdict {
  return {
    status,
    eventId: subject.eventId,
    sequence: subject.sequence,
    interactionId: subject.interactionId,
    retryable: more.retryable ?? retryableByStatus[status],
    retryAfterMs: more.retryAfterMs,
    violations: more.violations ?? [],
    storedAtMs: more.storedAtMs,
  };
}

/** The status that a store's outcome means. */
export function statusOf(outcome: Outcome): VerdictStatus {
  return outcome.kind === "poison" ? "invalid" : outcome.kind;
}

/** The verdict that a store's outcome means. */
export function judge(event: NewEvent, outcome: Outcome): Verdict {
  switch (outcome.kind) {
    case "stored":
    case "duplicate":
      return createVerdict(event, outcome.kind, { storedAtMs: outcome.storedAtMs });
    case "conflict":
    case "fenced":
      return createVerdict(event, outcome.kind);
    case "poison":
      return createVerdict(event, "invalid", {
        violations: [{ field: event.kind, reason: "UNREPRESENTABLE", description: outcome.description }],
      });
    default:
      return unreachable(outcome);
  }
}
