import type { Clock } from "../platform/clock.js";
import { limits } from "../platform/limits.js";
import type { Logger } from "../platform/log.js";
import type { RegistryStore, StoredMcp } from "../store/registry-rows.js";
import { StoreFault } from "../store/store.js";

export type DirectoryDeps = {
  readonly readMcpChanges: RegistryStore["readMcpChanges"];
  readonly clock: Clock;
  readonly log: Logger;
  /** Whether other coordinators may change the store: then it is asked about every `limits.registryPollMs`. */
  readonly isShared: boolean;
};

/** Registrations that are new or changed since the last time, those that the store has forgotten, and keys that are nobody's any more. */
export type DirectoryChange = {
  readonly revision: number;
  readonly mcps: readonly StoredMcp[];
  readonly forgotten: readonly string[];
  readonly revokedKeyIds: readonly string[];
};

/**
 * Every registration, in memory: a fold of the store that is at most `limits.registryPollMs` behind, and behind nothing after `refresh`. Registrations that
 * have ended are kept until the store forgets them, so that whoever follows by revision learns of their end.
 * Bound: `limits.registrationsMax`, and what has ended within retention.
 */
export class Directory {
  readonly #deps: DirectoryDeps;
  readonly #mcps = new Map<string, StoredMcp>();
  readonly #byKey = new Map<string, StoredMcp>();
  readonly #watchers = new Set<(change: DirectoryChange) => void>();
  #revision = 0;
  #floor = 0;
  #reading: Promise<void> | undefined;
  #isReadWanted = false;
  #cancelPoll: (() => void) | undefined;
  #isClosed = false;
  #isFailing = false;

  constructor(deps: DirectoryDeps) {
    this.#deps = deps;
  }

  /** Everything up to this is known here. */
  get revision(): number {
    return this.#revision;
  }

  /** What changed before or at this may be forgotten. */
  get floor(): number {
    return this.#floor;
  }

  get(mcpId: string): StoredMcp | undefined {
    return this.#mcps.get(mcpId);
  }

  /** In no order. */
  all(): IterableIterator<StoredMcp> {
    return this.#mcps.values();
  }

  /** Whose key has this hash; a key of a registration that has ended is nobody's. */
  byKey(sha256: string): StoredMcp | undefined {
    return this.#byKey.get(sha256);
  }

  /** Calls `watcher` after each change, until it is unsubscribed. `watcher` must not throw. */
  subscribe(watcher: (change: DirectoryChange) => void): () => void {
    this.#watchers.add(watcher);
    return () => this.#watchers.delete(watcher);
  }

  /** Reads everything and begins to follow. Errors: StoreFault. */
  async start(): Promise<void> {
    await this.refresh();
    if (this.#deps.isShared) this.#schedule();
  }

  /** Takes over everything that was committed before this call. Errors: StoreFault. */
  async refresh(): Promise<void> {
    // A read under way may have begun before what the caller wants to see: another follows, one for all who wait.
    const before = this.#reading;
    this.#isReadWanted = true;
    await before?.catch(() => {}); // whoever began it hears of it
    if (this.#isReadWanted || this.#reading === undefined) {
      this.#isReadWanted = false;
      const reading = this.#read().finally(() => {
        if (this.#reading === reading) this.#reading = undefined;
      });
      this.#reading = reading;
    }
    await this.#reading;
  }

  close(): void {
    this.#isClosed = true;
    this.#cancelPoll?.();
    this.#watchers.clear();
  }

  async #read(): Promise<void> {
    const changes = await this.#deps.readMcpChanges(this.#revision);
    if (changes === undefined) return;
    const isAnew = changes.floor > this.#floor || changes.revision < this.#revision;
    // Something was forgotten, or the database is another one: what is not in it any more can only be found by reading all of it.
    const whole = isAnew && this.#revision > 0 ? ((await this.#deps.readMcpChanges(-1)) ?? changes) : changes;
    const forgotten = isAnew ? this.#forgetAllBut(new Set(whole.mcps.map(({ mcpId }) => mcpId))) : [];
    const mcps = whole.mcps.filter((mcp) => this.#mcps.get(mcp.mcpId)?.revision !== mcp.revision);
    const revokedKeyIds = mcps.map((mcp) => this.#put(mcp)).filter((keyId) => keyId !== "");
    this.#revision = whole.revision;
    this.#floor = whole.floor;
    for (const watcher of [...this.#watchers]) watcher({ revision: this.#revision, mcps, forgotten, revokedKeyIds });
  }

  /** Gives the id of the key that it had and has no more; empty without. */
  #put(mcp: StoredMcp): string {
    const before = this.#mcps.get(mcp.mcpId);
    if (before !== undefined && before.keySha256 !== mcp.keySha256) this.#byKey.delete(before.keySha256);
    this.#mcps.set(mcp.mcpId, mcp);
    if (mcp.keySha256 !== "") this.#byKey.set(mcp.keySha256, mcp);
    return before === undefined || before.keyId === mcp.keyId ? "" : before.keyId;
  }

  #forgetAllBut(known: ReadonlySet<string>): readonly string[] {
    const forgotten = [...this.#mcps.values()].filter(({ mcpId }) => !known.has(mcpId));
    for (const mcp of forgotten) {
      this.#mcps.delete(mcp.mcpId);
      this.#byKey.delete(mcp.keySha256);
    }
    return forgotten.map(({ mcpId }) => mcpId);
  }

  #schedule(): void {
    if (this.#isClosed) return;
    this.#cancelPoll = this.#deps.clock.after(limits.registryPollMs, () => void this.#poll());
  }

  /** Never rejects: the loop's edge. What is known stays until the store answers again. */
  async #poll(): Promise<void> {
    try {
      await this.refresh();
      this.#isFailing = false;
    } catch (thrown) {
      if (!(thrown instanceof StoreFault)) this.#deps.log.error({ err: thrown }, "following the registry failed");
      else if (!this.#isFailing)
        this.#deps.log.warn({ code: thrown.code }, "the registry cannot be followed now: what is known of it is kept");
      this.#isFailing = true;
    }
    this.#schedule();
  }
}
