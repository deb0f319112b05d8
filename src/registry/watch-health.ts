import type { Clock } from "../platform/clock.js";
import { limits } from "../platform/limits.js";
import type { Logger } from "../platform/log.js";
import type { Rng } from "../platform/rng.js";
import type { RegistryStore, StoredMcp } from "../store/registry-rows.js";
import { StoreFault } from "../store/store.js";
import { healthUrlOf } from "./check-registration.js";
import type { Directory } from "./directory.js";
import { type HealthTally, startTally, tallyCheck } from "./health.js";
import type { ProbeResult } from "./probe-health.js";

export type HealthWatchDeps = {
  readonly directory: Directory;
  /** Whether this coordinator is the one that last heard from an MCP: it alone checks it. */
  readonly isOwner: (mcpId: string) => boolean;
  readonly probe: (url: URL) => Promise<ProbeResult>;
  readonly setMcpHealth: RegistryStore["setMcpHealth"];
  readonly intervalMs: number;
  readonly clock: Clock;
  readonly rng: Rng;
  readonly log: Logger;
};

/** One MCP that is checked. `dueMs` is monotonic. */
type Checked = { readonly url: string; dueMs: number; tally: HealthTally; isRunning: boolean };

/** Asks registered health endpoints, each at its own pace, `limits.healthChecksAtOnce` of them at a time. Bound: the registrations. */
export class HealthWatch {
  readonly #deps: HealthWatchDeps;
  readonly #checked = new Map<string, Checked>();
  readonly #running = new Set<Promise<void>>();
  #cancelTick: (() => void) | undefined;
  #isClosed = false;

  constructor(deps: HealthWatchDeps) {
    this.#deps = deps;
  }

  start(): void {
    if (this.#isClosed) return;
    this.#cancelTick = this.#deps.clock.after(limits.leaseTickMs, () => {
      this.#takeStock();
      this.#startDue();
      this.start();
    });
  }

  /** Ends after the checks that are under way. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#cancelTick?.();
    await Promise.all(this.#running);
  }

  /** Who is to be checked here, now. One whose endpoint has changed begins anew. */
  #takeStock(): void {
    const { directory, clock, rng } = this.#deps;
    const wanted = new Set<string>();
    for (const mcp of directory.all()) {
      const url = this.#urlOf(mcp);
      if (url === undefined) continue;
      wanted.add(mcp.mcpId);
      const before = this.#checked.get(mcp.mcpId);
      if (before?.url === url) continue;
      const dueMs = clock.monotonicMs() + rng() * limits.leaseTickMs;
      this.#checked.set(mcp.mcpId, { url, dueMs, tally: startTally(before === undefined ? mcp.health : "unknown"), isRunning: false });
    }
    for (const mcpId of this.#checked.keys()) if (!wanted.has(mcpId)) this.#checked.delete(mcpId);
  }

  #urlOf(mcp: StoredMcp): string | undefined {
    const isThere = mcp.lease.state === "alive" || mcp.lease.state === "suspect";
    return isThere && this.#deps.isOwner(mcp.mcpId) ? healthUrlOf(mcp.profile)?.href : undefined;
  }

  #startDue(): void {
    const nowMs = this.#deps.clock.monotonicMs();
    const due = [...this.#checked]
      .filter(([, one]) => !one.isRunning && one.dueMs <= nowMs)
      .sort(([, one], [, other]) => one.dueMs - other.dueMs);
    for (const [mcpId, one] of due) {
      if (this.#running.size >= limits.healthChecksAtOnce || this.#isClosed) return;
      one.isRunning = true;
      const check = this.#check(mcpId, one).finally(() => {
        one.isRunning = false;
        one.dueMs = this.#deps.clock.monotonicMs() + this.#deps.intervalMs * (0.75 + 0.5 * this.#deps.rng());
        this.#running.delete(check);
        this.#startDue();
      });
      this.#running.add(check);
    }
  }

  /** Never rejects: the loop's edge. What could not be written is found again by the next check. */
  async #check(mcpId: string, one: Checked): Promise<void> {
    const result = await this.#deps.probe(new URL(one.url));
    const before = one.tally;
    const tally = tallyCheck(before, result.kind === "passed");
    one.tally = tally;
    if (tally.health === before.health || this.#checked.get(mcpId) !== one) return;
    const detail =
      result.kind === "passed" ? `${tally.passedInRow} checks passed` : `${tally.failedInRow} checks failed; the last one ${result.why}`;
    this.#deps.log.info({ mcpId, health: tally.health, detail }, "the health of an MCP changed");
    try {
      await this.#deps.setMcpHealth(mcpId, tally.health, detail);
      await this.#deps.directory.refresh();
    } catch (thrown) {
      one.tally = before;
      if (!(thrown instanceof StoreFault)) this.#deps.log.error({ err: thrown, mcpId }, "the health of an MCP could not be written down");
    }
  }
}
