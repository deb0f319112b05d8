import { CoordinatorError } from "../platform/errors.js";
import { limits } from "../platform/limits.js";
import type { Grant } from "./window.js";

/** What the client promised in Hello; all false without one. */
export type Promises = { readonly heartbeat: boolean; readonly flowControl: boolean; readonly drain: boolean };

/** What a session may do and how long, as far as it is not the client's choice. Changes while it lives. */
export type Terms = {
  readonly grant: Grant;
  /** A client that promised heartbeats is taken for dead after this. Unit: ms. */
  readonly silenceMaxMs: number;
  /** When the session is too old. Monotonic ms. */
  readonly drainAtMs: number;
};

/** Counters of a session that has events. Times are monotonic milliseconds. */
export type Traffic = {
  readonly promises: Promises;
  readonly terms: Terms;
  readonly unackedEvents: number;
  readonly unackedBytes: number;
  readonly isPaused: boolean;
  /** Events that were read above a window smaller than the full one, since it last shrank from a larger one to the first of smaller ones. */
  readonly overrunEvents: number;
  /** When the window began to be smaller than the full one; undefined while it is not. */
  readonly shrunkAtMs: number | undefined;
  readonly heardAtMs: number;
  /** Since when the peer has not read what we wrote; undefined while it reads. */
  readonly blockedSinceMs: number | undefined;
  /** The client was told that its credential expires. */
  readonly isExpiryTold: boolean;
};

export function startTraffic(promises: Promises, terms: Terms, nowMs: number): Traffic {
  return {
    promises,
    terms,
    unackedEvents: 0,
    unackedBytes: 0,
    isPaused: false,
    overrunEvents: 0,
    shrunkAtMs: isShrunk(terms.grant) ? nowMs : undefined,
    heardAtMs: nowMs,
    blockedSinceMs: undefined,
    isExpiryTold: false,
  };
}

/** The window as the client is told it: one that is not read for its own sake is busy too. */
export function windowOf(traffic: Traffic): Grant {
  const { grant } = traffic.terms;
  return traffic.isPaused && grant.pressure === "none" ? { ...grant, pressure: "busy" } : grant;
}

/** The same traffic with `count` more events under way. Those above a shrunken window are counted, unless the client could not be told of it. */
export function addUnacked(traffic: Traffic, count: number, bytes: number, nowMs: number): Traffic {
  const unackedEvents = traffic.unackedEvents + count;
  const above = Math.min(count, Math.max(0, unackedEvents - traffic.terms.grant.maxEvents));
  const isCounted = traffic.shrunkAtMs !== undefined && traffic.blockedSinceMs === undefined;
  // Member by member: this runs for every frame, and a spread costs more.
  return {
    promises: traffic.promises,
    terms: traffic.terms,
    unackedEvents,
    unackedBytes: traffic.unackedBytes + bytes,
    isPaused: traffic.isPaused,
    overrunEvents: traffic.overrunEvents + (isCounted ? above : 0),
    shrunkAtMs: traffic.shrunkAtMs,
    heardAtMs: nowMs,
    blockedSinceMs: traffic.blockedSinceMs,
    isExpiryTold: traffic.isExpiryTold,
  };
}

/** The same traffic under another window. A larger one forgives what was sent above the smaller. */
export function withGrant(traffic: Traffic, grant: Grant, nowMs: number): Traffic {
  const isGrowing = grant.maxEvents > traffic.terms.grant.maxEvents;
  return {
    ...traffic,
    terms: { ...traffic.terms, grant },
    overrunEvents: isGrowing ? 0 : traffic.overrunEvents,
    shrunkAtMs: isShrunk(grant) ? (isGrowing ? nowMs : (traffic.shrunkAtMs ?? nowMs)) : undefined,
  };
}

/**
 * The refusal of a client that promised flow control and does not keep it, else undefined. It is found by counting, because a clock cannot tell a client
 * that ignores a window from one that has not read of it yet; why the count suffices is in SPEC.md, "Window violators".
 */
export function overrunOf(traffic: Traffic, nowMs: number): CoordinatorError | undefined {
  const { promises, shrunkAtMs, overrunEvents } = traffic;
  if (!promises.flowControl || shrunkAtMs === undefined || nowMs - shrunkAtMs < limits.windowGraceMs) return undefined;
  if (overrunEvents <= limits.windowOverrunMaxEvents) return undefined;
  const message = `${overrunEvents} events came above a window of ${traffic.terms.grant.maxEvents}, which was announced ${Math.round(nowMs - shrunkAtMs)} ms ago`;
  return new CoordinatorError("busy", message, { reason: "WINDOW_OVERRUN", retryAfterMs: limits.reconnectSpreadMs });
}

/** Whether more is under way than the stream may be read for, and whether it is all within the window again. */
export function fillOf(traffic: Traffic): "over" | "between" | "inside" {
  const { maxEvents, maxBytes } = traffic.terms.grant;
  const factor = limits.windowPauseFactor;
  if (traffic.unackedEvents > maxEvents * factor || traffic.unackedBytes > maxBytes * factor) return "over";
  return traffic.unackedEvents <= maxEvents && traffic.unackedBytes <= maxBytes ? "inside" : "between";
}

function isShrunk(grant: Grant): boolean {
  return grant.maxEvents < limits.windowMaxEvents;
}
