import { limits } from "../platform/limits.js";
import { type Rng, systemRng } from "../platform/rng.js";
import type { ClientRoute, ClientRoutes } from "./routes.js";

export type LocalRouterOptions = {
  /** Default: the system's. */
  readonly rng?: Rng;
  /** "p2c" looks at what is in flight from here; "stride" is deterministic and gives exact shares, whatever is in flight. Default "p2c". */
  readonly strategy?: "p2c" | "stride";
};

/** A request on its way to an MCP. `end` says that it is over, once; further calls do nothing. */
export type LocalPick = { readonly mcpId: string; readonly end: () => void };

/** Requests given to one MCP. `share` is of all requests since they were taken last. */
export type ObservedShare = { readonly mcpId: string; readonly share: number; readonly requests: number };

/** Scale of the weights of the static stride scheduler, and its offset between neighbours. Source: gRPC, static_stride_scheduler.cc. */
const strideMax = 65_535;
const strideOffset = 32_767;

/**
 * Chooses MCPs by the pushed weights, without a call to the coordinator; goes on with the last good table when the coordinator is away, and with equal weights once
 * that has run out. Give it to a session (`router`): it is kept up to date, and what it observed travels with the heartbeats.
 *
 * "p2c" draws two by weight and takes the one with fewer requests in flight from here for its weight, the first one when they are equal: idle clients keep exactly to
 * the weights, also a thousand of them together, and a busy one steers around what is stuck. Envoy's form, two even draws and (active + 1) / weight, would give an idle
 * client's requests to the heavier of every pair.
 */
export class LocalRouter {
  readonly #rng: Rng;
  readonly #strategy: "p2c" | "stride";
  /** Routes that may be chosen, ascending by mcpId, and the running sum of their weights. */
  #routes: readonly ClientRoute[] = [];
  #sums: readonly number[] = [];
  #turn = 0;
  readonly #active = new Map<string, number>();
  readonly #given = new Map<string, number>();

  constructor(options: LocalRouterOptions = {}) {
    this.#rng = options.rng ?? systemRng;
    this.#strategy = options.strategy ?? "p2c";
  }

  /** Routes by this table from now on. Undefined: the last one has run out, and all that had a share have the same. */
  use(table: ClientRoutes | undefined): void {
    const routes = table?.routes.filter((route) => route.weight > 0) ?? this.#routes.map((route) => ({ ...route, weight: 1 }));
    this.#routes = [...routes].sort((a, b) => (a.mcpId < b.mcpId ? -1 : 1));
    let sum = 0;
    this.#sums = this.#routes.map((route) => {
      sum += route.weight;
      return sum;
    });
  }

  /** Requests in flight from here. */
  activeOf(mcpId: string): number {
    return this.#active.get(mcpId) ?? 0;
  }

  /** An MCP for a request, not one of `exclude`; undefined when there is none, or all have as many requests as they may. */
  pick(exclude: ReadonlySet<string> = new Set()): LocalPick | undefined {
    const route = this.#strategy === "stride" ? this.#byStride(exclude) : this.#byTwoChoices(exclude);
    if (route === undefined) return undefined;
    const { mcpId } = route;
    this.#active.set(mcpId, this.activeOf(mcpId) + 1);
    this.#given.set(mcpId, (this.#given.get(mcpId) ?? 0) + 1);
    let isOver = false;
    const end = (): void => {
      if (isOver) return;
      isOver = true;
      const left = this.activeOf(mcpId) - 1;
      if (left > 0) this.#active.set(mcpId, left);
      else this.#active.delete(mcpId);
    };
    return { mcpId, end };
  }

  /** Where requests went since the last call; ascending by mcpId, at most `limits.routedMcpMax`. */
  takeObserved(): readonly ObservedShare[] {
    const total = [...this.#given.values()].reduce((sum, count) => sum + count, 0);
    const observed = [...this.#given].map(([mcpId, requests]) => ({ mcpId, requests, share: requests / total }));
    this.#given.clear();
    return observed.sort((a, b) => (a.mcpId < b.mcpId ? -1 : 1)).slice(0, limits.routedMcpMax);
  }

  #byTwoChoices(exclude: ReadonlySet<string>): ClientRoute | undefined {
    const first = this.#draw(exclude);
    if (first === undefined) return undefined;
    const second = this.#draw(exclude) ?? first;
    return this.#strain(second) < this.#strain(first) ? second : first;
  }

  #strain({ mcpId, weight }: ClientRoute): number {
    return this.activeOf(mcpId) / weight;
  }

  /** One route by weight; when the one that was drawn may not be taken, the next one that may. */
  #draw(exclude: ReadonlySet<string>): ClientRoute | undefined {
    const point = this.#rng() * (this.#sums.at(-1) ?? 0);
    return this.#nextFree(firstAbove(this.#sums, point), exclude);
  }

  /** The route at `index`, or the first one after it that may be taken. */
  #nextFree(index: number, exclude: ReadonlySet<string>): ClientRoute | undefined {
    for (let step = 0; step < this.#routes.length; step += 1) {
      const route = this.#routes[(index + step) % this.#routes.length];
      if (route !== undefined && this.#isFree(route, exclude)) return route;
    }
    return undefined;
  }

  /** Static stride: each route is passed over in proportion to what its weight lacks to the largest, which never is: so this ends within one round. */
  #byStride(exclude: ReadonlySet<string>): ClientRoute | undefined {
    const count = this.#routes.length;
    const most = this.#routes.reduce((largest, route) => Math.max(largest, route.weight), 0);
    for (let step = 0; step < count; step += 1) {
      const index = this.#turn % count;
      const generation = Math.floor(this.#turn / count);
      this.#turn += 1;
      const scaled = Math.max(1, Math.round(((this.#routes[index]?.weight ?? 0) * strideMax) / most));
      if ((scaled * generation + index * strideOffset) % strideMax >= strideMax - scaled) return this.#nextFree(index, exclude);
    }
    return undefined;
  }

  #isFree({ mcpId, maxConcurrent }: ClientRoute, exclude: ReadonlySet<string>): boolean {
    return !exclude.has(mcpId) && (maxConcurrent === 0 || this.activeOf(mcpId) < maxConcurrent);
  }
}

/** Index of the first sum above `point`; the last one when rounding has left none. */
function firstAbove(sums: readonly number[], point: number): number {
  let low = 0;
  let high = sums.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((sums[middle] ?? 0) > point) high = middle;
    else low = middle + 1;
  }
  return low;
}
