/**
 * What an MCP usually has in flight, how long it takes then, and how far that follows from what it has in flight. Mutable: written once per end.
 * Moments are means over the newest `memory` ends, weighed less and less.
 */
export type UsualLoad = {
  /** Ends that were added, at most `memory`. */
  count: number;
  /** Requests in flight while one is served, itself not among them, and its latency, ms. */
  inFlight: number;
  latencyMs: number;
  inFlightVariance: number;
  latencyVariance: number;
  covariance: number;
  /** The last end, monotonic ms. */
  atMs: number;
};

/** What is read of it for a decision. */
export type LoadEffect = {
  readonly inFlight: number;
  readonly latencyMs: number;
  /** Part of the latency that grows in proportion to the requests in flight, 0 to 1: 1 for a machine that is shared by all of them, 0 where nobody waits for anybody. */
  readonly growth: number;
};

export function noUsualLoad(): UsualLoad {
  return { count: 0, inFlight: 0, latencyMs: 0, inFlightVariance: 0, latencyVariance: 0, covariance: 0, atMs: Number.NEGATIVE_INFINITY };
}

/** Adds an end. `inFlight`: others in flight, as a mean of when it began and when it ended. Numbers that are not finite and at least 0 change nothing. */
export function addEnd(usual: UsualLoad, latencyMs: number, inFlight: number, atMs: number, memory: number): void {
  if (!Number.isFinite(latencyMs) || !Number.isFinite(inFlight) || latencyMs < 0 || inFlight < 0) return;
  usual.count = Math.min(memory, usual.count + 1);
  const part = 1 / usual.count;
  const ofInFlight = inFlight - usual.inFlight;
  const ofLatency = latencyMs - usual.latencyMs;
  usual.inFlight += part * ofInFlight;
  usual.latencyMs += part * ofLatency;
  usual.inFlightVariance = (1 - part) * (usual.inFlightVariance + part * ofInFlight * ofInFlight);
  usual.latencyVariance = (1 - part) * (usual.latencyVariance + part * ofLatency * ofLatency);
  usual.covariance = (1 - part) * (usual.covariance + part * ofInFlight * ofLatency);
  if (atMs > usual.atMs) usual.atMs = atMs;
}

/**
 * The effect of load on latency as of these ends; undefined with fewer than `countMin`. The growth is the slope of a least-squares line, plus `sigmas` standard errors: latency
 * counts as following load until it was shown that it does not.
 */
export function effectOf(usual: UsualLoad, countMin: number, sigmas: number): LoadEffect | undefined {
  const { count, inFlight, latencyMs, inFlightVariance, latencyVariance, covariance } = usual;
  if (count < countMin || !(latencyMs > 0)) return undefined;
  if (!(inFlightVariance > 0)) return { inFlight, latencyMs, growth: 1 };
  const slope = covariance / inFlightVariance;
  const unexplained = Math.max(0, latencyVariance - slope * covariance);
  const most = slope + sigmas * Math.sqrt(unexplained / (count * inFlightVariance));
  return { inFlight, latencyMs, growth: Math.min(1, Math.max(0, (most * (inFlight + 1)) / latencyMs)) };
}
