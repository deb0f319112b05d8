import type { RouteRequest } from "../request.js";
import { type LogHistogram, placeThreshold, type Threshold, totalOf, weightAbove } from "./log-histogram.js";
import type { Mcp, Memory } from "./memory.js";
import { classKey, typeKey } from "./situation.js";

/** A request whose end would have been told of if it had come before the last word. */
export type Unheard = { readonly request: RouteRequest; readonly requestClass: string; readonly assignedAtMs: number };

/** How many of some requests still run: the mean and the variance of that number, as their ends are independent. Overwritten by the next call. */
export type StillOpen = { mean: number; variance: number };

const answer: StillOpen = { mean: 0, variance: 0 };

/** So much of a request counts as one that takes for ever, beside all that have ended: who has outlasted every answer that is known may well be stuck, and who is not known at all counts as open. */
const stuckSamples = 0.5;

/**
 * P(a request runs at the age of `ageMs`, given that it ran at the age of `knownMs`), by a histogram of latencies whose weights count `kept`-fold. 1 where nothing is known; falls with `ageMs`, and within (0, 1].
 */
export function survival(histogram: LogHistogram, kept: number, knownMs: number, ageMs: number): number {
  if (!(ageMs > knownMs)) return 1;
  const known = knownMs > 0 ? aboveOf(histogram, knownMs) : totalOf(histogram);
  return (aboveOf(histogram, ageMs) * kept + stuckSamples) / (known * kept + stuckSamples);
}

/** Weight of what takes longer. */
function aboveOf(histogram: LogHistogram, ageMs: number): number {
  placeThreshold(ageMs, place);
  return weightAbove(histogram, place);
}

const place: Threshold = { bucket: 0, share: 0 };

/**
 * How many of `unheard`, at one MCP, still run. What ended before `toldAtMs` would have been told, so a request that is older than that ran then; how long answers take says the rest: of the MCP itself, else of the
 * fleet, in the class, else in the type, else in everything: the first with `countMin` successes.     Cost: O(unheard).
 */
export function countStillOpen(
  memory: Memory,
  mcp: Mcp | undefined,
  unheard: Iterable<Unheard>,
  by: { readonly countMin: number; readonly kept: number; readonly toldAtMs: number; readonly nowMs: number },
): StillOpen {
  let ofClass: string | undefined;
  let histogram: LogHistogram | undefined;
  answer.mean = 0;
  answer.variance = 0;
  for (const { request, requestClass, assignedAtMs } of unheard) {
    if (requestClass !== ofClass) {
      ofClass = requestClass;
      histogram = telling(memory, mcp, request, by.countMin / by.kept);
    }
    const share = histogram === undefined ? 1 : survival(histogram, by.kept, by.toldAtMs - assignedAtMs, by.nowMs - assignedAtMs);
    answer.mean += share;
    answer.variance += share * (1 - share);
  }
  return answer;
}

function telling(memory: Memory, mcp: Mcp | undefined, request: RouteRequest, weightMin: number): LogHistogram | undefined {
  for (const level of [memory.findLevel(classKey(request)), memory.findLevel(typeKey(request)), memory.all]) {
    if (level === undefined) continue;
    const own = level === memory.all ? mcp?.all : mcp && level.cells.get(mcp.mcpId);
    if (own !== undefined && totalOf(own.ok) >= weightMin) return own.ok;
    if (totalOf(level.latency) >= weightMin) return level.latency;
  }
  return undefined;
}
