import { unreachable } from "../platform/assert.js";
import { type BackoffLimits, backoffMs } from "../platform/backoff.js";
import { CoordinatorError } from "../platform/errors.js";
import { limits } from "../platform/limits.js";
import type { Rng } from "../platform/rng.js";

/** Why a session is over for good. `refused` carries the gRPC status that says so. */
export type CloseReason =
  | { readonly kind: "done" }
  | { readonly kind: "abandoned" }
  | { readonly kind: "fenced" }
  | { readonly kind: "refused"; readonly code: number; readonly details: string };

/**
 * `attempt` counts reconnects since the session last proved itself; `isClosing` means that the owner wants to leave once all is acked; `fenceCount` how
 * often in a row another process took the producer_id away.
 */
type Alive = { readonly attempt: number; readonly isClosing: boolean; readonly fenceCount: number };

/** Where a client session stands. */
export type SessionState =
  /** `isFenced`: another process has the producer_id; this one waits long before it takes it back. */
  | ({ readonly kind: "disconnected"; readonly isFenced: boolean } & Alive)
  | ({ readonly kind: "connecting" } & Alive)
  | ({ readonly kind: "handshake" } & Alive)
  | ({ readonly kind: "active"; readonly unansweredCount: number } & Alive)
  | ({ readonly kind: "draining"; readonly reconnectMs: number; readonly isFenced: boolean; readonly isHalfClosed: boolean } & Alive)
  | ({ readonly kind: "finishing" } & Alive)
  | { readonly kind: "closed"; readonly why: CloseReason };

/** What can happen to a session. `isEmpty`: nothing is unresolved; `isSettled`: nothing is on the wire. */
export type SessionEvent =
  | { readonly kind: "retryDue"; readonly isEmpty: boolean }
  /** There is a reason to believe that the coordinator is back: its pauses begin anew. */
  | { readonly kind: "hastened" }
  | { readonly kind: "headers" }
  | { readonly kind: "welcome"; readonly isEmpty: boolean }
  | { readonly kind: "acked" }
  | { readonly kind: "drain"; readonly reconnectMs: number; readonly isFenced: boolean; readonly isSettled: boolean }
  | { readonly kind: "settled" }
  | { readonly kind: "emptied" }
  | { readonly kind: "heartbeatDue" }
  | { readonly kind: "heartbeatAnswered" }
  /** Events are on their way, nothing at all was heard for too long, and there is another coordinator to go to. */
  | { readonly kind: "unheard" }
  | { readonly kind: "ended"; readonly code: number; readonly details: string; readonly isEmpty: boolean }
  | { readonly kind: "close"; readonly isEmpty: boolean }
  /** The coordinator did not answer Hello, or did not end a drained stream, in time. */
  | { readonly kind: "overdue" }
  | { readonly kind: "closeTimedOut" };

/** What the owner of the machine has to do, in order. */
export type SessionEffect =
  | { readonly kind: "open" }
  | { readonly kind: "retryIn"; readonly delayMs: number }
  /** The coordinator refuses the key: ask for another before the retry. */
  | { readonly kind: "renewKey" }
  | { readonly kind: "startSending" }
  | { readonly kind: "sendHeartbeat" }
  | { readonly kind: "halfClose" }
  | { readonly kind: "cancel" }
  | { readonly kind: "finish"; readonly why: CloseReason };

export type SessionRules = {
  readonly backoff: BackoffLimits;
  /** Waited after a fencing: `floorMs`, and on top a backoff that grows with each in a row. Two twins must not chase each other. */
  readonly fencedBackoff: BackoffLimits & { readonly floorMs: number };
  readonly heartbeatMissesMax: number;
  /** Whether a refused key can be replaced. */
  readonly canRenewKey: boolean;
  readonly rng: Rng;
};

/** The rules of every session of ours. */
export function sessionRules(rng: Rng, canRenewKey: boolean): SessionRules {
  const { reconnectBackoff: backoff, fencedBackoff, heartbeatMissesMax } = limits;
  return { backoff, fencedBackoff, heartbeatMissesMax, canRenewKey, rng };
}

export type Step = { readonly next: SessionState; readonly effects: readonly SessionEffect[] };

/** A session that has not yet tried; `retryDue` starts it. */
export const freshSession: SessionState = { kind: "disconnected", attempt: 0, isClosing: false, fenceCount: 0, isFenced: false };

/**
 * gRPC statuses after which reconnecting cannot help: INVALID_ARGUMENT, PERMISSION_DENIED, FAILED_PRECONDITION, UNIMPLEMENTED, UNAUTHENTICATED.
 * Everything else means "reconnect and resume", which is always safe.     Source: protocol design, section 6.
 */
const refusals: ReadonlySet<number> = new Set([3, 7, 9, 12, 16]);
/** The one of them that another key may mend. */
const unauthenticated = 16;

/** One sentence about the end of a session, for people. */
export function describeClose(why: CloseReason): string {
  switch (why.kind) {
    case "done":
      return "closed";
    case "abandoned":
      return "closed before every event was acknowledged";
    case "fenced":
      return "a newer session has the same producer_id";
    case "refused":
      return `refused with gRPC status ${why.code}: ${why.details}`;
    default:
      return unreachable(why);
  }
}

/** What is thrown to whoever reports to a session that is over. */
export function overError(why: CloseReason): CoordinatorError {
  return new CoordinatorError("unavailable", `the session is over: ${describeClose(why)}`, { reason: "COORDINATOR_DRAINING" });
}

const done: CloseReason = { kind: "done" };
const stay = (state: SessionState): Step => ({ next: state, effects: [] });

/**
 * Next state of a session, and what to do about it. Pure but for the jitter, which comes from `rules.rng`.
 * Only `active` sends events. The backoff starts again from its first step only after a Welcome and one ack, or one answered heartbeat, on the same stream.
 */
export function step(state: SessionState, event: SessionEvent, rules: SessionRules): Step {
  if (state.kind === "closed") return stay(state);
  if (event.kind === "closeTimedOut") return finish({ kind: "abandoned" }, true);
  switch (state.kind) {
    case "disconnected":
      return stepDisconnected(state, event, rules);
    case "connecting":
    case "handshake":
      return stepOpening(state, event, rules);
    case "active":
      return stepActive(state, event, rules);
    case "draining":
      return stepDraining(state, event, rules);
    case "finishing":
      return event.kind === "ended" ? stepFinished(state, event, rules) : stay(state);
    default:
      return unreachable(state);
  }
}

function stepDisconnected(state: Extract<SessionState, { kind: "disconnected" }>, event: SessionEvent, rules: SessionRules): Step {
  switch (event.kind) {
    case "retryDue":
      if (state.isClosing && event.isEmpty) return finish(done, false);
      return { next: { kind: "connecting", ...aliveOf(state) }, effects: [{ kind: "open" }] };
    case "hastened":
      // A pause that the coordinator asked for, or that a twin is given, stays: only failures count attempts.
      if (state.isFenced || state.attempt === 0) return stay(state);
      return { next: { ...state, attempt: 1 }, effects: [{ kind: "retryIn", delayMs: backoffMs(rules.backoff, 0, rules.rng) }] };
    case "close":
      if (event.isEmpty) return finish(done, false);
      return state.isFenced ? finish({ kind: "fenced" }, false) : stay({ ...state, isClosing: true });
    default:
      return stay(state);
  }
}

function stepOpening(state: Extract<SessionState, { kind: "connecting" | "handshake" }>, event: SessionEvent, rules: SessionRules): Step {
  switch (event.kind) {
    case "headers":
      return stay({ ...state, kind: "handshake" });
    case "welcome":
      if (state.isClosing && event.isEmpty) return { next: { ...state, kind: "finishing" }, effects: [{ kind: "halfClose" }] };
      return { next: { ...state, kind: "active", unansweredCount: 0 }, effects: [{ kind: "startSending" }] };
    case "drain":
      return beginDrain(state, event);
    case "overdue":
      return { next: state, effects: [{ kind: "cancel" }] };
    case "ended":
      return reconnect(state, event, rules);
    case "close":
      return event.isEmpty ? finish(done, true) : stay({ ...state, isClosing: true });
    default:
      return stay(state);
  }
}

function stepActive(state: Extract<SessionState, { kind: "active" }>, event: SessionEvent, rules: SessionRules): Step {
  switch (event.kind) {
    case "acked":
      return stay(state.attempt === 0 ? state : { ...state, attempt: 0 });
    case "drain":
      return beginDrain(state, event);
    case "emptied":
      return state.isClosing ? { next: { ...state, kind: "finishing" }, effects: [{ kind: "halfClose" }] } : stay(state);
    case "heartbeatDue":
      // The stream is cut here; `ended` with CANCELLED follows and reconnects.
      if (state.unansweredCount >= rules.heartbeatMissesMax) return { next: state, effects: [{ kind: "cancel" }] };
      return { next: { ...state, unansweredCount: state.unansweredCount + 1 }, effects: [{ kind: "sendHeartbeat" }] };
    case "unheard":
      // Once: where another coordinator is as silent, it is not the coordinator, and a longer backoff would only add to the wait.
      return state.attempt > 0 ? stay(state) : { next: state, effects: [{ kind: "cancel" }] };
    case "heartbeatAnswered":
      // An idle session proves itself by living for an interval; otherwise a long outage would slow its reconnects for ever.
      return stay({ ...state, unansweredCount: 0, attempt: 0 });
    case "ended":
      return reconnect(state, event, rules);
    case "close":
      if (event.isEmpty) return { next: { ...state, kind: "finishing", isClosing: true }, effects: [{ kind: "halfClose" }] };
      return stay({ ...state, isClosing: true });
    default:
      return stay(state);
  }
}

function stepDraining(state: Extract<SessionState, { kind: "draining" }>, event: SessionEvent, rules: SessionRules): Step {
  switch (event.kind) {
    case "settled":
    case "emptied":
      return state.isHalfClosed ? stay(state) : { next: { ...state, isHalfClosed: true }, effects: [{ kind: "halfClose" }] };
    case "acked":
      return stay(state.attempt === 0 ? state : { ...state, attempt: 0 });
    case "overdue":
      return { next: state, effects: [{ kind: "cancel" }] };
    case "ended":
      if (state.isClosing && event.isEmpty) return finish(done, false);
      if (state.isFenced) return waitFenced(state, rules);
      return {
        next: { kind: "disconnected", ...aliveOf(state), isFenced: false },
        effects: [{ kind: "retryIn", delayMs: state.reconnectMs }],
      };
    case "close":
      return stay({ ...state, isClosing: true });
    default:
      return stay(state);
  }
}

function stepFinished(
  state: Extract<SessionState, { kind: "finishing" }>,
  event: Extract<SessionEvent, { kind: "ended" }>,
  rules: SessionRules,
): Step {
  return event.isEmpty ? finish(done, false) : reconnect(state, event, rules);
}

function aliveOf({ attempt, isClosing, fenceCount }: Alive): Alive {
  return { attempt, isClosing, fenceCount };
}

function beginDrain(state: Alive, event: Extract<SessionEvent, { kind: "drain" }>): Step {
  const next: SessionState = {
    kind: "draining",
    ...aliveOf(state),
    reconnectMs: event.reconnectMs,
    isFenced: event.isFenced,
    isHalfClosed: event.isSettled,
  };
  return { next, effects: event.isSettled ? [{ kind: "halfClose" }] : [] };
}

/** What was sent stays in the outbox; a session that is closing has nobody to wait for it. The next stream has yet to prove that the twin is gone. */
function waitFenced(state: Alive, { fencedBackoff, rng }: SessionRules): Step {
  if (state.isClosing) return finish({ kind: "fenced" }, false);
  const delayMs = fencedBackoff.floorMs + backoffMs(fencedBackoff, state.fenceCount, rng);
  const next: SessionState = { kind: "disconnected", attempt: 1, isClosing: false, fenceCount: state.fenceCount + 1, isFenced: true };
  return { next, effects: [{ kind: "retryIn", delayMs }] };
}

function reconnect(state: Alive, event: Extract<SessionEvent, { kind: "ended" }>, rules: SessionRules): Step {
  const mustRenew = event.code === unauthenticated && rules.canRenewKey;
  if (refusals.has(event.code) && !mustRenew) return finish({ kind: "refused", code: event.code, details: event.details }, false);
  if (state.isClosing && event.isEmpty) return finish(done, false);
  // A session that proved itself and ended otherwise has no twin any more.
  const fenceCount = state.attempt === 0 ? 0 : state.fenceCount;
  const retry: SessionEffect = { kind: "retryIn", delayMs: backoffMs(rules.backoff, state.attempt, rules.rng) };
  return {
    next: { kind: "disconnected", attempt: state.attempt + 1, isClosing: state.isClosing, fenceCount, isFenced: false },
    effects: mustRenew ? [{ kind: "renewKey" }, retry] : [retry],
  };
}

function finish(why: CloseReason, isOpen: boolean): Step {
  const effects: SessionEffect[] = isOpen ? [{ kind: "cancel" }] : [];
  effects.push({ kind: "finish", why });
  return { next: { kind: "closed", why }, effects };
}
