import type { Outcome, RunLog } from "./run-log.js";
import { jainIndex, quantile, quantileOfCounts } from "./statistics.js";

/** Figures of one run, by name; the unit is the end of the name. */
export type Figures = Readonly<Record<string, number>>;

/** Requests that count: those that came after the warm-up, and, if given, before `untilMs`. */
export function measured(log: RunLog, fromMs = log.measureFromMs, untilMs = Number.POSITIVE_INFINITY): readonly Outcome[] {
  return log.outcomes.filter(({ arrival }) => arrival.atMs >= fromMs && arrival.atMs < untilMs);
}

/** Latency of a request; one without an answer counts as the deadline, whatever went wrong with it. Unit: ms. */
export function latencyOf(outcome: Outcome, deadlineMs: number): number {
  return outcome.result === "ok" ? outcome.endedAtMs - outcome.arrival.atMs : deadlineMs;
}

/** Latencies of all these requests, ascending. */
export function sortedLatencies(outcomes: readonly Outcome[], deadlineMs: number): Float64Array {
  return Float64Array.from(outcomes, (outcome) => latencyOf(outcome, deadlineMs)).sort();
}

/** What is told of every run: quantiles over all requests, failures, fairness. */
export function commonFigures(log: RunLog, outcomes: readonly Outcome[] = measured(log)): Figures {
  const sorted = sortedLatencies(outcomes, log.deadlineMs);
  const share = (result: Outcome["result"]): number => outcomes.filter((one) => one.result === result).length / outcomes.length;
  return {
    requests: outcomes.length,
    p50Ms: quantile(sorted, 0.5),
    p90Ms: quantile(sorted, 0.9),
    p99Ms: quantile(sorted, 0.99),
    p999Ms: quantile(sorted, 0.999),
    meanMs: sorted.reduce((sum, latency) => sum + latency, 0) / sorted.length,
    errorShare: share("error"),
    lateShare: share("late"),
    refusedShare: share("refused"),
    failedShare: 1 - share("ok"),
    inFlightP99: quantileOfCounts(log.inFlightSeen, 0.99),
    fairness: jainIndex(countsByServer(outcomes, log.serverCount)),
    leaked: log.leaked,
  };
}

/** Requests that each server got. */
export function countsByServer(outcomes: readonly Outcome[], serverCount: number): readonly number[] {
  const counts = new Array<number>(serverCount).fill(0);
  for (const { server } of outcomes) if (server >= 0) counts[server] = (counts[server] ?? 0) + 1;
  return counts;
}

/** Share of requests answered within `withinMs`. */
export function shareWithin(outcomes: readonly Outcome[], withinMs: number): number {
  return outcomes.filter((one) => one.result === "ok" && one.endedAtMs - one.arrival.atMs <= withinMs).length / outcomes.length;
}
