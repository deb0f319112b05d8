import { limits } from "../platform/limits.js";
import type { ObservedShare, PublishedRoutes, RouteTable } from "../smart-router/table.js";
import { divergence, type ObservedRoute, ObservedTraffic } from "./observed-traffic.js";
import { type RejectedTable, RejectedTables } from "./rejected-tables.js";

/** What can happen to updates; counted. */
export type PlaneEvent = "sent" | "sent_delta" | "ack_ignored" | "out_of_sync" | "stale_epoch" | "expired" | "withheld";

/** A session as far as the figures go; undefined when it takes no tables. */
export type RouteStanding = { readonly appliedVersion: number };

/** How tables reach the streams of this process. */
export type WeightPlaneFigures = {
  readonly streams: number;
  readonly streamsOnNewest: number;
  readonly versionLagMax: number;
  /** From publication to the ack as applied; undefined before the first. Unit: ms. */
  readonly appliedP50Ms: number | undefined;
  readonly appliedP99Ms: number | undefined;
  readonly counts: Readonly<Record<PlaneEvent, number>>;
  readonly rejected: readonly RejectedTable[];
  readonly observed: readonly ObservedRoute[];
  /** In nats; undefined when nothing was observed. */
  readonly observedDivergence: number | undefined;
};

/** What all sessions of a process share about the tables pushed to them: what must not be sent again, and figures. */
export class WeightPlane {
  readonly rejected = new RejectedTables();
  readonly #traffic = new ObservedTraffic();
  readonly #counts: Record<PlaneEvent, number> = {
    sent: 0,
    sent_delta: 0,
    ack_ignored: 0,
    out_of_sync: 0,
    stale_epoch: 0,
    expired: 0,
    withheld: 0,
  };
  /** When a table was published here. Monotonic. */
  readonly #publishedAt = new WeakMap<PublishedRoutes, number>();
  readonly #delays: number[] = [];
  #nextDelay = 0;
  #followApplied: (delayMs: number) => void = () => {};

  count(event: PlaneEvent): void {
    this.#counts[event] += 1;
  }

  /** A table was published, and goes out to all sessions that are live now. */
  published(routes: PublishedRoutes, nowMs: number): void {
    this.#publishedAt.set(routes, nowMs);
  }

  /** From the publication of a table to now; undefined when it was not published here. */
  sincePublished(routes: PublishedRoutes, nowMs: number): number | undefined {
    const atMs = this.#publishedAt.get(routes);
    return atMs === undefined ? undefined : nowMs - atMs;
  }

  /** Calls `applied` with every delay that `applied` is told, in place of whoever followed before. It must not throw. */
  followApplied(applied: (delayMs: number) => void): void {
    this.#followApplied = applied;
  }

  /** A session acked a table as applied, this long after its publication. */
  applied(delayMs: number): void {
    this.#delays[this.#nextDelay] = delayMs;
    this.#nextDelay = (this.#nextDelay + 1) % limits.applyDelaySampleMax;
    this.#followApplied(delayMs);
  }

  observed(shares: readonly ObservedShare[], nowMs: number): void {
    this.#traffic.add(shares, nowMs);
  }

  /** `standings` are those of the live sessions that take tables. */
  figures(standings: readonly RouteStanding[], newest: PublishedRoutes | undefined, nowMs: number): WeightPlaneFigures {
    const version = newest?.version ?? 0;
    const table: RouteTable = newest?.table ?? [];
    const observed = this.#traffic.read(nowMs);
    const sorted = this.#delays.toSorted((a, b) => a - b);
    return {
      streams: standings.length,
      streamsOnNewest: standings.filter(({ appliedVersion }) => appliedVersion >= version).length,
      versionLagMax: standings.reduce((most, { appliedVersion }) => Math.max(most, version - appliedVersion), 0),
      appliedP50Ms: quantile(sorted, 0.5),
      appliedP99Ms: quantile(sorted, 0.99),
      counts: { ...this.#counts },
      rejected: this.rejected.list(),
      observed,
      observedDivergence: divergence(observed, table),
    };
  }
}

/** Nearest rank. */
function quantile(sorted: readonly number[], share: number): number | undefined {
  return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)];
}
