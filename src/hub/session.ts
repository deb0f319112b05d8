import { CoordinatorError } from "../platform/errors.js";
import { limits } from "../platform/limits.js";

/** What the client promised in Hello; all false without one. */
export type Promises = { readonly heartbeat: boolean; readonly flowControl: boolean; readonly drain: boolean };

/** Why a window is what it is. */
export type Pressure = "none" | "busy" | "storage_unavailable";

export type DrainReason = "shutdown" | "fenced";

/** Counters of a session that has events. Times are monotonic milliseconds. */
export type Traffic = {
  readonly promises: Promises;
  readonly unackedEvents: number;
  readonly unackedBytes: number;
  readonly pressure: Pressure;
  readonly isPaused: boolean;
  readonly heardAtMs: number;
  /** Since when the peer has not read what we wrote; undefined while it reads. */
  readonly blockedSinceMs: number | undefined;
};

/** Phases of one stream. Table of phase × event: SPEC.md, held by test/unit/hub/session.test.ts. */
export type Session =
  /** Nothing has come yet. */
  | { readonly kind: "greeting"; readonly openedAtMs: number }
  /** Hello has come; the store is asked for the producer's epoch. The transport is paused. */
  | { readonly kind: "opening"; readonly promises: Promises }
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
  /** A heartbeat or a routing ack was read. */
  | { readonly kind: "other" }
  | { readonly kind: "settled"; readonly count: number; readonly bytes: number; readonly hasRoom: boolean }
  /** The queue of the coordinator has room again. */
  | { readonly kind: "room" }
  | { readonly kind: "storage"; readonly isAvailable: boolean }
  /** The transport takes no more frames for now, or takes them again. */
  | { readonly kind: "blocked" }
  | { readonly kind: "unblocked" }
  | { readonly kind: "half_close" }
  | { readonly kind: "drain"; readonly reason: DrainReason; readonly untilMs: number }
  /** Time passes. `isStall`: our own event loop stood still, so silence proves nothing. */
  | { readonly kind: "tick"; readonly isStall: boolean }
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
  | { readonly kind: "flow_control"; readonly pressure: Pressure }
  | { readonly kind: "drain_notice"; readonly reason: DrainReason; readonly untilMs: number }
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
export const openSession = (nowMs: number): Session => ({ kind: "greeting", openedAtMs: nowMs });

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
      return { next: { kind: "opening", promises: event.promises }, effects: [{ kind: "pause" }, { kind: "open_producer" }] };
    case "events":
    case "other":
      return stepTraffic({ kind: "live", traffic: startTraffic(noPromises, nowMs) }, event, nowMs);
    case "half_close":
    case "drain":
      return finish(nowMs);
    case "tick":
      if (event.isStall || nowMs - session.openedAtMs < limits.helloMaxMs) return { next: session, effects: nothing };
      return fail(new CoordinatorError("late", `nothing was sent within ${limits.helloMaxMs} ms`, { reason: "HELLO_TIMEOUT" }), nowMs);
    default:
      return { next: session, effects: nothing };
  }
}

function stepOpening(session: Session & { kind: "opening" }, event: PhaseEvent, nowMs: number): Step {
  switch (event.kind) {
    case "opened":
      return {
        next: { kind: "live", traffic: startTraffic(session.promises, nowMs) },
        effects: [{ kind: "welcome" }, { kind: "resume" }],
      };
    case "drain":
      return finish(nowMs);
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
      const unackedEvents = traffic.unackedEvents + event.count;
      const unackedBytes = traffic.unackedBytes + event.bytes;
      return steer(session, { ...traffic, unackedEvents, unackedBytes, heardAtMs: nowMs }, event.hasRoom);
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
    case "storage":
      return changePressure(session, event.isAvailable ? "none" : "storage_unavailable");
    case "blocked":
      return { next: { ...session, traffic: { ...traffic, blockedSinceMs: traffic.blockedSinceMs ?? nowMs } }, effects: nothing };
    case "unblocked":
      return { next: { ...session, traffic: { ...traffic, blockedSinceMs: undefined } }, effects: nothing };
    case "half_close":
      return startFlushing(traffic, session.kind === "draining" ? session.untilMs : undefined, nowMs);
    case "drain":
      return drain(session, event.reason, event.untilMs, nowMs);
    case "tick":
      return tickTraffic(session, event.isStall, nowMs);
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

function startTraffic(promises: Promises, nowMs: number): Traffic {
  return { promises, unackedEvents: 0, unackedBytes: 0, pressure: "none", isPaused: false, heardAtMs: nowMs, blockedSinceMs: undefined };
}

/** Pauses above twice the window or when the queue is full, resumes when both are well again, and says so to those who listen. */
function steer(session: Trafficking, traffic: Traffic, hasRoom: boolean): Step {
  const isOver =
    traffic.unackedEvents > limits.windowMaxEvents * limits.windowPauseFactor ||
    traffic.unackedBytes > limits.windowMaxBytes * limits.windowPauseFactor;
  const isInside = traffic.unackedEvents <= limits.windowMaxEvents && traffic.unackedBytes <= limits.windowMaxBytes;
  if (!traffic.isPaused && (isOver || !hasRoom)) {
    const paused = changePressure(
      { ...session, traffic: { ...traffic, isPaused: true } },
      traffic.pressure === "none" ? "busy" : traffic.pressure,
    );
    return { next: paused.next, effects: [{ kind: "pause" }, ...paused.effects] };
  }
  if (traffic.isPaused && isInside && hasRoom) {
    const resumed = changePressure(
      { ...session, traffic: { ...traffic, isPaused: false } },
      traffic.pressure === "busy" ? "none" : traffic.pressure,
    );
    return { next: resumed.next, effects: [{ kind: "resume" }, ...resumed.effects] };
  }
  return { next: { ...session, traffic }, effects: nothing };
}

function changePressure(session: Trafficking, pressure: Pressure): Step {
  const { traffic } = session;
  if (pressure === traffic.pressure) return { next: session, effects: nothing };
  const effects: readonly Effect[] = traffic.promises.flowControl ? [{ kind: "flow_control", pressure }] : nothing;
  return { next: { ...session, traffic: { ...traffic, pressure } }, effects };
}

/** A client that understands DrainNotice gets one and the time to half-close; any other is flushed at once. */
function drain(session: Trafficking, reason: DrainReason, untilMs: number, nowMs: number): Step {
  const { traffic } = session;
  if (!traffic.promises.drain) return startFlushing(traffic, untilMs, nowMs);
  if (reason === "fenced") {
    const flushed = startFlushing(traffic, untilMs, nowMs);
    return { next: flushed.next, effects: [{ kind: "drain_notice", reason, untilMs }, ...flushed.effects] };
  }
  if (session.kind === "draining") return { next: { ...session, untilMs: Math.min(untilMs, session.untilMs) }, effects: nothing };
  return { next: { kind: "draining", traffic, untilMs }, effects: [{ kind: "drain_notice", reason, untilMs }] };
}

function startFlushing(traffic: Traffic, untilMs: number | undefined, nowMs: number): Step {
  if (traffic.unackedEvents === 0) return finish(nowMs);
  const { unackedEvents, blockedSinceMs } = traffic;
  return { next: { kind: "flushing", unackedEvents, blockedSinceMs, untilMs }, effects: [{ kind: "pause" }] };
}

function tickTraffic(session: Trafficking, isStall: boolean, nowMs: number): Step {
  const { traffic } = session;
  if (session.kind === "draining" && nowMs >= session.untilMs) return finish(nowMs);
  if (isSlow(traffic.blockedSinceMs, nowMs)) return failSlow(nowMs);
  // What we do not read we cannot hear.
  if (isStall || traffic.isPaused) return { next: { ...session, traffic: { ...traffic, heardAtMs: nowMs } }, effects: nothing };
  const silenceMaxMs = limits.heartbeatIntervalMs * limits.heartbeatMissesMax;
  if (traffic.promises.heartbeat && nowMs - traffic.heardAtMs > silenceMaxMs) {
    return fail(new CoordinatorError("unavailable", `no frame for ${silenceMaxMs} ms`, { reason: "HEARTBEAT_MISSED" }), nowMs);
  }
  return { next: session, effects: nothing };
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
