import { assert } from "../platform/assert.js";
import type { EventHeap } from "./event-heap.js";
import type { ServerSpec } from "./world.js";

/** A request at a server. `done` is called once, when its work is done; never after `cancel`. */
export type Job = {
  readonly workMs: number;
  readonly done: (nowMs: number) => void;
  /** Requests that the server had when this one arrived. */
  readonly inFlightBefore: number;
  readonly arrivedAtMs: number;
  state: "waiting" | "served" | "hanging" | "gone";
  /** Service that each request has had when this one is done; see `#attained`. */
  finishesAt: number;
};

/** What a probe of a server brings.     Source: Prequal, router.md anchors 1.1. */
export type ProbeAnswer = {
  readonly inFlight: number;
  /** Median latency of recent requests that met about as many in flight as there are now; undefined before the first answer. */
  readonly latencyMs: number | undefined;
};

/** Latencies kept for each number in flight, to answer probes, and how long they count as recent when there are younger ones. */
const latenciesKept = 9;
const recentMs = 5_000;

type Remembered = { readonly latencies: number[]; atMs: number };

/**
 * A server under processor sharing. All requests in service get the same rate, so one number, the service that each has attained since the beginning, says
 * when everyone is done: a request finishes when it has grown by the request's work. That makes an arrival or an end O(log n), however long the queue.
 */
export class SimulatedServer {
  readonly spec: ServerSpec;
  readonly #events: EventHeap;
  /** Jobs in service by `finishesAt`, a binary heap; those that are gone are skipped when they come up. */
  readonly #served: Job[] = [];
  readonly #waiting: Job[] = [];
  readonly #latencies = new Map<number, Remembered>();
  #servedCount = 0;
  #waitingCount = 0;
  #hangingCount = 0;
  #attained = 0;
  #attainedAtMs = 0;
  #coresLeft: number;
  /** Grows with every change of the rate: an end that was scheduled before is void. */
  #generation = 0;

  constructor(spec: ServerSpec, events: EventHeap) {
    this.spec = spec;
    this.#events = events;
    this.#coresLeft = spec.cores;
    for (const step of spec.contention) events.schedule(step.fromMs, (nowMs) => this.#setCores(spec.cores * step.coresLeft, nowMs));
  }

  get inFlight(): number {
    return this.#servedCount + this.#waitingCount + this.#hangingCount;
  }

  /** Takes a request. A hanging one holds a place until it is cancelled. */
  accept(workMs: number, isHanging: boolean, nowMs: number, done: (nowMs: number) => void): Job {
    const job: Job = { workMs, done, inFlightBefore: this.inFlight, arrivedAtMs: nowMs, state: "waiting", finishesAt: 0 };
    if (isHanging) {
      job.state = "hanging";
      this.#hangingCount++;
    } else if (this.#servedCount + this.#hangingCount < this.spec.capacity) {
      this.#advance(nowMs);
      this.#serve(job);
      this.#scheduleEnd(nowMs);
    } else {
      this.#waiting.push(job);
      this.#waitingCount++;
    }
    return job;
  }

  /** Forgets a request that is still here. */
  cancel(job: Job, nowMs: number): void {
    this.#advance(nowMs);
    this.#leave(job);
    this.#admit();
    this.#scheduleEnd(nowMs);
  }

  probe(nowMs: number): ProbeAnswer {
    let nearest = Number.POSITIVE_INFINITY;
    let found: readonly number[] = [];
    for (const [inFlight, remembered] of this.#latencies) {
      // Old ones are only for want of better.
      const distance = Math.abs(inFlight - this.inFlight) + (nowMs - remembered.atMs > recentMs ? 1e6 : 0);
      if (distance >= nearest) continue;
      nearest = distance;
      found = remembered.latencies;
    }
    const sorted = found.toSorted((a, b) => a - b);
    return { inFlight: this.inFlight, latencyMs: sorted[sorted.length >> 1] };
  }

  /** How long a request of `workMs` would take from now on if nothing else arrived and the neighbours stayed as they are. */
  foresee(workMs: number, nowMs: number): number {
    this.#advance(nowMs);
    if (this.#coresLeft === 0) return Number.POSITIVE_INFINITY;
    const left = this.#served.filter((job) => job.state === "served").map((job) => Math.max(0, job.finishesAt - this.#attained));
    left.sort((a, b) => a - b);
    const queued = this.#waiting.reduce((sum, job) => sum + (job.state === "waiting" ? job.workMs : 0), 0);
    let elapsedMs = queued / Math.min(this.#coresLeft, this.spec.capacity);
    let attained = 0;
    let others = left.length;
    for (const work of left) {
      if (work >= workMs) break;
      elapsedMs += (work - attained) / this.#rateFor(others + 1);
      attained = work;
      others--;
    }
    return elapsedMs + (workMs - attained) / this.#rateFor(others + 1);
  }

  /** Whoever is here and not hanging: when it came, and the work that is left; those in service first, ascending by it. */
  pending(nowMs: number): readonly { readonly arrivedAtMs: number; readonly leftMs: number }[] {
    this.#advance(nowMs);
    const served = this.#served
      .filter((job) => job.state === "served")
      .map(({ arrivedAtMs, finishesAt }) => ({ arrivedAtMs, leftMs: Math.max(0, finishesAt - this.#attained) }))
      .sort((a, b) => a.leftMs - b.leftMs);
    const waiting = this.#waiting.filter((job) => job.state === "waiting");
    return [...served, ...waiting.map(({ arrivedAtMs, workMs }) => ({ arrivedAtMs, leftMs: workMs }))];
  }

  /** Work that each of `count` requests in service gets done in a ms, with the cores that neighbours leave at the moment; at most 1. */
  rateFor(count: number): number {
    return this.#rateFor(count);
  }

  #setCores(cores: number, nowMs: number): void {
    this.#advance(nowMs);
    this.#coresLeft = cores;
    this.#scheduleEnd(nowMs);
  }

  #rateFor(count: number): number {
    return Math.min(1, this.#coresLeft / count);
  }

  #advance(nowMs: number): void {
    if (this.#servedCount > 0) this.#attained += (nowMs - this.#attainedAtMs) * this.#rateFor(this.#servedCount);
    this.#attainedAtMs = nowMs;
  }

  #serve(job: Job): void {
    job.state = "served";
    job.finishesAt = this.#attained + job.workMs;
    this.#servedCount++;
    pushByFinish(this.#served, job);
  }

  #leave(job: Job): void {
    assert(job.state !== "gone", "a request leaves a server once");
    if (job.state === "served") this.#servedCount--;
    else if (job.state === "waiting") this.#waitingCount--;
    else this.#hangingCount--;
    job.state = "gone";
  }

  /** Serves who waits, as far as there are places. */
  #admit(): void {
    while (this.#waitingCount > 0 && this.#servedCount + this.#hangingCount < this.spec.capacity) {
      const job = this.#waiting.shift();
      if (job === undefined) return;
      if (job.state !== "waiting") continue;
      this.#waitingCount--;
      this.#serve(job);
    }
  }

  #scheduleEnd(nowMs: number): void {
    const generation = ++this.#generation;
    while (this.#served[0]?.state === "gone") popByFinish(this.#served);
    const first = this.#served[0];
    const rate = this.#rateFor(Math.max(1, this.#servedCount));
    if (first === undefined || rate === 0) return;
    const atMs = nowMs + Math.max(0, first.finishesAt - this.#attained) / rate;
    this.#events.schedule(atMs, (thenMs) => {
      if (generation === this.#generation) this.#end(first, thenMs);
    });
  }

  #end(job: Job, nowMs: number): void {
    this.#advance(nowMs);
    // Rounding must not leave the first one a hair short of its end.
    this.#attained = Math.max(this.#attained, job.finishesAt);
    this.#leave(job);
    this.#remember(job, nowMs);
    this.#admit();
    this.#scheduleEnd(nowMs);
    job.done(nowMs);
  }

  #remember(job: Job, nowMs: number): void {
    const remembered = this.#latencies.get(job.inFlightBefore) ?? { latencies: [], atMs: nowMs };
    if (remembered.latencies.length === 0) this.#latencies.set(job.inFlightBefore, remembered);
    if (remembered.latencies.length >= latenciesKept) remembered.latencies.shift();
    remembered.latencies.push(nowMs - job.arrivedAtMs);
    remembered.atMs = nowMs;
  }
}

function pushByFinish(heap: Job[], job: Job): void {
  let at = heap.length;
  heap.push(job);
  while (at > 0) {
    const parentAt = (at - 1) >> 1;
    const parent = heap[parentAt];
    if (parent === undefined || parent.finishesAt <= job.finishesAt) break;
    heap[at] = parent;
    at = parentAt;
  }
  heap[at] = job;
}

function popByFinish(heap: Job[]): void {
  const last = heap.pop();
  if (last === undefined || heap.length === 0) return;
  let at = 0;
  for (;;) {
    const left = heap[2 * at + 1];
    const right = heap[2 * at + 2];
    const isRight = left !== undefined && right !== undefined && right.finishesAt < left.finishesAt;
    const child = isRight ? right : left;
    if (child === undefined || child.finishesAt >= last.finishesAt) break;
    heap[at] = child;
    at = 2 * at + (isRight ? 2 : 1);
  }
  heap[at] = last;
}
