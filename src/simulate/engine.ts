import { assert } from "../platform/assert.js";
import { seededRng } from "../platform/rng.js";
import type { Probe } from "../smart-router/baselines/surroundings.js";
import type { Arrival } from "./arrivals.js";
import type { Contender, Dispatched, Dispatcher, EndReport } from "./dispatch.js";
import { drawOf, purposes, seedFor } from "./draws.js";
import { EventHeap } from "./event-heap.js";
import { hashOutcomes, type Outcome, type RunLog } from "./run-log.js";
import { type Job, SimulatedServer } from "./server.js";
import type { Fault, Verdict, World } from "./world.js";

const tickMs = 1_000;
const sampleMs = 100;
/** How soon a refused connection is noticed. */
const refusedAfterMs = 1;

/**
 * One run: every arrival of `world`, routed by `contender`, until all have ended and `drainMs` more. The same world, contender and seed give the same log, bit
 * for bit. Arrivals and the draws of requests depend on the seed alone, not on the contender.
 */
export function simulate(world: World, contender: Contender, seed: number): RunLog {
  const run = new Run(world, contender, seed);
  return run.play();
}

/** What is wrong with a server at the moment, as far as it hits the request with this draw; the first in the list wins. */
function faultAt(faults: readonly Fault[], atMs: number, draw: number): Fault | undefined {
  return faults.find((fault) => atMs >= fault.fromMs && atMs < fault.untilMs && (fault.kind === "die" || draw < fault.share));
}

/** A request that is with a server. */
type Open = {
  readonly index: number;
  readonly arrival: Arrival;
  readonly server: number;
  readonly coordinator: number;
  readonly dispatched: Dispatched;
  readonly verdict: Verdict;
  readonly inFlightBefore: number;
  job: Job | undefined;
  isEnded: boolean;
};

/** The state of one run. */
class Run {
  readonly #world: World;
  readonly #seed: number;
  readonly #events = new EventHeap();
  readonly #servers: readonly SimulatedServer[];
  readonly #positions: ReadonlyMap<string, number>;
  readonly #isUp: boolean[];
  readonly #dispatchers: readonly Dispatcher[];
  readonly #outcomes: Outcome[] = [];
  readonly #open: Set<Open>[];
  readonly #inFlightSeen = new Map<number, number>();
  readonly #arrivals: Iterator<Arrival>;
  #arrived = 0;
  #ended = 0;
  #isLastArrived = false;
  #endsAtMs = Number.POSITIVE_INFINITY;

  constructor(world: World, contender: Contender, seed: number) {
    this.#world = world;
    this.#seed = seed;
    this.#servers = world.servers.map((spec) => new SimulatedServer(spec, this.#events));
    this.#positions = new Map(world.servers.map((spec, index) => [spec.mcpId, index]));
    this.#isUp = world.servers.map(() => false);
    this.#open = world.servers.map(() => new Set());
    const byId = new Map(this.#servers.map((server) => [server.spec.mcpId, server]));
    const surroundings = Array.from({ length: world.coordinators }, (_, coordinator) => ({
      rng: seededRng(seedFor(seed, `probes ${coordinator}`)),
      choices: seededRng(seedFor(seed, `choices ${coordinator}`)),
      probe: this.#probe,
      clientCount: world.coordinators,
      coordinator,
      servers: byId,
    }));
    this.#dispatchers = contender.createAll?.(surroundings) ?? surroundings.map((own) => contender.create(own));
    this.#arrivals = world.arrivals(seed)[Symbol.iterator]();
  }

  play(): RunLog {
    for (const [index, { spec }] of this.#servers.entries()) this.#planStream(index, spec.joinsAtMs, spec.faults);
    this.#scheduleArrival();
    this.#events.schedule(tickMs, (nowMs) => this.#tick(nowMs));
    this.#events.schedule(Math.max(sampleMs, this.#world.measureFromMs), (nowMs) => this.#sample(nowMs));
    while (this.#events.nextMs <= this.#endsAtMs) this.#events.runNext();
    const outcomes = this.#outcomes.sort((a, b) => a.index - b.index);
    return {
      outcomes,
      measureFromMs: this.#world.measureFromMs,
      deadlineMs: this.#world.deadlineMs,
      serverCount: this.#servers.length,
      inFlightSeen: this.#inFlightSeen,
      leaked: this.#dispatchers.reduce((sum, dispatcher) => sum + dispatcher.inFlight(), 0),
      own: sumOf(this.#dispatchers.map((dispatcher) => dispatcher.figures())),
      hash: hashOutcomes(outcomes),
    };
  }

  readonly #probe: Probe = (mcpId, nowMs, answered) => {
    const position = this.#positions.get(mcpId);
    const server = position === undefined ? undefined : this.#servers[position];
    if (server === undefined || position === undefined) return;
    const { probeDelayMs } = this.#world;
    this.#events.schedule(nowMs + probeDelayMs / 2, (thereMs) => {
      if (this.#isUp[position] !== true) return;
      const reading = { mcpId, ...server.probe(thereMs) };
      this.#events.schedule(thereMs + probeDelayMs / 2, (backMs) => answered(reading, backMs));
    });
  };

  #planStream(index: number, joinsAtMs: number, faults: readonly Fault[]): void {
    this.#events.schedule(joinsAtMs, (nowMs) => this.#openStream(index, nowMs));
    for (const fault of faults) {
      if (fault.kind !== "die") continue;
      this.#events.schedule(fault.fromMs, (nowMs) => this.#die(index, nowMs));
      if (Number.isFinite(fault.untilMs)) this.#events.schedule(fault.untilMs, (nowMs) => this.#openStream(index, nowMs));
    }
  }

  #openStream(index: number, nowMs: number): void {
    const spec = this.#world.servers[index];
    if (spec === undefined) return;
    this.#isUp[index] = true;
    for (const dispatcher of this.#dispatchers) dispatcher.joined(spec.mcpId, spec.capacity, nowMs);
  }

  #die(index: number, nowMs: number): void {
    const spec = this.#world.servers[index];
    if (spec === undefined) return;
    this.#isUp[index] = false;
    for (const dispatcher of this.#dispatchers) dispatcher.left(spec.mcpId, nowMs);
    for (const open of [...(this.#open[index] ?? [])]) this.#end(open, "error", nowMs);
  }

  #scheduleArrival(): void {
    const next = this.#arrivals.next();
    if (next.done === true) {
      this.#isLastArrived = true;
      if (this.#ended === this.#arrived) this.#endsAtMs = this.#world.drainMs;
      return;
    }
    this.#events.schedule(next.value.atMs, (nowMs) => {
      this.#arrive(next.value, nowMs);
      this.#scheduleArrival();
    });
  }

  #arrive(arrival: Arrival, nowMs: number): void {
    const index = this.#arrived++;
    const coordinator = Math.floor(drawOf(this.#seed, index, purposes.coordinator) * this.#dispatchers.length);
    const dispatched = this.#dispatchers[coordinator]?.dispatch(arrival.request, nowMs, arrival);
    const position = dispatched === undefined ? undefined : this.#positions.get(dispatched.mcpId);
    if (dispatched === undefined || position === undefined) {
      this.#refuse(index, arrival, coordinator, nowMs);
      return;
    }
    this.#serve(index, arrival, position, coordinator, dispatched, nowMs);
  }

  #serve(index: number, arrival: Arrival, position: number, coordinator: number, dispatched: Dispatched, nowMs: number): void {
    const server = this.#servers[position];
    assert(server !== undefined, "a dispatcher sends to a server of the world");
    const draw = (purpose: number): number => drawOf(this.#seed, index, purpose);
    const verdict = this.#world.answering(position, arrival, nowMs, draw);
    const open: Open = {
      index,
      arrival,
      server: position,
      coordinator,
      dispatched,
      verdict,
      inFlightBefore: server.inFlight,
      job: undefined,
      isEnded: false,
    };
    this.#open[position]?.add(open);
    this.#events.schedule(nowMs + this.#world.deadlineMs, (thenMs) => this.#end(open, "late", thenMs));
    const fault = this.#isUp[position] ? faultAt(server.spec.faults, nowMs, draw(purposes.failure)) : undefined;
    if (!this.#isUp[position]) this.#events.schedule(nowMs + refusedAfterMs, (thenMs) => this.#end(open, "error", thenMs));
    else if (fault?.kind === "fail_fast") this.#events.schedule(nowMs + fault.afterMs, (thenMs) => this.#end(open, "error", thenMs));
    else {
      const result = verdict.isError || fault?.kind === "fail" ? "error" : "ok";
      const workMs = arrival.workMs * verdict.workFactor * (fault?.kind === "slow" ? fault.factor : 1);
      open.job = server.accept(workMs, fault?.kind === "hang", nowMs, (thenMs) => this.#end(open, result, thenMs));
    }
  }

  #end(open: Open, result: "ok" | "error" | "late", nowMs: number): void {
    if (open.isEnded) return;
    open.isEnded = true;
    this.#open[open.server]?.delete(open);
    const isSilent = open.job?.state === "hanging";
    if (open.job !== undefined && open.job.state !== "gone") this.#servers[open.server]?.cancel(open.job, nowMs);
    const { index, arrival, server, coordinator, inFlightBefore, verdict } = open;
    const { quality, trueQuality, cost } = result === "ok" ? verdict : { quality: undefined, trueQuality: undefined, cost: verdict.cost };
    this.#note({ index, arrival, server, endedAtMs: nowMs, result, inFlightBefore, coordinator, quality, trueQuality, cost });
    const report = reportOf(open, isSilent, result, nowMs);
    const tell = (thenMs: number): void => this.#dispatchers[coordinator]?.ended(open.dispatched.token, report, thenMs);
    if (this.#world.reportDelayMs === 0) tell(nowMs);
    else this.#events.schedule(nowMs + this.#world.reportDelayMs, tell);
  }

  #refuse(index: number, arrival: Arrival, coordinator: number, nowMs: number): void {
    const nothing = { quality: undefined, trueQuality: undefined, cost: undefined };
    this.#note({ index, arrival, server: -1, endedAtMs: nowMs, result: "refused", inFlightBefore: 0, coordinator, ...nothing });
  }

  #note(outcome: Outcome): void {
    this.#outcomes.push(outcome);
    this.#ended++;
    if (this.#isLastArrived && this.#ended === this.#arrived) {
      this.#endsAtMs = outcome.endedAtMs + this.#world.reportDelayMs + this.#world.drainMs;
    }
  }

  #tick(nowMs: number): void {
    for (const dispatcher of this.#dispatchers) dispatcher.tick(nowMs);
    this.#events.schedule(nowMs + tickMs, (thenMs) => this.#tick(thenMs));
  }

  #sample(nowMs: number): void {
    if (this.#isLastArrived) return;
    for (const { inFlight } of this.#servers) this.#inFlightSeen.set(inFlight, (this.#inFlightSeen.get(inFlight) ?? 0) + 1);
    this.#events.schedule(nowMs + sampleMs, (thenMs) => this.#sample(thenMs));
  }
}

function reportOf(open: Open, isSilent: boolean, result: "ok" | "error" | "late", nowMs: number): EndReport {
  const { verdict, arrival } = open;
  const answered = result === "ok";
  return {
    // Whoever gave up says so; nobody heard of the request itself.
    result: result === "late" ? "expired" : result,
    isSilent,
    durationMs: result === "late" ? undefined : nowMs - arrival.atMs,
    quality: answered ? verdict.quality : undefined,
    auditedQuality: answered ? verdict.auditedQuality : undefined,
    cost: verdict.cost,
  };
}

function sumOf(parts: readonly Readonly<Record<string, number>>[]): Readonly<Record<string, number>> {
  const sum: Record<string, number> = {};
  for (const part of parts) for (const [name, value] of Object.entries(part)) sum[name] = (sum[name] ?? 0) + value;
  return sum;
}
