import type { HealthState } from "../policy.js";
import { betaAbove } from "./beta.js";
import type { HealthSettings } from "./settings.js";
import type { ToldHealth } from "./told.js";

/** Two decayed counts as of `atMs`: how many, and how many of them were bad. */
export type Tally = { atMs: number; count: number; bad: number };

/** What an MCP was when its last stream ended in good order: what it is again if it is back by `untilMs`. */
export type Leave = {
  readonly state: Extract<HealthState, "healthy" | "degraded" | "warming">;
  readonly sinceMs: number;
  readonly warmingOks: number;
  readonly untilMs: number;
};

/** Routing tables in a row without an answer, and jitter of heartbeats as a share of their interval, on the best of its sessions. */
export type Strain = { readonly unansweredTables: number; readonly heartbeatJitter: number };

/** What is known of the health of one MCP. Written in place, once per end of a request. Times monotonic ms. */
export type Standing = {
  state: HealthState;
  sinceMs: number;
  reason: string;
  readonly errors: Tally;
  readonly late: Tally;
  readonly slow: Tally;
  consecutiveErrors: number;
  /** When the first of these errors was seen. */
  failingSinceMs: number;
  /** Times of the last requests without an end and of the last lost streams, oldest first; at most as many as eject. */
  readonly expiredAtMs: number[];
  readonly lostAtMs: number[];
  /** How often it was ejected lately, until when it is, and when that was last forgiven. */
  ejectionCount: number;
  ejectedUntilMs: number;
  forgivenAtMs: number;
  /** What the coordinator that holds its stream says, by which stream, and until when that counts; undefined when the stream is here. */
  told: { readonly by: string; readonly health: ToldHealth; readonly untilMs: number } | undefined;
  /** Until when it is shut out because it was told so; in the past when it was not. */
  barredUntilMs: number;
  /** How its client keeps up with its sessions here. */
  strain: Strain;
  /** Length of the slow start it is in, and successes since it began. */
  warmingMs: number;
  warmingOks: number;
  /** Of the probes since it is probed: when the last one was sent, whether it is still out, how many succeeded. */
  probedAtMs: number;
  isProbeOut: boolean;
  probesPassed: number;
  /** Undefined while it has a stream, and when it did not leave in good order. */
  leave: Leave | undefined;
};

export function createStanding(nowMs: number): Standing {
  const tally = (): Tally => ({ atMs: nowMs, count: 0, bad: 0 });
  return {
    state: "joining",
    sinceMs: nowMs,
    reason: "no stream yet",
    errors: tally(),
    late: tally(),
    slow: tally(),
    consecutiveErrors: 0,
    failingSinceMs: 0,
    expiredAtMs: [],
    lostAtMs: [],
    ejectionCount: 0,
    ejectedUntilMs: 0,
    forgivenAtMs: nowMs,
    told: undefined,
    barredUntilMs: Number.NEGATIVE_INFINITY,
    strain: { unansweredTables: 0, heartbeatJitter: 0 },
    warmingMs: 0,
    warmingOks: 0,
    probedAtMs: Number.NEGATIVE_INFINITY,
    isProbeOut: false,
    probesPassed: 0,
    leave: undefined,
  };
}

/** Adds one to a tally. Times that go back count as no time. */
export function addTo(tally: Tally, isBad: boolean, nowMs: number, halfLifeMs: number): void {
  decay(tally, nowMs, halfLifeMs);
  tally.count += 1;
  if (isBad) tally.bad += 1;
}

export function decay(tally: Tally, nowMs: number, halfLifeMs: number): void {
  if (nowMs <= tally.atMs) return;
  const kept = 2 ** ((tally.atMs - nowMs) / halfLifeMs);
  tally.atMs = nowMs;
  tally.count *= kept;
  tally.bad *= kept;
}

export function clearTally(tally: Tally): void {
  tally.count = 0;
  tally.bad = 0;
}

/** Share of bad ones among all others than `own`, shrunk towards `prior` as by two observations. Both tallies as of the same time. */
export function shareOfOthers(fleet: Tally, own: Tally, prior: number): number {
  const count = Math.max(0, fleet.count - own.count);
  const bad = Math.min(count, Math.max(0, fleet.bad - own.bad));
  return (bad + 2 * prior) / (count + 2);
}

/**
 * Whether a share of bad outcomes is above `errorFactor` times the others' plus `errorMargin`, with the probability `confidence`, given the prior.
 * Source: router.md 1.5.
 */
export function isAboveOthers(own: Tally, others: number, settings: HealthSettings): boolean {
  const threshold = settings.errorFactor * others + settings.errorMargin;
  return (
    threshold < 1 && betaAbove(threshold, settings.priorErrors + own.bad, settings.priorOks + own.count - own.bad) > settings.confidence
  );
}

/** The leave of an MCP that is away with a good-bye and still expected back. */
export function leaveOf({ state, leave }: Standing, nowMs: number): Leave | undefined {
  return state === "disconnected" && leave !== undefined && nowMs < leave.untilMs ? leave : undefined;
}

/** When an MCP that is shut out may be tried again: not before its own ejection is over, and not while another coordinator's word stands. */
export function shutOutUntilOf({ ejectedUntilMs, barredUntilMs }: Pick<Standing, "ejectedUntilMs" | "barredUntilMs">): number {
  return Math.max(ejectedUntilMs, barredUntilMs);
}

/** Share of a slow start that an MCP has behind it, in [`slowStartMin`, 1]: by time or by successes, whichever is further. 1 when it is not starting. */
export function slowStartOf(
  standing: Pick<Standing, "state" | "sinceMs" | "warmingMs" | "warmingOks">,
  nowMs: number,
  settings: HealthSettings,
): number {
  if (standing.state !== "warming") return 1;
  const byTime = standing.warmingMs > 0 ? (nowMs - standing.sinceMs) / standing.warmingMs : 1;
  const byCount = standing.warmingOks / settings.warmingOks;
  return Math.min(1, Math.max(settings.slowStartMin, byTime, byCount));
}

/** Adds a time to the last `max` of its kind; true when all of them are within the window. */
export function isTooOften(times: number[], nowMs: number, max: number, windowMs: number): boolean {
  times.push(nowMs);
  if (times.length > max) times.shift();
  const oldest = times[0];
  return times.length >= max && oldest !== undefined && nowMs - oldest <= windowMs;
}
