import type { Rng } from "../platform/rng.js";
import { seededRng } from "../platform/rng.js";
import { plainRequest, type RouteRequest } from "../smart-router/request.js";
import { exponential, normalWork, seedFor } from "./draws.js";

/** One request as it comes, whatever becomes of it. */
export type Arrival = {
  /** On the absolute time line of the run: a late answer never delays the next request. */
  readonly atMs: number;
  /** Time it takes alone on a server. */
  readonly workMs: number;
  readonly request: RouteRequest;
  /** What it is about, for quality models; "" where quality plays no part. */
  readonly domain: string;
  /** Row of the data set that it stands for; its number in the run where there is none. */
  readonly item: number;
};

/** All requests of a run, ascending by time, the same for every policy. */
export type Arrivals = (seed: number) => Iterable<Arrival>;

/** What differs between arrival processes. */
export type Gaps = (rng: Rng) => () => number;

/** Poisson arrivals. */
export function poisson(perSecond: number): Gaps {
  return (rng) => () => exponential(rng, 1_000 / perSecond);
}

/**
 * Gaps with the given coefficient of variation, at least 1: a mixture of two exponentials with balanced means.     Source: Whitt 1982, H2 with balanced means.
 */
export function hyperexponential(perSecond: number, cv: number): Gaps {
  const share = 0.5 * (1 + Math.sqrt((cv * cv - 1) / (cv * cv + 1)));
  const meanMs = 1_000 / perSecond;
  return (rng) => () => (rng() < share ? exponential(rng, meanMs / (2 * share)) : exponential(rng, meanMs / (2 * (1 - share))));
}

/** Poisson arrivals whose rate is that of the step in force. `steps` ascending by `fromMs`, the first at 0. */
export function ramp(steps: readonly { readonly fromMs: number; readonly perSecond: number }[]): Gaps {
  return (rng) => {
    let nowMs = 0;
    return () => {
      const beganMs = nowMs;
      let left = exponential(rng, 1);
      for (let index = 0; index < steps.length; index++) {
        const perMs = (steps[index]?.perSecond ?? 0) / 1_000;
        const untilMs = steps[index + 1]?.fromMs ?? Number.POSITIVE_INFINITY;
        if (nowMs >= untilMs) continue;
        if (left <= perMs * (untilMs - nowMs)) {
          nowMs += left / perMs;
          return nowMs - beganMs;
        }
        left -= perMs * (untilMs - nowMs);
        nowMs = untilMs;
      }
      return Number.POSITIVE_INFINITY;
    };
  };
}

/** How much work a request brings, ms. */
export type Work = (rng: Rng) => number;

/** Normal(mean, mean) work; see `normalWork`. */
export function normalWorkOf(meanMs: number): Work {
  return (rng) => normalWork(rng, meanMs);
}

/** Requests of one kind until `horizonMs`. */
export function steady(gaps: Gaps, work: Work, horizonMs: number, request: RouteRequest = plainRequest): Arrivals {
  return function* arrive(seed: number): Generator<Arrival> {
    const gap = gaps(seededRng(seedFor(seed, "gaps")));
    const workRng = seededRng(seedFor(seed, "work"));
    let atMs = gap();
    for (let item = 0; atMs < horizonMs; item++) {
      yield { atMs, workMs: work(workRng), request, domain: "", item };
      atMs += gap();
    }
  };
}

/** Requests of a recorded trace. `rows` ascending by time. */
export function replayed(
  rows: readonly { readonly atMs: number; readonly workMs: number }[],
  request: RouteRequest = plainRequest,
): Arrivals {
  return () => rows.map((row, item) => ({ ...row, request, domain: "", item }));
}
