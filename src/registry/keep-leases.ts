import type { McpConfig } from "../interaction/mcp-config.js";
import type { Clock } from "../platform/clock.js";
import { limits } from "../platform/limits.js";
import type { Logger } from "../platform/log.js";
import type { LeaseBeat, LeaseChange, RegistryStore, StoredMcp } from "../store/registry-rows.js";
import { StoreFault } from "../store/store.js";
import type { Directory } from "./directory.js";
import { type LeaseEvent, type LeaseTerms, stepLease } from "./lease.js";
import { SilenceWatch } from "./silence.js";

export type LeaseDeps = {
  readonly store: Pick<RegistryStore, "registerGreeted" | "changeLeases" | "readLeaseBeats">;
  readonly directory: Directory;
  /** MCPs that have a session here. */
  readonly liveMcpIds: () => ReadonlySet<string>;
  readonly coordinatorId: string;
  /** Of registrations by Hello. */
  readonly defaults: McpConfig;
  /** After how many missed heartbeats a lease is suspect, and dead. */
  readonly misses: { readonly suspect: number; readonly dead: number };
  readonly clock: Clock;
  readonly log: Logger;
};

/** A Hello: when it came by the monotonic clock, and up to which revision the registry was known then. */
type Greeting = { readonly version: string; readonly atMs: number; readonly seenRevision: number };

/** Renews the leases of those who are here, and judges those of everyone. */
export class LeaseKeeper {
  readonly #deps: LeaseDeps;
  readonly #silence = new SilenceWatch();
  /** By MCP that said Hello and is not written down yet. */
  readonly #greeted = new Map<string, Greeting>();
  /** MCPs whose events were stored since the last renewal. */
  #heard = new Set<string>();
  /** When each MCP that is here was last renewed. */
  readonly #renewedAtMs = new Map<string, number>();
  /** When the last session of an MCP was found to have gone, and how often its lease was renewed by then. */
  readonly #lostAtMs = new Map<string, number>();
  #live: ReadonlySet<string> = new Set();
  /** MCPs that this coordinator was the last to hear from, at the last look. */
  #owned: ReadonlySet<string> = new Set();
  #judgedAtMs = Number.NEGATIVE_INFINITY;
  #cancelTick: (() => void) | undefined;
  #running: Promise<void> = Promise.resolve();
  #isClosed = false;
  #isFailing = false;

  constructor(deps: LeaseDeps) {
    this.#deps = deps;
  }

  start(): void {
    this.#schedule();
  }

  /** A session has begun that speaks for an MCP. Above the bound it goes on without a registration. */
  greeted(mcpId: string, version: string): void {
    if (this.#greeted.size >= limits.registrationsMax && !this.#greeted.has(mcpId)) return;
    this.#greeted.set(mcpId, { version, atMs: this.#deps.clock.monotonicMs(), seenRevision: this.#deps.directory.revision });
  }

  /** Events of an MCP were stored. */
  heard(mcpId: string): void {
    if (this.#heard.size < limits.registrationsMax) this.#heard.add(mcpId);
  }

  /** Whether this coordinator was the last to hear from an MCP, as far as it knows. */
  isOwner(mcpId: string): boolean {
    return this.#owned.has(mcpId);
  }

  /** Ends after what is under way. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#cancelTick?.();
    await this.#running;
  }

  #schedule(): void {
    if (this.#isClosed) return;
    this.#cancelTick = this.#deps.clock.after(limits.leaseTickMs, () => {
      this.#running = this.#tick();
      void this.#running.then(() => this.#schedule());
    });
  }

  /** Never rejects: the loop's edge. What could not be written is written at the next tick. */
  async #tick(): Promise<void> {
    try {
      await this.#register();
      await this.#renew();
      await this.#judge();
      this.#isFailing = false;
    } catch (thrown) {
      if (!(thrown instanceof StoreFault)) this.#deps.log.error({ err: thrown }, "keeping leases failed");
      else if (!this.#isFailing) this.#deps.log.warn({ code: thrown.code }, "leases cannot be kept now: nobody is silent for that");
      this.#isFailing = true;
    }
  }

  async #register(): Promise<void> {
    const { store, directory, clock, coordinatorId, defaults } = this.#deps;
    if (this.#greeted.size === 0) return;
    const batch = [...this.#greeted].slice(0, limits.leaseBatchMax);
    const greeted = batch.map(([mcpId, { version, seenRevision, atMs }]) => ({
      ...{ mcpId, version, seenRevision },
      agoMs: () => clock.monotonicMs() - atMs,
    }));
    await store.registerGreeted(greeted, { coordinatorId, config: defaults, maxCount: limits.registrationsMax });
    const nowMs = clock.monotonicMs();
    for (const [mcpId, greeting] of batch) {
      this.#renewedAtMs.set(mcpId, nowMs);
      if (this.#greeted.get(mcpId) === greeting) this.#greeted.delete(mcpId); // another Hello may have come meanwhile
    }
    await directory.refresh();
  }

  async #renew(): Promise<void> {
    const { store, directory, clock, coordinatorId } = this.#deps;
    const nowMs = clock.monotonicMs();
    const before = this.#live;
    this.#live = this.#deps.liveMcpIds();
    for (const mcpId of before) if (!this.#live.has(mcpId)) this.#lostAtMs.set(mcpId, nowMs);
    const due: LeaseChange[] = [];
    const heard = this.#heard;
    this.#heard = new Set(); // a sign that gets lost with a failure is followed by others
    for (const mcpId of new Set([...this.#live, ...heard])) {
      this.#lostAtMs.delete(mcpId);
      const mcp = directory.get(mcpId);
      if (mcp !== undefined && due.length < limits.leaseBatchMax && this.#isDue(mcp, nowMs)) {
        due.push(this.#changeOf(mcp, { kind: "traffic" }, "signs of life came"));
      }
    }
    const gone: string[] = [];
    for (const [mcpId, lostAtMs] of this.#lostAtMs) {
      if (nowMs - lostAtMs < limits.leaseLostGraceMs) continue;
      gone.push(mcpId);
      const mcp = directory.get(mcpId);
      // Renewed since we last looked: it is somewhere else.
      if (mcp?.lease.state === "alive" && this.#silence.silentMs(mcpId) > 0) {
        due.push({ ...this.#changeOf(mcp, { kind: "lost" }, "its last stream has ended"), expectedBeat: this.#silence.beat(mcpId) });
      }
    }
    if (due.length > 0) await store.changeLeases(due, coordinatorId);
    for (const { mcpId, isBeat } of due) if (isBeat) this.#renewedAtMs.set(mcpId, nowMs);
    // Only when it is written: otherwise the next tick has to know of it.
    for (const mcpId of gone) {
      this.#lostAtMs.delete(mcpId);
      this.#renewedAtMs.delete(mcpId);
    }
  }

  /** Three renewals fit into the interval of a heartbeat; one that is not alive is not kept waiting. */
  #isDue({ mcpId, config, lease }: StoredMcp, nowMs: number): boolean {
    if (lease.state === "deregistered") return false;
    const renewedAtMs = this.#renewedAtMs.get(mcpId);
    return renewedAtMs === undefined || lease.state !== "alive" || nowMs - renewedAtMs >= (config.heartbeatInterval * 1_000) / 3;
  }

  async #judge(): Promise<void> {
    const { store, directory, clock, coordinatorId } = this.#deps;
    const periodMs = this.#judgePeriodMs();
    const nowMs = clock.monotonicMs();
    if (nowMs - this.#judgedAtMs < periodMs) return;
    const beats = await store.readLeaseBeats();
    this.#judgedAtMs = nowMs;
    this.#silence.look(beats, nowMs, 2 * periodMs);
    this.#owned = new Set(beats.filter((beat) => beat.coordinatorId === coordinatorId).map(({ mcpId }) => mcpId));
    const changes = beats.map((beat) => this.#silenceOf(beat)).filter((change) => change !== undefined);
    for (let start = 0; start < changes.length; start += limits.leaseBatchMax) {
      await store.changeLeases(changes.slice(start, start + limits.leaseBatchMax), coordinatorId);
    }
    if (changes.length > 0 || beats.some(({ mcpId, state }) => directory.get(mcpId)?.lease.state !== state)) await directory.refresh();
    for (const mcpId of this.#renewedAtMs.keys()) if (directory.get(mcpId) === undefined) this.#renewedAtMs.delete(mcpId);
  }

  /** As often as the shortest heartbeat interval lets a lease change, between once a tick and once in ten seconds. */
  #judgePeriodMs(): number {
    let shortestMs = 30_000;
    for (const { config, lease } of this.#deps.directory.all()) {
      if (lease.state !== "deregistered") shortestMs = Math.min(shortestMs, config.heartbeatInterval * 1_000);
    }
    return Math.min(10_000, Math.max(limits.leaseTickMs, shortestMs / 3));
  }

  #silenceOf({ mcpId, state, beat }: LeaseBeat): LeaseChange | undefined {
    const mcp = this.#deps.directory.get(mcpId);
    if (mcp === undefined) return undefined;
    const silentMs = this.#silence.silentMs(mcpId);
    const terms = termsOf(mcp, this.#deps.misses);
    if (silentMs < (state === "alive" ? terms.suspectMs : terms.deadMs)) return undefined;
    const change = this.#changeOf(mcp, { kind: "silence", silentMs }, `no sign of life for ${Math.round(silentMs / 1_000)} s`);
    return { ...change, expectedBeat: beat };
  }

  #changeOf(mcp: StoredMcp, event: LeaseEvent, reason: string): LeaseChange {
    const terms = termsOf(mcp, this.#deps.misses);
    const isBeat = event.kind === "traffic";
    return { mcpId: mcp.mcpId, next: (lease) => stepLease(lease, event, terms), isBeat, expectedBeat: undefined, reason };
  }
}

/** When silence of an MCP counts, by its own interval. */
export function termsOf(mcp: Pick<StoredMcp, "config">, misses: LeaseDeps["misses"]): LeaseTerms {
  const intervalMs = mcp.config.heartbeatInterval * 1_000;
  return { suspectMs: intervalMs * misses.suspect, deadMs: intervalMs * misses.dead };
}
