import { createVerdict, type Subject, type Verdict } from "../../ingest/verdict.js";
import type { FieldFault } from "../../platform/errors.js";

/**
 * What is done with an entry after its verdict. `resolved`: the event is stored, or not collected; acknowledged. `returned`: the producer waits for the
 * verdict and keeps the event; it is told to send it again, and the entry is acknowledged. `left`: stays pending, and is delivered again later.
 * `dead`: goes to the dead letters, and is acknowledged.
 */
export type Fate = "resolved" | "returned" | "left" | "dead";

/** The fate that a verdict means. `isAwaited`: the producer waits for the verdict. Pure. */
export function fateOf(verdict: Pick<Verdict, "status" | "retryable">, isAwaited: boolean): Fate {
  switch (verdict.status) {
    case "stored":
    case "duplicate":
    case "not_collected":
      return "resolved";
    default:
      if (!verdict.retryable) return "dead";
      return isAwaited ? "returned" : "left";
  }
}

/** The verdict on an entry that is no event. */
export function unreadable(subject: Pick<Subject, "eventId" | "interactionId">, faults: readonly FieldFault[]): Verdict {
  return createVerdict({ ...subject, sequence: 0n }, "invalid", { violations: faults });
}

/** The verdict on an entry whose key is not good. A producer that waits keeps the event: it may have a better key later. */
export function keyRefused(subject: Subject, reason: string, description: string, isAwaited: boolean): Verdict {
  return createVerdict(subject, "permission_denied", { retryable: isAwaited, violations: [{ field: "api_key", reason, description }] });
}

/** The verdict on an entry that was delivered too often. Whoever had it before may have died of it. */
export function tooOften(subject: Subject, deliveries: number): Verdict {
  const description = `delivered ${deliveries} times and never settled`;
  return createVerdict(subject, "unavailable", {
    retryable: false,
    violations: [{ field: "entry", reason: "TOO_MANY_DELIVERIES", description }],
  });
}

/** Why an event was not stored, in one line for people and logs; empty when it was. */
export function reasonOf(verdict: Pick<Verdict, "violations">): string {
  const [first] = verdict.violations;
  return first === undefined ? "" : `${first.field}: ${first.reason} ${first.description}`.slice(0, reasonMaxChars);
}

/** A line that a terminal still shows whole in a few rows. */
const reasonMaxChars = 512;
