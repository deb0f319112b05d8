import { limits } from "../platform/limits.js";
import type { RouteRequest } from "./request.js";

/** A request that is with an MCP: reserved by a decision, or seen to start without one. */
export type Flight = {
  /** Of the decision; of a request without one, a name that no decision has. */
  readonly decisionId: string;
  readonly isDecided: boolean;
  /** Other words of it may follow: it was decided here, or its start names a decision of another coordinator. */
  readonly isNamed: boolean;
  readonly mcpId: string;
  readonly request: RouteRequest;
  readonly requestClass: string;
  readonly assignedAtMs: number;
  readonly inFlightBefore: number;
  readonly isProbe: boolean;
  /** When its start was heard; undefined until then. */
  startedAtMs: number | undefined;
  /** Empty until its start was heard. */
  interactionId: string;
  expiresAtMs: number;
  /** Whether it holds a place: not after its lease, and not when the MCP says that it does not have it. */
  isCounted: boolean;
  state: "running" | "expired" | "ended";
  /** The first audit of it, 0 to 1; told at its end when it came before. */
  audited: number | undefined;
  /** It was given back unused: there is nothing to audit. */
  isReleased: boolean;
};

/** The end of an interaction whose start was not heard yet. */
export type EarlyEnd = { readonly atMs: number; readonly isOk: boolean };

/** What one session of an MCP reports of its own load. */
export type StreamLoad = {
  /** It misses heartbeats; it leaves routing tables unanswered. Either makes it suspect. */
  isSilent: boolean;
  isLagging: boolean;
  unansweredTables: number;
  heartbeatJitter: number;
  reported: number | undefined;
  /** When that was so, where another coordinator holds the stream and tells of it; undefined for a stream that is here. Monotonic ms. */
  toldAtMs: number | undefined;
  /** It has reported more than nothing once: it does count. */
  doesCount: boolean;
  /** Reports in a row that were below what is counted here. */
  mismatches: number;
};

/** The requests of one MCP. Bounds: `limits.routedInFlightMax` flights, `limits.routedEarlyEndsMax` early ends. */
export type InFlight = {
  /** Running ones, oldest first. */
  readonly running: Set<Flight>;
  readonly byInteraction: Map<string, Flight>;
  readonly earlyEnds: Map<string, EarlyEnd>;
  readonly streams: Map<string, StreamLoad>;
  /** Streams that are suspect. */
  suspects: number;
  /** Flights that hold a place. */
  counted: number;
  /** Sum of the latest reports, less what has ended since; undefined without a fresh report. */
  reported: number | undefined;
  reportedAtMs: number;
  /** What is expected while every stream is at other coordinators, which hear of ends first; undefined otherwise. */
  expected: Expected | undefined;
};

/** Places at an MCP of which only words of another coordinator tell. Mutable: made anew as time passes, counted on in between. */
export type Expected = {
  /** What the last word said, all coordinators together, and as of when. */
  readonly toldInFlight: number;
  readonly toldAtMs: number;
  /** Requests that it has; there are more 1 time in 40 or so. */
  atMost: number;
  /** As of when that is; -Infinity when it must be made anew. */
  atMs: number;
};

export function createInFlight(): InFlight {
  return {
    running: new Set(),
    byInteraction: new Map(),
    earlyEnds: new Map(),
    streams: new Map(),
    suspects: 0,
    counted: 0,
    reported: undefined,
    reportedAtMs: 0,
    expected: undefined,
  };
}

/**
 * Requests that the MCP has, as far as anybody can tell: what is counted here or what it reports, whichever is more. Where ends are heard elsewhere that is too many: a request counts until a word tells of its end.
 */
export function inFlightOf({ counted, reported }: InFlight): number {
  return reported === undefined ? counted : Math.max(counted, reported);
}

/** Places of it that are not free: all that is counted, or what is likely of it where ends are heard elsewhere. */
export function placesTakenOf(inFlight: InFlight): number {
  return inFlight.expected?.atMost ?? inFlightOf(inFlight);
}

/** How many of these requests, the oldest first, still run, when what had ended by `toldAtMs` would be known. */
export type CountStillOpen = (flights: readonly Flight[], toldAtMs: number) => { readonly mean: number; readonly variance: number };

/**
 * Brings the places that are taken at an MCP elsewhere to now: what others had there at the last word, and what of our own requests still runs. At most once in `everyMs`, unless something ended or was
 * told.     Cost: O(running). Source: SPEC.md, "Load elsewhere".
 */
export function expectInFlight(inFlight: InFlight, countStillOpen: CountStillOpen, everyMs: number, nowMs: number): boolean {
  const { expected } = inFlight;
  if (expected === undefined || nowMs - expected.atMs < everyMs) return false;
  const counted: Flight[] = [];
  let ownThen = 0;
  for (const flight of inFlight.running) {
    if (!flight.isCounted) continue;
    counted.push(flight);
    if (flight.assignedAtMs <= expected.toldAtMs) ownThen += 1;
  }
  const others = Math.max(0, expected.toldInFlight - ownThen);
  const { mean, variance } = countStillOpen(counted, expected.toldAtMs);
  expected.atMost = Math.ceil(others + Math.min(counted.length, mean + sigmas * Math.sqrt(variance)));
  expected.atMs = nowMs;
  return true;
}

/** Standard deviations above the mean: 1 time in 40 or so there are more. */
const sigmas = 2;

/** A place is taken. */
export function take(inFlight: InFlight, flight: Flight): void {
  inFlight.running.add(flight);
  flight.isCounted = true;
  inFlight.counted += 1;
  if (inFlight.expected !== undefined) inFlight.expected.atMost += 1;
}

/** A flight is over, or its lease is; its place is free. Idempotent. */
export function leave(inFlight: InFlight, flight: Flight): void {
  inFlight.running.delete(flight);
  free(inFlight, flight);
}

function free(inFlight: InFlight, flight: Flight): void {
  if (!flight.isCounted) return;
  flight.isCounted = false;
  inFlight.counted -= 1;
  if (inFlight.expected !== undefined) inFlight.expected.atMs = Number.NEGATIVE_INFINITY;
}

/** One request less than the MCP last reported. */
export function endReported(inFlight: InFlight): void {
  if (inFlight.reported !== undefined && inFlight.reported > 0) inFlight.reported -= 1;
}

/** Younger than this, a request may be on its way to an MCP that does not know of it yet.     Unit: ms. */
const onItsWayMs = 5_000;

/**
 * Takes over what a session reports. When it reports less than is counted here, twice in a row, the MCP is right: the oldest requests lose their places,
 * though not their leases. Only MCPs that have reported more than nothing are believed, and only when every session of theirs reports.
 * `toldAtMs`: when it was so, where another coordinator says it.
 */
export function takeReport(inFlight: InFlight, sessionId: string, count: number, nowMs: number, toldAtMs?: number): void {
  const stream = inFlight.streams.get(sessionId);
  if (stream === undefined) return;
  stream.reported = count;
  stream.toldAtMs = toldAtMs;
  if (count > 0) stream.doesCount = true;
  let sum = 0;
  let isComplete = true;
  for (const { reported, doesCount } of inFlight.streams.values()) {
    sum += reported ?? 0;
    if (reported === undefined || !doesCount) isComplete = false;
  }
  inFlight.reported = sum;
  inFlight.reportedAtMs = nowMs;
  inFlight.expected = expectedOf(inFlight);
  const settled: Flight[] = [];
  for (const flight of inFlight.running) {
    if (nowMs - flight.assignedAtMs < onItsWayMs) break;
    if (flight.isCounted) settled.push(flight);
  }
  if (!isComplete || sum >= settled.length) {
    stream.mismatches = 0;
    return;
  }
  stream.mismatches += 1;
  if (stream.mismatches < limits.routedMismatchesMax) return;
  stream.mismatches = 0;
  for (const flight of settled.slice(0, settled.length - sum)) free(inFlight, flight);
}

/** What the words say, to be brought to now; undefined unless there is a stream and all are elsewhere. Of several words the oldest tells when. */
function expectedOf({ streams, counted }: InFlight): Expected | undefined {
  let toldInFlight = 0;
  let toldAtMs = Number.POSITIVE_INFINITY;
  for (const stream of streams.values()) {
    if (stream.toldAtMs === undefined) return undefined;
    toldInFlight += stream.reported ?? 0;
    toldAtMs = Math.min(toldAtMs, stream.toldAtMs);
  }
  return streams.size === 0 ? undefined : { toldInFlight, toldAtMs, atMost: toldInFlight + counted, atMs: Number.NEGATIVE_INFINITY };
}

/** A report that nobody renews is worth nothing. */
export function forgetOldReport(inFlight: InFlight, nowMs: number): void {
  if (inFlight.reported === undefined || nowMs - inFlight.reportedAtMs <= limits.loadReportMaxAgeMs) return;
  inFlight.reported = undefined;
  inFlight.expected = undefined;
}

/** A session begins; one of the same name is replaced. */
export function addStream(inFlight: InFlight, sessionId: string): void {
  suspectStream(inFlight, sessionId, { isSilent: false, isLagging: false });
  inFlight.streams.set(sessionId, {
    isSilent: false,
    isLagging: false,
    unansweredTables: 0,
    heartbeatJitter: 0,
    reported: undefined,
    toldAtMs: undefined,
    doesCount: false,
    mismatches: 0,
  });
  inFlight.expected = undefined;
}

/** A session misses heartbeats or leaves tables unanswered, or does no longer. */
export function suspectStream(
  inFlight: InFlight,
  sessionId: string,
  now: { readonly isSilent?: boolean; readonly isLagging?: boolean },
): void {
  const stream = inFlight.streams.get(sessionId);
  if (stream === undefined) return;
  const wasSuspect = stream.isSilent || stream.isLagging;
  Object.assign(stream, now);
  inFlight.suspects += Number(stream.isSilent || stream.isLagging) - Number(wasSuspect);
}

/** A session tells how its client keeps up. Suspect from `tablesMax` tables in a row without an answer. */
export function strainStream(
  inFlight: InFlight,
  sessionId: string,
  { unansweredTables, heartbeatJitter }: { readonly unansweredTables: number; readonly heartbeatJitter: number },
  tablesMax: number,
): void {
  const stream = inFlight.streams.get(sessionId);
  if (stream === undefined) return;
  stream.unansweredTables = unansweredTables;
  stream.heartbeatJitter = heartbeatJitter;
  suspectStream(inFlight, sessionId, { isLagging: unansweredTables >= tablesMax });
}

/** Whether every stream of an MCP is at another coordinator: that one is the authority for what is known of it. */
export function isElsewhere({ streams }: Pick<InFlight, "streams">): boolean {
  for (const { toldAtMs } of streams.values()) if (toldAtMs === undefined) return false;
  return streams.size > 0;
}

/** How an MCP keeps up: as well as the best of its sessions does. */
export function strainOf({ streams }: InFlight): { readonly unansweredTables: number; readonly heartbeatJitter: number } {
  if (streams.size === 0) return { unansweredTables: 0, heartbeatJitter: 0 };
  let unansweredTables = Number.POSITIVE_INFINITY;
  let heartbeatJitter = Number.POSITIVE_INFINITY;
  for (const stream of streams.values()) {
    unansweredTables = Math.min(unansweredTables, stream.unansweredTables);
    heartbeatJitter = Math.min(heartbeatJitter, stream.heartbeatJitter);
  }
  return { unansweredTables, heartbeatJitter };
}

/** A session is gone, and what it reported with it. */
export function dropStream(inFlight: InFlight, sessionId: string): void {
  const stream = inFlight.streams.get(sessionId);
  if (stream === undefined) return;
  suspectStream(inFlight, sessionId, { isSilent: false, isLagging: false });
  inFlight.streams.delete(sessionId);
  inFlight.expected = expectedOf(inFlight);
  if (inFlight.streams.size === 0) inFlight.reported = undefined;
  else if (inFlight.reported !== undefined) inFlight.reported = Math.max(0, inFlight.reported - (stream.reported ?? 0));
}

/** Remembers an end that came before its start. The oldest is forgotten first. */
export function noteEarlyEnd(inFlight: InFlight, interactionId: string, end: EarlyEnd): void {
  inFlight.earlyEnds.set(interactionId, end);
  if (inFlight.earlyEnds.size <= limits.routedEarlyEndsMax) return;
  const oldest = inFlight.earlyEnds.keys().next();
  if (oldest.done !== true) inFlight.earlyEnds.delete(oldest.value);
}
