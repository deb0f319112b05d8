import type { Clock } from "../../platform/clock.js";
import type { CoordinatorError } from "../../platform/errors.js";
import { limits } from "../../platform/limits.js";
import type { Change } from "./change.js";

/** What the queue asks of the spool around it. */
export type ChangeQueueDeps = {
  readonly clock: Clock;
  /** Writes changes in one transaction. Gives the refusal when none of them is on disk; does not reject. */
  readonly commit: (changes: readonly Change[]) => Promise<CoordinatorError | undefined>;
  /** Called before each transaction, unless the disk refused the last one: what it adds by `add` comes with it or with the next. */
  readonly beforeCommit: () => void;
  readonly onCommitted: (changes: readonly Change[]) => void;
  /** Puts among them are lost; the others are tried again, after a pause and by themselves. */
  readonly onRefused: (changes: readonly Change[], error: CoordinatorError) => void;
};

type Waiter = { readonly upTo: number; readonly resolve: () => void; readonly reject: (error: CoordinatorError) => void };

/**
 * Changes on their way to the disk: all of one turn of the event loop, and all that come while a transaction runs, share the next one, up to its bounds.
 * One transaction at a time, in the order in which changes were added.
 */
export class ChangeQueue {
  readonly #deps: ChangeQueueDeps;
  #waiting: Change[] = [];
  /** Refused by the disk, and worth another try by themselves. */
  #again: Change[] = [];
  #againAtMs = 0;
  /** Since the disk refused no put has come through. */
  #isRefused = false;
  #addedCount = 0;
  #endedCount = 0;
  #waiters: Waiter[] = [];
  /** Of a transaction that failed while nobody waited. The next who waits is told. */
  #untold: CoordinatorError | undefined;
  #running: Promise<void> | undefined;
  #isScheduled = false;
  #pendingPuts = 0;
  #pendingBytes = 0;

  constructor(deps: ChangeQueueDeps) {
    this.#deps = deps;
  }

  /** Puts that are not on disk yet, and their bytes. */
  get pendingPuts(): number {
    return this.#pendingPuts;
  }

  get pendingBytes(): number {
    return this.#pendingBytes;
  }

  add(change: Change): void {
    this.#waiting.push(change);
    this.#addedCount++;
    this.#countPending(change, 1);
    this.wake();
  }

  /** Runs a transaction soon, also when there is nothing but what `beforeCommit` may add. */
  wake(): void {
    if (this.#isScheduled || this.#running !== undefined) return;
    this.#isScheduled = true;
    setImmediate(() => {
      this.#isScheduled = false;
      this.#start();
    });
  }

  /** Resolves when all that was added before is on disk; rejects when part of it is lost. */
  flushed(): Promise<void> {
    const untold = this.#untold;
    this.#untold = undefined;
    if (untold !== undefined) return Promise.reject(untold);
    if (this.#endedCount >= this.#addedCount) return Promise.resolve();
    const upTo = this.#addedCount;
    return new Promise((resolve, reject) => this.#waiters.push({ upTo, resolve, reject }));
  }

  /** Writes what there is, tries once more what the disk refused, and resolves when nothing runs any more. Does not reject. */
  async end(): Promise<void> {
    this.#againAtMs = 0;
    this.#start();
    await this.#running;
  }

  #start(): void {
    if (this.#running !== undefined) return;
    this.#running = this.#run().finally(() => {
      this.#running = undefined;
      if (this.#waiting.length > 0) this.wake();
    });
  }

  async #run(): Promise<void> {
    for (;;) {
      if (this.#again.length === 0) this.#deps.beforeCommit();
      const isAgain = this.#again.length > 0 && this.#deps.clock.monotonicMs() >= this.#againAtMs;
      const changes = isAgain ? this.#again.splice(0, limits.spoolCommitMaxEvents) : this.#take();
      if (changes.length === 0) return;
      // What the last transaction freed may be used by the one after the next: an empty one comes between, or a full disk would stay full.
      const refusal = (this.#isRefused ? await this.#deps.commit([]) : undefined) ?? (await this.#deps.commit(changes));
      if (refusal !== undefined) this.#isRefused = true;
      else if (changes.some(({ type }) => type === "put")) this.#isRefused = false;
      for (const change of changes) this.#countPending(change, -1);
      if (!isAgain) this.#endedCount += changes.length;
      if (refusal === undefined) this.#succeeded(changes);
      else this.#refused(changes, refusal);
    }
  }

  /** The next changes, within the bounds of one transaction. */
  #take(): Change[] {
    let count = 0;
    let bytes = 0;
    for (const change of this.#waiting) {
      const size = change.type === "setAside" ? change.value.length : change.type === "put" ? change.bytes : 0;
      if (count > 0 && (count >= limits.spoolCommitMaxEvents || bytes + size > limits.spoolCommitMaxBytes)) break;
      count++;
      bytes += size;
    }
    return this.#waiting.splice(0, count);
  }

  #succeeded(changes: readonly Change[]): void {
    this.#deps.onCommitted(changes);
    const due = this.#waiters.filter(({ upTo }) => upTo <= this.#endedCount);
    this.#waiters = this.#waiters.filter(({ upTo }) => upTo > this.#endedCount);
    for (const { resolve } of due) resolve();
  }

  /** Puts are lost, and everyone who waits waits for one of them, or for something after it. The rest is tried again. */
  #refused(changes: readonly Change[], error: CoordinatorError): void {
    const again = changes.filter((change) => change.type !== "put");
    this.#again.unshift(...again);
    if (again.length > 0) {
      this.#againAtMs = this.#deps.clock.monotonicMs() + limits.spoolRetryMs;
      this.#deps.clock.after(limits.spoolRetryMs, () => this.wake());
    }
    this.#deps.onRefused(changes, error);
    const waiters = this.#waiters;
    this.#waiters = [];
    if (waiters.length === 0) this.#untold = error;
    for (const { reject } of waiters) reject(error);
  }

  #countPending(change: Change, sign: 1 | -1): void {
    if (change.type !== "put") return;
    this.#pendingPuts += sign;
    this.#pendingBytes += sign * change.bytes;
  }
}
