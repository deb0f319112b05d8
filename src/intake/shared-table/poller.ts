import { backoffMs } from "../../platform/backoff.js";
import type { Cancel, Clock } from "../../platform/clock.js";
import { limits } from "../../platform/limits.js";
import type { Logger } from "../../platform/log.js";
import type { Rng } from "../../platform/rng.js";
import type { Backlog, SharedTableStore } from "../../store/waiting-reports.js";
import type { Transport, TransportFigures } from "../transport.js";
import { type BatchDeps, type TakenBatch, takeBatch } from "./take-batch.js";

export type SharedTableDeps = BatchDeps & {
  readonly store: Pick<SharedTableStore, "takeReports" | "readBacklog">;
  readonly clock: Clock;
  readonly rng: Rng;
  readonly log: Logger;
};

export type SharedTableSettings = { readonly intervalMs: number; readonly batch: number };

/** The way in for producers that can insert rows and nothing else. Any number of coordinators may drain one table. */
export function createSharedTable(deps: SharedTableDeps, settings: SharedTableSettings): Transport {
  const poller = new SharedTablePoller(deps, settings);
  return { start: () => poller.start(), figures: () => poller.figures(), drain: (graceMs) => poller.drain(graceMs) };
}

/**
 * Passes over the table every `intervalMs`, batch by batch, from its oldest row to its end. One transaction at a time; memory is bounded by one batch. After a
 * failure the rows are where they were, the pause grows, and batches shrink, so that a batch that the database cannot finish in time becomes one that it can.
 */
class SharedTablePoller {
  readonly #deps: SharedTableDeps;
  readonly #settings: SharedTableSettings;
  #state: "up" | "down" = "up";
  #detail = "";
  #backlog: Backlog | undefined;
  #counts = { received: 0, resolved: 0, refused: 0, deadLettered: 0 };
  #batch: number;
  #failures = 0;
  #isStopped = false;
  #cancel: Cancel = () => {};
  #passing: Promise<void> = Promise.resolve();

  constructor(deps: SharedTableDeps, settings: SharedTableSettings) {
    this.#deps = deps;
    this.#settings = settings;
    this.#batch = settings.batch;
  }

  start(): void {
    this.#schedule(0);
  }

  figures(): TransportFigures {
    const depth = this.#state === "up" ? this.#backlog : undefined;
    return {
      name: "table",
      state: this.#state,
      detail: this.#detail,
      ...this.#counts,
      depth: depth?.waiting,
      lagMs: depth?.oldestMs,
    };
  }

  async drain(graceMs: number): Promise<void> {
    this.#isStopped = true;
    this.#cancel();
    let cancel = (): void => {};
    const patience = new Promise<void>((resolve) => {
      cancel = this.#deps.clock.after(graceMs, resolve);
    });
    await Promise.race([this.#passing, patience]);
    cancel();
  }

  #schedule(delayMs: number): void {
    if (this.#isStopped) return;
    this.#cancel = this.#deps.clock.after(delayMs, () => {
      this.#passing = this.#pass();
    });
  }

  /** Never rejects: the loop's edge, where failure becomes state and a later try. */
  async #pass(): Promise<void> {
    try {
      await this.#takeAll();
      this.#backlog = await this.#deps.store.readBacklog();
      this.#turned("up", "");
      this.#schedule(this.#settings.intervalMs);
    } catch (thrown) {
      // Once it is stopped, the store may be closed under the last batch.
      if (this.#isStopped) return;
      this.#batch = Math.max(1, this.#batch >> 1);
      this.#turned("down", thrown instanceof Error ? thrown.message : String(thrown));
      this.#schedule(backoffMs(limits.storeBackoff, this.#failures, this.#deps.rng));
      this.#failures += 1;
    }
  }

  /** Batch after batch until nothing waits behind the last. Rows that stay are passed once, and do not stand before the others. */
  async #takeAll(): Promise<void> {
    const { clock, store } = this.#deps;
    const startedAtMs = clock.monotonicMs();
    let lookedAtMs = startedAtMs;
    let afterId = "0";
    let hasMore = true;
    while (hasMore && !this.#isStopped && clock.monotonicMs() - startedAtMs < limits.tablePassMaxMs) {
      const { tableBatchMaxBytes: maxBytes, tableReportMaxBytes: reportMaxBytes } = limits;
      const taken = await takeBatch(this.#deps, { afterId, maxRows: this.#batch, maxBytes, reportMaxBytes });
      this.#count(taken);
      afterId = taken.lastId;
      hasMore = taken.hasMore;
      this.#batch = Math.min(this.#settings.batch, this.#batch * 2);
      this.#failures = 0;
      if (clock.monotonicMs() - lookedAtMs < this.#settings.intervalMs) continue;
      lookedAtMs = clock.monotonicMs();
      this.#backlog = await store.readBacklog();
      this.#turned("up", "");
    }
  }

  #count({ count, resolved, refused, unreadable, stayed }: TakenBatch): void {
    const aside = refused + unreadable;
    this.#counts = {
      received: this.#counts.received + count - stayed,
      resolved: this.#counts.resolved + resolved,
      refused: this.#counts.refused + refused,
      deadLettered: this.#counts.deadLettered + aside,
    };
    if (aside > 0) this.#deps.log.warn({ refused, unreadable }, "rows of the shared table set aside as dead letters");
  }

  #turned(state: "up" | "down", detail: string): void {
    if (state === "down" && this.#state === "up") this.#deps.log.warn({ detail }, "shared table cannot be taken from: rows wait in it");
    if (state === "up" && this.#state === "down") this.#deps.log.info("shared table is taken from again");
    this.#state = state;
    this.#detail = detail;
  }
}
