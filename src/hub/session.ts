import { CoordinatorError } from "../platform/errors.js";
import { limits } from "../platform/limits.js";
import type { DrainReasonName } from "../wire/frame.js";
import { addUnacked, fillOf, overrunOf, type Promises, startTraffic, type Terms, type Traffic, windowOf, withGrant } from "./traffic.js";
import type { Grant } from "./window.js";

/** Phases of one stream. Table of phase × event: SPEC.md, held by test/unit/hub/session.test.ts. */
export type Session =
  /** Nothing has come yet. */
  | { readonly kind: "greeting"; readonly openedAtMs: number; readonly terms: Terms }
  /** Hello has come; the store is asked for the producer's epoch. The transport is paused. */
  | { readonly kind: "opening"; readonly promises: Promises; readonly terms: Terms }
  | { readonly kind: "live"; readonly traffic: Traffic }
  /** A DrainNotice was sent; the client has until `untilMs` to half-close. */
  | { readonly kind: "draining"; readonly traffic: Traffic; readonly untilMs: number }
  /** No more input; ends with OK when everything outstanding is acknowledged, or at `untilMs`. */
  | {
      readonly kind: "flushing";
      readonly unackedEvents: number;
      readonly blockedSinceMs: number | undefined;
      readonly untilMs: number | undefined;
    }
  /** The status is on its way, or the peer is gone. */
  | { readonly kind: "closed"; readonly atMs: number; readonly isGone: boolean };

export type SessionEvent =
  | { readonly kind: "hello"; readonly promises: Promises }
  /** The store has answered. */
  | { readonly kind: "opened" }
  /** Events were read: `count` of them and `bytes` wait for the store, the others are refused already. */
  | { readonly kind: "events"; readonly count: number; readonly bytes: number; readonly hasRoom: boolean }
  /** Any other frame was read. */
  | { readonly kind: "other" }
  | { readonly kind: "settled"; readonly count: number; readonly bytes: number; readonly hasRoom: boolean }
  /** The queue of the coordinator has room again. */
  | { readonly kind: "room" }
  /** All sessions are granted another window, or for another reason. */
  | { readonly kind: "window"; readonly grant: Grant; readonly hasRoom: boolean }
  /** How long the session may be silent, and live, has changed. */
  | { readonly kind: "cadence"; readonly silenceMaxMs: number; readonly drainAtMs: number }
  /** Another credential is in force. */
  | { readonly kind: "refreshed" }
  /** The transport takes no more frames for now, or takes them again. */
  | { readonly kind: "blocked" }
  | { readonly kind: "unblocked" }
  | { readonly kind: "half_close" }
  | { readonly kind: "drain"; readonly reason: Exclude<DrainReasonName, "credential_expiry">; readonly untilMs: number }
  /**
   * Time passes. `isStall`: our own event loop stood still, so silence proves nothing. `credentialLeftMs`: until the credential expires; undefined means
   * never.
   */
  | { readonly kind: "tick"; readonly isStall: boolean; readonly credentialLeftMs: number | undefined }
  /** Input or our own failure that ends the stream. */
  | { readonly kind: "fault"; readonly error: CoordinatorError }
  /** The peer is gone. */
  | { readonly kind: "gone" };

/** What the stream must do, in this order. */
export type Effect =
  | { readonly kind: "open_producer" }
  | { readonly kind: "welcome" }
  | { readonly kind: "pause" }
  | { readonly kind: "resume" }
  | { readonly kind: "flow_control"; readonly window: Grant }
  /** The connection takes no more streams (GOAWAY): whoever reconnects does so on another. */
  | { readonly kind: "retire_connection" }
  | { readonly kind: "drain_notice"; readonly reason: DrainReasonName; readonly untilMs: number }
  /** Writes what is acknowledged, then ends with OK. */
  | { readonly kind: "finish" }
  | { readonly kind: "fail"; readonly error: CoordinatorError }
  /** Resets the stream: the peer does not take even its status. */
  | { readonly kind: "reset" }
  /** Forgets the session; the last effect there is. */
  | { readonly kind: "release" };

export type Step = { readonly next: Session; readonly effects: readonly Effect[] };

const nothing: readonly Effect[] = [];
const noPromises: Promises = { heartbeat: false, flowControl: false, drain: false };

/** The session of a stream that was just opened. */
export const openSession = (nowMs: number, terms: Terms): Session => ({ kind: "greeting", openedAtMs: nowMs, terms });

/** Next phase and what to do about it. Pure.     Units: `nowMs` is monotonic. */
export function step(session: Session, event: SessionEvent, nowMs: number): Step {
  if (session.kind === "closed") return stepClosed(session, event, nowMs);
  if (event.kind === "gone") return { next: { kind: "closed", atMs: nowMs, isGone: true }, effects: [{ kind: "release" }] };
  if (event.kind === "fault") return fail(event.error, nowMs);
  switch (session.kind) {
    case "greeting":
      return stepGreeting(session, event, nowMs);
    case "opening":
      return stepOpening(session, event, nowMs);
    case "live":
    case "draining":
      return stepTraffic(session, event, nowMs);
    case "flushing":
      return stepFlushing(session, event, nowMs);
  }
}

/** Events that are handled the same way in every phase are handled before. */
type PhaseEvent = Exclude<SessionEvent, { readonly kind: "gone" | "fault" }>;

function stepGreeting(session: Session & { kind: "greeting" }, event: PhaseEvent, nowMs: number): Step {
  switch (event.kind) {
    case "hello":
      return {
        next: { kind: "opening", promises: event.promises, terms: session.terms },
        effects: [{ kind: "pause" }, { kind: "open_producer" }],
      };
    case "events":
    case "other":
      return stepTraffic({ kind: "live", traffic: startTraffic(noPromises, session.terms, nowMs) }, event, nowMs);
    case "half_close":
    case "drain":
      return finish(nowMs);
    case "tick":
      if (event.isStall || nowMs - session.openedAtMs < limits.helloMaxMs) return { next: session, effects: nothing };
      return fail(new CoordinatorError("late", `nothing was sent within ${limits.helloMaxMs} ms`, { reason: "HELLO_TIMEOUT" }), nowMs);
    case "window":
    case "cadence":
      return { next: { ...session, terms: changeTerms(session.terms, event) }, effects: nothing };
    default:
      return { next: session, effects: nothing };
  }
}

function stepOpening(session: Session & { kind: "opening" }, event: PhaseEvent, nowMs: number): Step {
  switch (event.kind) {
    case "opened":
      return {
        next: { kind: "live", traffic: startTraffic(session.promises, session.terms, nowMs) },
        effects: [{ kind: "welcome" }, { kind: "resume" }],
      };
    case "drain":
      return finish(nowMs);
    case "window":
    case "cadence":
      return { next: { ...session, terms: changeTerms(session.terms, event) }, effects: nothing };
    default:
      return { next: session, effects: nothing };
  }
}

type Trafficking = Session & { kind: "live" | "draining" };

function stepTraffic(session: Trafficking, event: PhaseEvent, nowMs: number): Step {
  const { traffic } = session;
  switch (event.kind) {
    case "hello": {
      const error = new CoordinatorError("invalid", "Hello must be the first frame and come once", { reason: "HELLO_REPEATED" });
      return fail(error, nowMs);
    }
    case "events": {
      const taken = addUnacked(traffic, event.count, event.bytes, nowMs);
      const overrun = overrunOf(taken, nowMs);
      return overrun === undefined ? steer(session, taken, event.hasRoom) : fail(overrun, nowMs);
    }
    case "other":
      return { next: { ...session, traffic: { ...traffic, heardAtMs: nowMs } }, effects: nothing };
    case "settled": {
      const unackedEvents = traffic.unackedEvents - event.count;
      const unackedBytes = traffic.unackedBytes - event.bytes;
      return steer(session, { ...traffic, unackedEvents, unackedBytes }, event.hasRoom);
    }
    case "room":
      return steer(session, traffic, true);
    case "window":
      return steer(session, withGrant(traffic, event.grant, nowMs), event.hasRoom);
    case "cadence":
      return { next: { ...session, traffic: { ...traffic, terms: changeTerms(traffic.terms, event) } }, effects: nothing };
    case "refreshed":
      return { next: { ...session, traffic: { ...traffic, isExpiryTold: false, heardAtMs: nowMs } }, effects: nothing };
    case "blocked":
      return { next: { ...session, traffic: { ...traffic, blockedSinceMs: traffic.blockedSinceMs ?? nowMs } }, effects: nothing };
    case "unblocked":
      return { next: { ...session, traffic: { ...traffic, blockedSinceMs: undefined } }, effects: nothing };
    case "half_close":
      return startFlushing(traffic, session.kind === "draining" ? session.untilMs : undefined, nowMs);
    case "drain":
      return drain(session, event.reason, event.untilMs, nowMs);
    case "tick":
      return tickTraffic(session, event, nowMs);
    case "opened":
      return { next: session, effects: nothing };
  }
}

function stepFlushing(session: Session & { kind: "flushing" }, event: PhaseEvent, nowMs: number): Step {
  switch (event.kind) {
    case "settled": {
      const unackedEvents = session.unackedEvents - event.count;
      return unackedEvents === 0 ? finish(nowMs) : { next: { ...session, unackedEvents }, effects: nothing };
    }
    case "blocked":
      return { next: { ...session, blockedSinceMs: session.blockedSinceMs ?? nowMs }, effects: nothing };
    case "unblocked":
      return { next: { ...session, blockedSinceMs: undefined }, effects: nothing };
    case "drain":
      return { next: { ...session, untilMs: Math.min(event.untilMs, session.untilMs ?? event.untilMs) }, effects: nothing };
    case "tick":
      if (session.untilMs !== undefined && nowMs >= session.untilMs) return finish(nowMs);
      if (isSlow(session.blockedSinceMs, nowMs)) return failSlow(nowMs);
      return { next: session, effects: nothing };
    default:
      return { next: session, effects: nothing };
  }
}

/** After the end only two things matter: that the peer goes, and that it does not take for ever. */
function stepClosed(session: Session & { kind: "closed" }, event: SessionEvent, nowMs: number): Step {
  if (session.isGone) return { next: session, effects: nothing };
  const isOver = event.kind === "gone";
  const isStuck = event.kind === "tick" && nowMs - session.atMs >= limits.slowConsumerMaxMs;
  if (isOver) return { next: { ...session, isGone: true }, effects: [{ kind: "release" }] };
  if (isStuck) return { next: { ...session, isGone: true }, effects: [{ kind: "reset" }, { kind: "release" }] };
  return { next: session, effects: nothing };
}

function changeTerms(terms: Terms, event: Extract<SessionEvent, { readonly kind: "window" | "cadence" }>): Terms {
  if (event.kind === "window") return { ...terms, grant: event.grant };
  return { ...terms, silenceMaxMs: event.silenceMaxMs, drainAtMs: event.drainAtMs };
}

/** Pauses above twice the window or when the queue is full, resumes when both are well again, and tells those who listen what their window is now. */
function steer(session: Trafficking, traffic: Traffic, hasRoom: boolean): Step {
  const fill = fillOf(traffic);
  let { isPaused } = traffic;
  if (fill === "over" || !hasRoom) isPaused = true;
  else if (fill === "inside") isPaused = false;
  if (isPaused === session.traffic.isPaused && traffic.terms === session.traffic.terms) {
    return { next: session.kind === "live" ? { kind: "live", traffic } : { ...session, traffic }, effects: nothing };
  }
  const next = { ...session, traffic: { ...traffic, isPaused } };
  const effects: Effect[] = [];
  if (isPaused !== session.traffic.isPaused) effects.push({ kind: isPaused ? "pause" : "resume" });
  const [before, window] = [windowOf(session.traffic), windowOf(next.traffic)];
  const isSame = before.maxEvents === window.maxEvents && before.maxBytes === window.maxBytes && before.pressure === window.pressure;
  if (!isSame && traffic.promises.flowControl) effects.push({ kind: "flow_control", window });
  return { next, effects };
}

/**
 * A client that understands DrainNotice gets one and the time to half-close; any other is flushed at once. The connection is retired before the notice
 * is written, so that no client reconnects on it; not for a fenced session, whose connection nobody wants gone.
 */
function drain(session: Trafficking, reason: Exclude<DrainReasonName, "credential_expiry">, untilMs: number, nowMs: number): Step {
  const { traffic } = session;
  const notice: Effect = { kind: "drain_notice", reason, untilMs };
  if (reason === "fenced") {
    const flushed = startFlushing(traffic, untilMs, nowMs);
    return traffic.promises.drain ? { next: flushed.next, effects: [notice, ...flushed.effects] } : flushed;
  }
  if (session.kind === "draining") return { next: { ...session, untilMs: Math.min(untilMs, session.untilMs) }, effects: nothing };
  if (traffic.promises.drain) return { next: { kind: "draining", traffic, untilMs }, effects: [{ kind: "retire_connection" }, notice] };
  const flushed = startFlushing(traffic, untilMs, nowMs);
  return { next: flushed.next, effects: [{ kind: "retire_connection" }, ...flushed.effects] };
}

function startFlushing(traffic: Traffic, untilMs: number | undefined, nowMs: number): Step {
  if (traffic.unackedEvents === 0) return finish(nowMs);
  const { unackedEvents, blockedSinceMs } = traffic;
  return { next: { kind: "flushing", unackedEvents, blockedSinceMs, untilMs }, effects: [{ kind: "pause" }] };
}

function tickTraffic(session: Trafficking, tick: Extract<SessionEvent, { readonly kind: "tick" }>, nowMs: number): Step {
  const { traffic } = session;
  const { promises, terms } = traffic;
  if (session.kind === "draining" && nowMs >= session.untilMs) return finish(nowMs);
  if (isSlow(traffic.blockedSinceMs, nowMs)) return failSlow(nowMs);
  if (tick.credentialLeftMs !== undefined && tick.credentialLeftMs <= 0) {
    return fail(new CoordinatorError("unauthenticated", "the key of this session has expired", { reason: "KEY_EXPIRED" }), nowMs);
  }
  if (session.kind === "live" && nowMs >= terms.drainAtMs) return drain(session, "session_age", nowMs + limits.sessionDrainMs, nowMs);
  if (mustTellExpiry(session, tick.credentialLeftMs)) {
    const notice: Effect = { kind: "drain_notice", reason: "credential_expiry", untilMs: nowMs + (tick.credentialLeftMs ?? 0) };
    return { next: { ...session, traffic: { ...traffic, isExpiryTold: true } }, effects: [notice] };
  }
  // What we do not read we cannot hear.
  if (tick.isStall || traffic.isPaused) return { next: { ...session, traffic: { ...traffic, heardAtMs: nowMs } }, effects: nothing };
  if (promises.heartbeat && nowMs - traffic.heardAtMs > terms.silenceMaxMs) {
    return fail(new CoordinatorError("unavailable", `no frame for ${terms.silenceMaxMs} ms`, { reason: "HEARTBEAT_MISSED" }), nowMs);
  }
  return { next: session, effects: nothing };
}

function mustTellExpiry(session: Trafficking, leftMs: number | undefined): boolean {
  const { promises, isExpiryTold } = session.traffic;
  return session.kind === "live" && promises.drain && !isExpiryTold && leftMs !== undefined && leftMs <= limits.credentialNoticeMs;
}

function isSlow(blockedSinceMs: number | undefined, nowMs: number): boolean {
  return blockedSinceMs !== undefined && nowMs - blockedSinceMs >= limits.slowConsumerMaxMs;
}

function failSlow(nowMs: number): Step {
  const message = `acknowledgements could not be written for ${limits.slowConsumerMaxMs} ms`;
  return fail(new CoordinatorError("busy", message, { reason: "SLOW_CONSUMER", retryAfterMs: limits.reconnectSpreadMs }), nowMs);
}

function finish(nowMs: number): Step {
  return { next: { kind: "closed", atMs: nowMs, isGone: false }, effects: [{ kind: "finish" }] };
}

function fail(error: CoordinatorError, nowMs: number): Step {
  return { next: { kind: "closed", atMs: nowMs, isGone: false }, effects: [{ kind: "fail", error }] };
}
