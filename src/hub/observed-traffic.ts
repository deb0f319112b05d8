import { limits } from "../platform/limits.js";
import type { ObservedShare, RouteTable } from "../smart-router/table.js";

/** Requests are counted in spans of this length, so that old ones leave without being remembered one by one. */
const spansPerWindow = 4;
const spanMs = limits.observedSharesMaxAgeMs / spansPerWindow;
/** A weight of 0 counts as half a basis point: requests that went to an MCP without weight must not make the divergence infinite. */
const leastShare = 0.00005;

/** Where requests of clients went. `share` is 0 to 1. */
export type ObservedRoute = ObservedShare & { readonly share: number };

/**
 * Requests that clients of ours say they gave to MCPs, over the last minute. What they say is believed: it is shown to people, and decides nothing.
 * Bound: `limits.routedMcpMax` MCPs in each span; further ones are not counted.
 */
export class ObservedTraffic {
  readonly #spans: { readonly index: number; readonly requests: Map<string, number> }[] = [];

  /** Units: `nowMs` is monotonic, here and below. */
  add(observed: readonly ObservedShare[], nowMs: number): void {
    if (observed.length === 0) return;
    const index = Math.floor(nowMs / spanMs);
    const newest = this.#spans.at(-1);
    const span = newest?.index === index ? newest : { index, requests: new Map<string, number>() };
    if (span !== newest) this.#spans.push(span);
    while (this.#spans.length > spansPerWindow) this.#spans.shift();
    for (const { mcpId, requests } of observed) {
      const before = span.requests.get(mcpId);
      if (before !== undefined || span.requests.size < limits.routedMcpMax) span.requests.set(mcpId, (before ?? 0) + requests);
    }
  }

  /** Ascending by mcpId. */
  read(nowMs: number): readonly ObservedRoute[] {
    const oldest = Math.floor(nowMs / spanMs) - spansPerWindow + 1;
    const sums = new Map<string, number>();
    for (const { index, requests } of this.#spans) {
      if (index < oldest) continue;
      for (const [mcpId, count] of requests) sums.set(mcpId, (sums.get(mcpId) ?? 0) + count);
    }
    const total = [...sums.values()].reduce((sum, count) => sum + count, 0);
    return [...sums]
      .map(([mcpId, requests]) => ({ mcpId, requests, share: requests / total }))
      .sort((a, b) => (a.mcpId < b.mcpId ? -1 : 1))
      .slice(0, limits.routedMcpMax);
  }
}

/** Kullback-Leibler divergence of what was observed from the weights, in nats: 0 when they agree. Undefined when nothing was observed. */
export function divergence(observed: readonly ObservedRoute[], table: RouteTable): number | undefined {
  if (observed.length === 0) return undefined;
  const weights = new Map(table.map(({ mcpId, weight }) => [mcpId, weight / 10_000]));
  return observed.reduce((sum, { mcpId, share }) => sum + share * Math.log(share / Math.max(leastShare, weights.get(mcpId) ?? 0)), 0);
}
