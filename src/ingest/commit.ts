import type { NewEvent, Outcome, Source } from "../interaction/event.js";
import { assert } from "../platform/assert.js";
import { backoffMs } from "../platform/backoff.js";
import type { Clock } from "../platform/clock.js";
import { limits } from "../platform/limits.js";
import type { Logger } from "../platform/log.js";
import type { Rng } from "../platform/rng.js";
import type { StoreFault } from "../store/store.js";
import { bisect, decide, poisonOf, toFault } from "./decide.js";
import { FairQueue, type Flow } from "./fair-queue.js";
import type { CommitTiming, Pending } from "./pending.js";

export type CommitDeps = {
  readonly laneCount: number;
  /** Resolves after COMMIT. Throws StoreFault. */
  readonly append: (lane: number, events: readonly NewEvent[]) => Promise<readonly Outcome[]>;
  /** Keeps an event that the store refused. Throws StoreFault. */
  readonly setAside: (event: NewEvent, reason: string) => Promise<void>;
  /** Takes the items from here, with an outcome for each; must not throw. */
  readonly settle: (items: readonly Pending[], outcomes: ReadonlyMap<Pending, Outcome>, timing: CommitTiming) => void;
  readonly clock: Clock;
  readonly rng: Rng;
  readonly log: Logger;
};

/** A place in the queue: whoever shares it waits in one line. */
export type Place = { readonly lane: number; readonly flow: Flow };

/**
 * Group commit. Each lane has at most one statement under way; whatever arrives meanwhile forms the next batch, and a lone event on an idle lane is
 * committed at once. There is no idle timer. When more waits than a statement takes, the flows take turns (FairQueue): one that floods waits for itself.
 *
 * The queue never refuses: its bound is kept by those who fill it, who ask `hasRoom` first and wait for `whenRoom` (streams stop reading, unary calls
 * answer OVERLOADED). Who has nothing in it is not kept waiting by those who filled it: a stream may always bring one frame, and a call asks `hasRoomFor`.
 *
 * When the store fails, the batch under way is tried again until it is stored, with growing delay; nothing is settled, nothing is dropped.
 * States and events: ingest/SPEC.md.
 */
export class CommitQueue {
  readonly #deps: CommitDeps;
  readonly #lanes: readonly Lane[];
  #pendingEvents = 0;
  #pendingBytes = 0;
  readonly #pendingBySource: Record<Source, number> = { grpc: 0, http: 0, redis: 0, table: 0 };
  #isAvailable = true;
  #isClosed = false;
  readonly #waitingForRoom = new Set<() => void>();
  readonly #watchers = new Set<(isAvailable: boolean) => void>();

  constructor(deps: CommitDeps) {
    this.#deps = deps;
    this.#lanes = Array.from({ length: deps.laneCount }, () => ({
      queue: new FairQueue(),
      isBusy: false,
      isScheduled: false,
      committingSinceMs: undefined,
    }));
  }

  get pendingEvents(): number {
    return this.#pendingEvents;
  }

  get pendingBytes(): number {
    return this.#pendingBytes;
  }

  /** Of the pending events, those that came in this way. */
  pendingOf(source: Source): number {
    return this.#pendingBySource[source];
  }

  /** When the oldest pending event was received.     Units: monotonic ms; undefined when none is pending. */
  get oldestReceivedAtMs(): number | undefined {
    let oldestMs: number | undefined;
    for (const { queue, committingSinceMs } of this.#lanes) {
      for (const receivedAtMs of [committingSinceMs, queue.oldestReceivedAtMs]) {
        if (receivedAtMs !== undefined && (oldestMs === undefined || receivedAtMs < oldestMs)) oldestMs = receivedAtMs;
      }
    }
    return oldestMs;
  }

  /** Whether the last commit reached the store. */
  get isAvailable(): boolean {
    return this.#isAvailable;
  }

  /** Whether anybody may offer more events. */
  get hasRoom(): boolean {
    return this.#isBelow(1);
  }

  /** Whether events of a flow that come by a call may be offered: above the bound too, as long as none of it waits and the reserve holds. */
  hasRoomFor(flow: Flow): boolean {
    return this.hasRoom || (this.#isBelow(1 + limits.pendingReserveShare) && this.#lanes.every(({ queue }) => !queue.has(flow)));
  }

  /** Calls `resume` once, when half of the bound is free again. Returns how to stop waiting. */
  whenRoom(resume: () => void): () => void {
    this.#waitingForRoom.add(resume);
    return () => this.#waitingForRoom.delete(resume);
  }

  /** Calls `changed` whenever the store becomes unreachable or reachable. Returns how to stop. */
  watchAvailability(changed: (isAvailable: boolean) => void): () => void {
    this.#watchers.add(changed);
    return () => this.#watchers.delete(changed);
  }

  /** Where events wait that share `laneKey` and a flow: always on the same lane, so that they are committed in the order they came. */
  placeOf(laneKey: string, flow: Flow): Place {
    let hash = 0;
    for (let i = 0; i < laneKey.length; i += 1) hash = (Math.imul(hash, 31) + laneKey.charCodeAt(i)) | 0;
    return { lane: (hash >>> 0) % this.#lanes.length, flow };
  }

  /** Puts an event behind all others of its place. */
  offer({ lane, flow }: Place, pending: Pending): void {
    const target = this.#lanes[lane];
    assert(target !== undefined, "placeOf gives lanes that exist");
    target.queue.push(flow, pending);
    this.#pendingEvents += 1;
    this.#pendingBytes += pending.event.costBytes;
    this.#pendingBySource[pending.event.source] += 1;
    this.#schedule(lane, target);
  }

  /** Stops retrying: events that are not settled by then never will be, and their peers send them again elsewhere. */
  close(): void {
    this.#isClosed = true;
  }

  /** One pass of the event loop later, so that everything that arrived in this one shares a commit. */
  #schedule(index: number, lane: Lane): void {
    if (lane.isBusy || lane.isScheduled) return;
    lane.isScheduled = true;
    setImmediate(() => {
      lane.isScheduled = false;
      void this.#run(index, lane);
    });
  }

  /** Commits until the lane is empty. Never rejects: the loop's edge, where failure becomes waiting. */
  async #run(index: number, lane: Lane): Promise<void> {
    if (lane.isBusy) return;
    lane.isBusy = true;
    while (lane.queue.size > 0 && !this.#isClosed) {
      const items = lane.queue.take(limits.commitMaxEvents, limits.commitMaxBytes);
      const startedAtMs = this.#deps.clock.monotonicMs();
      const receivedAtMs = items.reduce((oldestMs, item) => Math.min(oldestMs, item.receivedAtMs), startedAtMs);
      lane.committingSinceMs = receivedAtMs;
      const outcomes = await decide(items, (events) => this.#commit(index, events));
      if (outcomes === undefined) break;
      lane.committingSinceMs = undefined;
      const commitMs = this.#deps.clock.monotonicMs() - startedAtMs;
      for (const { event } of items) {
        this.#pendingBytes -= event.costBytes;
        this.#pendingBySource[event.source] -= 1;
      }
      this.#pendingEvents -= items.length;
      this.#deps.settle(items, outcomes, { queueWaitMs: startedAtMs - receivedAtMs, commitMs, batchEvents: items.length });
      this.#announceRoom();
    }
    lane.isBusy = false;
  }

  /** Outcomes of all events, however long it takes; undefined only when the queue was closed before. */
  async #commit(lane: number, events: readonly NewEvent[]): Promise<readonly Outcome[] | undefined> {
    for (let attempt = 0; !this.#isClosed; attempt += 1) {
      try {
        const outcomes = await this.#deps.append(lane, events);
        this.#setAvailable(true);
        return outcomes;
      } catch (thrown) {
        const fault = toFault(thrown);
        if (fault.kind === "poison") {
          return bisect(
            events,
            (half) => this.#commit(lane, half),
            (event) => this.#bury(event, fault),
          );
        }
        await this.#waitAfter(fault, attempt);
      }
    }
    return undefined;
  }

  async #bury(event: NewEvent, fault: StoreFault): Promise<readonly Outcome[] | undefined> {
    this.#deps.log.warn(
      { eventId: event.eventId, mcpId: event.mcpId, code: fault.code, err: fault.cause },
      "event set aside as a dead letter",
    );
    for (let attempt = 0; !this.#isClosed; attempt += 1) {
      try {
        await this.#deps.setAside(event, `${fault.code}: ${fault.message}`);
        return [poisonOf(fault)];
      } catch (thrown) {
        await this.#waitAfter(toFault(thrown), attempt);
      }
    }
    return undefined;
  }

  async #waitAfter(fault: StoreFault, attempt: number): Promise<void> {
    const isOutage = fault.kind === "outage" || attempt >= limits.transientRetryMax;
    if (isOutage && this.#isAvailable)
      this.#deps.log.error({ code: fault.code, err: fault }, "store unavailable: events wait, nothing is acknowledged");
    if (isOutage) this.#setAvailable(false);
    const delayMs = backoffMs(limits.storeBackoff, attempt, this.#deps.rng);
    await new Promise<void>((resolve) => this.#deps.clock.after(delayMs, resolve));
  }

  #setAvailable(isAvailable: boolean): void {
    if (this.#isAvailable === isAvailable) return;
    this.#isAvailable = isAvailable;
    if (isAvailable) this.#deps.log.info({ pendingEvents: this.#pendingEvents }, "store available again");
    for (const changed of [...this.#watchers]) changed(isAvailable);
  }

  /** Whether less is pending than this share of what may be. */
  #isBelow(share: number): boolean {
    return this.#pendingEvents < limits.pendingMaxEvents * share && this.#pendingBytes < limits.pendingMaxBytes * share;
  }

  #announceRoom(): void {
    if (this.#waitingForRoom.size === 0) return;
    if (this.#pendingEvents * 2 > limits.pendingMaxEvents || this.#pendingBytes * 2 > limits.pendingMaxBytes) return;
    const waiting = [...this.#waitingForRoom];
    this.#waitingForRoom.clear();
    for (const resume of waiting) resume();
  }
}

type Lane = {
  readonly queue: FairQueue;
  isBusy: boolean;
  isScheduled: boolean;
  /** When the oldest event of the commit under way was received. */
  committingSinceMs: number | undefined;
};
