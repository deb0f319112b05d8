import type { HealthState } from "../policy.js";

/** What happens to an MCP, as far as its state is concerned. */
export type HealthEvent =
  /** Its first stream opened; `opened_barred`: the same while an ejection lasts, or after it lost too many streams in a short time. */
  | "opened"
  | "opened_barred"
  /** Its stream is back soon after one that ended in good order, and all is as it was; `returned_slow`: and it was much slower than the fleet. */
  | "returned"
  | "returned_slow"
  /** Its last stream ended. */
  | "closed"
  /** An operator, or the MCP itself, wants nothing new for it; or wants it again. */
  | "drained"
  | "resumed"
  /** Its slow start is over. */
  | "warmed"
  /** It is much slower than the fleet, or is said to be; it is not any more. */
  | "slowed"
  | "recovered"
  /** It fails too much, and the fleet can do without it. */
  | "failing"
  /** The coordinator that holds its stream has shut it out, and the fleet can do without it; and says no longer that it has. */
  | "told_shut_out"
  | "told_well"
  /** Its ejection is over. */
  | "served"
  /** It passed the last of its probes; it failed one; nobody could probe it for too long. */
  | "probed"
  | "probe_failed"
  | "unprobed"
  /** It has had no stream for so long that it is not expected back. */
  | "forgotten";

/** The next state; undefined where the event changes nothing. Pure and total; the table is in SPEC.md. */
export function nextState(state: HealthState, event: HealthEvent): HealthState | undefined {
  return transitions[state][event];
}

type Row = Readonly<Partial<Record<HealthEvent, HealthState>>>;

const whileConnected = { closed: "disconnected", drained: "draining" } as const satisfies Row;

const transitions = {
  joining: { opened: "warming", opened_barred: "ejected" },
  warming: { ...whileConnected, warmed: "healthy", failing: "ejected", told_shut_out: "ejected" },
  healthy: { ...whileConnected, slowed: "degraded", failing: "ejected", told_shut_out: "ejected" },
  degraded: { ...whileConnected, recovered: "healthy", failing: "ejected", told_shut_out: "ejected" },
  ejected: { ...whileConnected, served: "probing", told_well: "warming" },
  probing: { ...whileConnected, probed: "warming", probe_failed: "ejected", unprobed: "warming", told_shut_out: "ejected" },
  draining: { closed: "disconnected", resumed: "warming" },
  disconnected: { opened: "warming", opened_barred: "ejected", returned: "healthy", returned_slow: "degraded", forgotten: "gone" },
  gone: { opened: "warming", opened_barred: "ejected" },
} as const satisfies Record<HealthState, Row> as Record<HealthState, Row>;

/** Chosen outside of a panic. */
export function isChosen(state: HealthState): boolean {
  return state === "healthy" || state === "degraded" || state === "warming";
}

/** Has a stream and may be asked to work: chosen, or shut out for a while. */
export function isLive(state: HealthState): boolean {
  return isChosen(state) || state === "ejected" || state === "probing";
}

/** Share of its weight that a state leaves an MCP. h of router.md 1.4. */
export function healthFactorOf(state: HealthState): number {
  if (state === "healthy" || state === "warming") return 1;
  return state === "degraded" ? 0.25 : 0;
}
