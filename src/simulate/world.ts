import type { Arrival, Arrivals } from "./arrivals.js";

/** From `fromMs` on a server has this part of its cores, for what it has begun as well: neighbours use the others. A lone request does not notice. */
export type Contention = { readonly fromMs: number; readonly coresLeft: number };

/** Something wrong with a server for a while. `share`: part of the requests that it hits, by a draw that belongs to the request. */
export type Fault =
  /** Answers an error after `afterMs`, without doing any work. */
  | { readonly kind: "fail_fast"; readonly fromMs: number; readonly untilMs: number; readonly share: number; readonly afterMs: number }
  /** Does the work and then answers an error. */
  | { readonly kind: "fail"; readonly fromMs: number; readonly untilMs: number; readonly share: number }
  /** Never answers; holds a place and does no work. Only the deadline ends it. */
  | { readonly kind: "hang"; readonly fromMs: number; readonly untilMs: number; readonly share: number }
  /** Requests that arrive take `factor` times the work. */
  | { readonly kind: "slow"; readonly fromMs: number; readonly untilMs: number; readonly share: number; readonly factor: number }
  /** The process dies: its stream ends, what it had open fails, and it is back with an empty queue at `untilMs`. */
  | { readonly kind: "die"; readonly fromMs: number; readonly untilMs: number };

/** One server: processor sharing among at most `capacity` requests, the others wait in the order of their arrival. Nothing is shared with other servers. */
export type ServerSpec = {
  readonly mcpId: string;
  /** Requests that are served at full speed at once; with more, each gets its share. Infinity: latency does not depend on load. */
  readonly cores: number;
  /** Requests that it takes at once, as it registered. */
  readonly capacity: number;
  /** Ascending by `fromMs`; before the first it has all of its cores. */
  readonly contention: readonly Contention[];
  readonly faults: readonly Fault[];
  /** When its stream opens. */
  readonly joinsAtMs: number;
};

/** What a server says of one request, and what was true of it. */
export type Verdict = {
  /** Multiplies the work of the request on this server. */
  readonly workFactor: number;
  readonly isError: boolean;
  /** As the server reports it; undefined when it reports none. */
  readonly quality: number | undefined;
  /** As the user would have it; undefined where quality plays no part. Policies never see it, unless it is audited. */
  readonly trueQuality: number | undefined;
  readonly auditedQuality: number | undefined;
  readonly cost: number | undefined;
};

/** How a server answers a request that reaches it at `atMs`. `draw` gives the numbers that belong to the request (draws.ts). */
export type Answering = (server: number, arrival: Arrival, atMs: number, draw: (purpose: number) => number) => Verdict;

/** Everything about a run but the policy. */
export type World = {
  /** Ascending by mcpId. */
  readonly servers: readonly ServerSpec[];
  readonly arrivals: Arrivals;
  /** A request that is not answered by then is given up, and counts as one that took this long. */
  readonly deadlineMs: number;
  /** Requests before this are served and not counted: estimates must have settled. */
  readonly measureFromMs: number;
  /** Coordinators that decide, each for its own part of the requests and with knowledge of its own. */
  readonly coordinators: number;
  /** How long the news of an end is on its way to the coordinator. */
  readonly reportDelayMs: number;
  /** How long a probe of a server takes, there and back. */
  readonly probeDelayMs: number;
  /** How long the run goes on after the last request ended, for leases to run out. */
  readonly drainMs: number;
  readonly answering: Answering;
};

/** A server that says nothing about quality or cost. */
export const plainVerdict: Verdict = {
  workFactor: 1,
  isError: false,
  quality: undefined,
  trueQuality: undefined,
  auditedQuality: undefined,
  cost: undefined,
};

/** The deadline of every scenario that names no other.     Source: Prequal, router.md 3.1. */
export const deadlineMs = 5_000;

/** What most worlds have in common. */
export const plainWorld = {
  deadlineMs,
  measureFromMs: 0,
  coordinators: 1,
  reportDelayMs: 0,
  probeDelayMs: 1,
  drainMs: 0,
  answering: () => plainVerdict,
} as const satisfies Partial<World>;

/** `count` equal servers, "mcp-000" upwards; `differ` changes single ones. */
export function equalServers(
  count: number,
  like: Partial<Omit<ServerSpec, "mcpId">>,
  differ: (index: number) => Partial<Omit<ServerSpec, "mcpId">> = () => ({}),
): readonly ServerSpec[] {
  return Array.from({ length: count }, (_, index) => ({
    mcpId: `mcp-${String(index).padStart(3, "0")}`,
    cores: 1,
    capacity: 100,
    contention: [],
    faults: [],
    joinsAtMs: 0,
    ...like,
    ...differ(index),
  }));
}

/**
 * A neighbour that takes `share` of a machine in the first half of every `periodMs`; server `index` of `count` begins its period at a part of it of its own.
 * Source: prequal-rs, square wave of 60 % and 20 s, router.md 3.1.
 */
export function antagonist(index: number, count: number, untilMs: number, share = 0.6, periodMs = 20_000): readonly Contention[] {
  const steps: Contention[] = [];
  // The golden ratio spreads neighbours in the list over the period, whatever the count.
  const shiftMs = ((index * 0.618_033_988_75 + index / count) % 1) * periodMs;
  for (let fromMs = shiftMs - periodMs; fromMs < untilMs; fromMs += periodMs) {
    if (fromMs + periodMs / 2 <= 0) continue;
    steps.push({ fromMs: Math.max(0, fromMs), coresLeft: 1 - share }, { fromMs: fromMs + periodMs / 2, coresLeft: 1 });
  }
  return steps;
}
