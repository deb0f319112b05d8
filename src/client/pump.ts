import { Allowance } from "../platform/allowance.js";
import { backoffMs } from "../platform/backoff.js";
import type { Cancel, Clock } from "../platform/clock.js";
import { limits } from "../platform/limits.js";
import type { Rng } from "../platform/rng.js";
import { Lanes } from "./lanes.js";
import type { Spool, SpooledEvent } from "./spool/spool.js";
import type { Settlement, Transport, TransportName } from "./transports/transport.js";
import { isFinalRefusal } from "./wire/verdict.js";

export type PumpRules = {
  /** Refusals of an event that may pass before it is set aside. */
  readonly maxRetries: number;
  /** First delay before an event is offered again.     Units: ms. */
  readonly retryDelayMs: number;
  /** Batches that are offered in a second, whatever transport is in use; undefined: as many as it takes. */
  readonly batchesPerSecond?: number | undefined;
};

/** What became of an event in the end. */
export type Resolved = {
  readonly eventId: string;
  readonly outcome: "stored" | "duplicate" | "not_collected" | "set_aside";
  readonly reason: string;
  readonly transport: TransportName;
};

export type PumpDeps = {
  readonly clock: Clock;
  readonly rng: Rng;
  readonly rules: PumpRules;
  /** The transport to use now; undefined while none is up. */
  readonly current: () => Transport | undefined;
  /** Whether that is the best there is. Over another one a backlog waits for up to `limits.backlogPatienceMs`: it is to arrive in its order, over one transport. */
  readonly isAtBest: () => boolean;
  /** Called once for each event that is resolved, and once for each time that one has to wait. Must not throw. */
  readonly onResolved: (resolved: Resolved) => void;
  readonly onDeferred: () => void;
  /** A spool or a transport has thrown, which neither should: what was to be done is tried again. Must not throw. */
  readonly onFault: (thrown: unknown) => void;
  /** Spools have been told what they may forget. */
  readonly onForgotten: () => void;
};

/** A spool that is emptied, and how far what is in it is durable. */
type Source = { readonly spool: Spool; readonly lanes: Lanes; newestPlace: number; forgotten: number[] };

/** An event that has left the order of its spool, and is not resolved. */
type Flight = {
  readonly source: Source;
  readonly event: SpooledEvent;
  /** Other spools that have the same event: a disk that took part of a burst, and the memory that took all of it. */
  readonly copies: { readonly source: Source; readonly place: number }[];
  transport: TransportName | undefined;
  sinceMs: number;
  tries: number;
  refusals: number;
};

/**
 * Brings events from spools to the transport in use until they are resolved. An event is forgotten only when it is stored, or was, or is left out by a rule; one that is refused
 * for good is set aside; all else is offered again, for ever.     Bound: `limits.pumpHeldMaxEvents` events out of the spools at once.
 */
export class Pump {
  readonly #deps: PumpDeps;
  readonly #sources: Source[] = [];
  readonly #flights = new Map<string, Flight>();
  /** Flights that no transport has now, in the order in which they are offered. */
  #waiting: Flight[] = [];
  readonly #resting = new Map<Flight, number>();
  #cancelRest: Cancel | undefined;
  readonly #throttle: Allowance | undefined;
  /** A batch may be offered: what was allowed is kept while there is nothing to offer, or no room for it. */
  #hasTurn = false;
  #cancelTurn: Cancel | undefined;
  /** Since when a backlog has waited for a better transport.     Units: monotonic ms. */
  #patientSinceMs: number | undefined;
  /** When each transport has last said something.     Units: monotonic ms. */
  readonly #heardMs = new Map<TransportName, number>();
  #isScheduled = false;
  #isStopped = false;

  constructor(deps: PumpDeps) {
    this.#deps = deps;
    const { batchesPerSecond: perSecond } = deps.rules;
    this.#throttle =
      perSecond === undefined ? undefined : new Allowance({ burst: Math.max(1, perSecond), perSecond }, deps.clock.monotonicMs());
  }

  /** Reads this spool too. Gives what is called when events up to a place are durable. */
  addSource(spool: Spool): (newestPlace: number) => void {
    const source: Source = { spool, lanes: new Lanes(spool), newestPlace: 0, forgotten: [] };
    this.#sources.push(source);
    this.schedule();
    return (newestPlace) => {
      source.newestPlace = Math.max(source.newestPlace, newestPlace);
      this.schedule();
    };
  }

  /** Events that are with a transport, or on their way to one. */
  get heldCount(): number {
    return this.#flights.size;
  }

  /** How long a transport has said nothing although it has events; 0 when it has none. Units: ms. */
  silentMs(name: TransportName): number {
    let oldestMs: number | undefined;
    for (const flight of this.#flights.values()) {
      if (flight.transport !== name) continue;
      oldestMs = flight.sinceMs;
      break; // in the order of offering, nearly: a later one cannot be much older
    }
    return oldestMs === undefined ? 0 : Math.max(0, this.#deps.clock.monotonicMs() - Math.max(oldestMs, this.#heardMs.get(name) ?? 0));
  }

  /** Offers what there is, in this turn of the loop and not in the caller's. */
  schedule(): void {
    if (this.#isScheduled || this.#isStopped) return;
    this.#isScheduled = true;
    setImmediate(() => {
      this.#isScheduled = false;
      try {
        this.#pump();
      } catch (thrown) {
        // The loop's edge: a disk that cannot be read must not end the MCP's process. It becomes trouble, and the pump goes on later.
        this.#deps.onFault(thrown);
        this.#deps.clock.after(limits.transportLookMs, () => this.schedule());
      }
    });
  }

  /** What was given to this transport is offered to the next one as well: whoever stores it first has it. */
  recall(name: TransportName): void {
    const recalled = [...this.#flights.values()].filter((flight) => flight.transport === name);
    for (const flight of recalled) flight.transport = undefined;
    this.#waiting = [...recalled, ...this.#waiting];
    this.schedule();
  }

  /** What a transport says about one event. What is not held any more was settled by another, or before. */
  settle(name: TransportName, { eventId, outcome, reason, retryAfterMs }: Settlement): void {
    this.#heardMs.set(name, this.#deps.clock.monotonicMs());
    this.schedule(); // whatever it says, it has room for another
    const flight = this.#flights.get(eventId);
    if (flight === undefined) return;
    switch (outcome) {
      case "deferred":
        if (flight.transport === name) this.#rest(flight, retryAfterMs ?? 0);
        return;
      case "rejected":
        if (!isFinalRefusal(reason) && flight.refusals < this.#deps.rules.maxRetries) {
          flight.refusals += 1;
          if (flight.transport === name) this.#rest(flight, 0);
          return;
        }
        if (!this.#attempt(() => flight.source.spool.setAside(flight.event.place, reason))) {
          if (flight.transport === name) this.#rest(flight, 0);
          return;
        }
        this.#resolve(flight);
        this.#deps.onResolved({ eventId, outcome: "set_aside", reason, transport: name });
        return;
      default:
        this.#resolve(flight);
        flight.source.forgotten.push(flight.event.place);
        this.#deps.onResolved({ eventId, outcome, reason, transport: name });
    }
  }

  /** Offers nothing more, and tells the spools what was settled. */
  stop(): void {
    this.#isStopped = true;
    this.#cancelRest?.();
    this.#cancelTurn?.();
    this.#attempt(() => this.#forget());
  }

  /** Runs what a spool may refuse; false when it did. The loop's edge: a disk that cannot be read must end neither a transport nor the closing. */
  #attempt(task: () => void): boolean {
    try {
      task();
      return true;
    } catch (thrown) {
      this.#deps.onFault(thrown);
      return false;
    }
  }

  #resolve(flight: Flight): void {
    this.#flights.delete(flight.event.eventId);
    this.#resting.delete(flight);
    for (const { source, place } of flight.copies) source.forgotten.push(place);
  }

  #rest(flight: Flight, retryAfterMs: number): void {
    const { clock, rng, rules } = this.#deps;
    const backoff = { firstMs: rules.retryDelayMs, maxMs: Math.max(rules.retryDelayMs, limits.reconnectBackoff.maxMs) };
    const delayMs = Math.max(Math.min(retryAfterMs, limits.retryAfterMaxMs), backoffMs(backoff, flight.tries, rng));
    flight.transport = undefined;
    flight.tries += 1;
    this.#resting.set(flight, clock.monotonicMs() + delayMs);
    this.#deps.onDeferred();
    this.#restUntilDue();
  }

  #restUntilDue(): void {
    this.#cancelRest?.();
    this.#cancelRest = undefined;
    if (this.#resting.size === 0 || this.#isStopped) return;
    const dueMs = Math.min(...this.#resting.values());
    this.#cancelRest = this.#deps.clock.after(Math.max(1, dueMs - this.#deps.clock.monotonicMs()), () => this.#wake());
  }

  #wake(): void {
    const nowMs = this.#deps.clock.monotonicMs();
    const due = [...this.#resting].filter(([, dueMs]) => dueMs <= nowMs).map(([flight]) => flight);
    for (const flight of due) this.#resting.delete(flight);
    this.#waiting = [...due, ...this.#waiting];
    this.#restUntilDue();
    this.schedule();
  }

  #pump(): void {
    this.#forget();
    const transport = this.#isStopped ? undefined : this.#deps.current();
    if (transport === undefined) return;
    for (;;) {
      const batch = this.#nextBatch();
      if (batch.length === 0) return;
      if (!this.#mayOffer()) {
        this.#waiting = [...batch, ...this.#waiting];
        return;
      }
      let taken = 0;
      try {
        taken = transport.offer(batch.map(({ event }) => event));
      } finally {
        this.#waiting = [...batch.slice(taken), ...this.#waiting];
      }
      const nowMs = this.#deps.clock.monotonicMs();
      for (const flight of batch.slice(0, taken)) {
        flight.transport = transport.name;
        flight.sinceMs = nowMs;
      }
      if (taken > 0) this.#hasTurn = false;
      if (taken < batch.length) return;
    }
  }

  /** Whether the throttle lets another batch go; when it does not, the pump comes back when it does. */
  #mayOffer(): boolean {
    const { clock, rules } = this.#deps;
    this.#hasTurn ||= this.#throttle?.take(clock.monotonicMs()) ?? true;
    if (!this.#hasTurn) {
      this.#cancelTurn?.();
      this.#cancelTurn = clock.after(Math.ceil(1_000 / (rules.batchesPerSecond ?? 1)), () => this.schedule());
    }
    return this.#hasTurn;
  }

  /** What waits, and the next of the spools when nothing does. Empty only when there is nothing to offer. */
  #nextBatch(): readonly Flight[] {
    for (;;) {
      if (this.#waiting.length === 0) this.#readOn();
      if (this.#waiting.length === 0) return [];
      // It may have been settled while it waited, by the transport that had it before.
      const batch = this.#waiting.slice(0, limits.batchMaxEvents).filter((flight) => this.#flights.get(flight.event.eventId) === flight);
      this.#waiting = this.#waiting.slice(limits.batchMaxEvents);
      if (batch.length > 0) return batch;
    }
  }

  #readOn(): void {
    const withBacklogs = this.#mayReadBacklogs();
    for (const source of this.#sources) {
      const room = Math.min(limits.batchMaxEvents, limits.pumpHeldMaxEvents - this.#flights.size);
      if (room <= 0) return;
      for (const event of source.lanes.read(room, source.newestPlace, withBacklogs)) {
        const held = this.#flights.get(event.eventId);
        if (held !== undefined) {
          held.copies.push({ source, place: event.place });
          continue;
        }
        const flight: Flight = { source, event, copies: [], transport: undefined, sinceMs: 0, tries: 0, refusals: 0 };
        this.#flights.set(event.eventId, flight);
        this.#waiting.push(flight);
      }
    }
  }

  /** A patience that was used up is given anew only when there was no backlog any more, or no need of it. */
  #mayReadBacklogs(): boolean {
    const { clock, isAtBest } = this.#deps;
    const nowMs = clock.monotonicMs();
    if (isAtBest() || !this.#sources.some(({ lanes, newestPlace }) => lanes.hasBacklog(newestPlace))) {
      this.#patientSinceMs = undefined;
      return true;
    }
    if (this.#patientSinceMs === undefined) {
      this.#patientSinceMs = nowMs;
      clock.after(limits.backlogPatienceMs, () => this.schedule());
    }
    return nowMs - this.#patientSinceMs >= limits.backlogPatienceMs;
  }

  #forget(): void {
    for (const source of this.#sources) {
      if (source.forgotten.length === 0) continue;
      source.spool.forget(source.forgotten);
      source.forgotten = [];
    }
    this.#deps.onForgotten();
  }
}
