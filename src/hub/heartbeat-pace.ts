/** How evenly the heartbeats of a session come. Times monotonic ms. */
export type Pace = {
  /** When the last one came; undefined when the time to the next one says nothing. */
  readonly lastAtMs: number | undefined;
  readonly intervals: number;
  /** Smoothed deviation of an interval from the agreed one, as a share of that: 0 for a clock, 1 for a client that is an interval off each time. */
  readonly jitter: number;
};

export const noPace: Pace = { lastAtMs: undefined, intervals: 0, jitter: 0 };

/** Weight of one deviation.     Source: RFC 3550 6.4.1 takes 1/16 of packets that come fifty a second; heartbeats come four a minute. */
const gain = 1 / 8;
/** Intervals before the jitter says anything: two minutes of the default. */
const intervalsMin = 8;

/** The pace after one more heartbeat. */
export function beat({ lastAtMs, intervals, jitter }: Pace, intervalMs: number, nowMs: number): Pace {
  if (lastAtMs === undefined || intervalMs <= 0) return { lastAtMs: nowMs, intervals, jitter };
  const deviation = Math.abs(nowMs - lastAtMs - intervalMs) / intervalMs;
  return { lastAtMs: nowMs, intervals: intervals + 1, jitter: jitter + gain * (deviation - jitter) };
}

/** The pace after a time in which this process did not read: what comes next is late by our own doing. */
export function unheard(pace: Pace): Pace {
  return pace.lastAtMs === undefined ? pace : { ...pace, lastAtMs: undefined };
}

/** The jitter, 0 while too few intervals are known. */
export function jitterOf({ intervals, jitter }: Pace): number {
  return intervals < intervalsMin ? 0 : jitter;
}
