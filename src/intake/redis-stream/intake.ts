import type { KeyRing } from "../../auth/api-key.js";
import type { Config } from "../../config/schema.js";
import { flowOf } from "../../ingest/fair-queue.js";
import type { Ingest } from "../../ingest/ingest.js";
import type { Origin } from "../../ingest/pending.js";
import { judge, type Verdict } from "../../ingest/verdict.js";
import type { Instant, NewEvent } from "../../interaction/event.js";
import { unreachable } from "../../platform/assert.js";
import { backoffMs } from "../../platform/backoff.js";
import type { Cancel, Clock } from "../../platform/clock.js";
import { limits } from "../../platform/limits.js";
import type { Logger } from "../../platform/log.js";
import { RedisFault } from "../../platform/redis-connection.js";
import type { Rng } from "../../platform/rng.js";
import type { Transport, TransportFigures } from "../transport.js";
import { entryBytes, readEntry } from "./entry.js";
import { fateOf, reasonOf, unreadable } from "./fate.js";
import { type Flight, Flights } from "./flights.js";
import { judgeEntry } from "./judge-entry.js";
import { addedAtMs, type ClaimedPage, isGroupGone, openLink, type RedisLink, type StreamPlace } from "./link.js";
import { type LoopEffect, type LoopEvent, type LoopState, step } from "./loop.js";
import { AckOutlet, type Settled } from "./outlet.js";
import type { PendingEntry, StreamEntry } from "./replies.js";
import { type StreamSample, sampleStream } from "./sample.js";
import { forgetConsumers, trimAcknowledged } from "./upkeep.js";

export type RedisIntakeDeps = {
  readonly url: string;
  readonly config: Omit<Config["redis"], "url">;
  /** Names the consumer unless the configuration does. */
  readonly coordinatorId: string;
  readonly ingest: Ingest;
  readonly authenticate: KeyRing["authenticate"];
  readonly clock: Clock;
  readonly rng: Rng;
  readonly log: Logger;
};

/** The way in by a Redis stream. Nothing happens before `start`. */
export function createRedisIntake(deps: RedisIntakeDeps): Transport {
  const { stream, group, consumer } = deps.config;
  const intake = new RedisIntake(deps, { url: deps.url, stream, group, consumer: consumer ?? deps.coordinatorId });
  return { start: () => intake.dispatch({ kind: "start" }), figures: () => intake.figures(), drain: (graceMs) => intake.drain(graceMs) };
}

/** Since the start. `trimmedPending`: trimmed after they were delivered. */
type Counts = { received: number; resolved: number; refused: number; deadLettered: number; trimmedPending: number };

/**
 * Brings entries from the stream to the ingest and tells Redis what became of them. What is done next is decided by `step`; this is its hands. An entry is
 * held from its delivery to its acknowledgement, through losses of the connection.     States, events, invariants: intake/redis-stream/SPEC.md.
 */
class RedisIntake {
  readonly #deps: RedisIntakeDeps;
  readonly #place: StreamPlace;
  readonly #flights = new Flights();
  readonly #outlet: AckOutlet;
  readonly #origin: Origin;
  /** Entries that wait for the store, by the event that they brought. */
  readonly #committing = new Map<NewEvent, Flight>();
  readonly #counts: Counts = { received: 0, resolved: 0, refused: 0, deadLettered: 0, trimmedPending: 0 };
  #state: LoopState = { kind: "idle" };
  #link: RedisLink | undefined;
  #detail = "not connected yet";
  #sample: StreamSample | undefined;
  #trimmedUnread = 0;
  /** Up to where entries that an earlier connection was given have been asked for; undefined when all have. */
  #ownAfter: string | undefined = "0-0";
  /** Reads and takeovers under way: one, and while a link is replaced the failing one of the old link. */
  #takesUnderWay = 0;
  #sweepDueAtMs = 0;
  #cancelTick: Cancel = () => {};
  readonly #onStopped: (() => void)[] = [];

  constructor(deps: RedisIntakeDeps, place: StreamPlace) {
    this.#deps = deps;
    this.#place = place;
    this.#origin = { settled: (event, outcome) => this.#decided(event, judge(event, outcome)), flushed: () => this.#outlet.flush() };
    this.#outlet = new AckOutlet({
      stream: place.stream,
      group: place.group,
      log: deps.log,
      onDone: (settled, isKept) => this.#done(settled, isKept),
      onFailed: (fault, link) => this.#fail(link, fault),
    });
  }

  dispatch(event: LoopEvent): void {
    const { next, effect } = step(this.#state, event);
    this.#state = next;
    this.#perform(effect);
  }

  figures(): TransportFigures {
    const { trimmedPending, ...counts } = this.#counts;
    const isUp = this.#state.kind === "reading" || this.#state.kind === "full" || this.#state.kind === "recovering";
    const { depth, lagMs } = (isUp ? this.#sample : undefined) ?? { depth: undefined, lagMs: undefined };
    const dropped = trimmedPending + this.#trimmedUnread;
    return { name: "redis", state: isUp ? "up" : "down", detail: this.#detail, ...counts, dropped, depth, lagMs };
  }

  drain(graceMs: number): Promise<void> {
    this.dispatch({ kind: "drain" });
    if (this.#state.kind === "stopped") return Promise.resolve();
    return new Promise((resolve) => {
      const cancel = this.#deps.clock.after(graceMs, () => this.dispatch({ kind: "done" }));
      this.#onStopped.push(() => {
        cancel();
        resolve();
      });
    });
  }

  #perform(effect: LoopEffect): void {
    switch (effect) {
      case "open":
        void this.#open();
        break;
      case "make_group":
        if (this.#link !== undefined) void this.#makeGroup(this.#link);
        break;
      case "recover":
        this.#take((link) => this.#recover(link));
        break;
      case "read":
        this.#take((link) => this.#read(link));
        break;
      case "await_room":
        this.#awaitRoom();
        break;
      case "time_retry":
        this.#timeRetry();
        break;
      case "settle":
        this.#outlet.flush();
        this.#checkDone();
        break;
      case "close":
        this.#close();
        break;
      case "none":
        break;
      default:
        unreachable(effect);
    }
  }

  /** Never rejects: failure becomes state. */
  async #open(): Promise<void> {
    let opened: RedisLink | undefined;
    try {
      opened = await openLink(this.#place, this.#deps.config.blockMs, (why) => this.#fail(opened, new RedisFault("lost", why)));
    } catch (thrown) {
      return this.#failed(RedisFault.from(thrown));
    }
    if (this.#state.kind !== "connecting") return opened.close();
    this.#link = opened;
    await this.#makeGroup(opened);
    if (this.#link === opened) this.#tick(opened);
  }

  /** Never rejects: failure becomes state. */
  async #makeGroup(link: RedisLink): Promise<void> {
    try {
      await link.makeGroup();
    } catch (thrown) {
      return this.#fail(link, RedisFault.from(thrown));
    }
    if (this.#link !== link) return;
    this.#ownAfter = "0-0";
    this.#outlet.use(link);
    this.dispatch({ kind: "connected" });
  }

  /** Runs what takes entries; its failure ends the link. */
  #take(run: (link: RedisLink) => Promise<LoopEvent>): void {
    const link = this.#link;
    if (link === undefined) return;
    this.#takesUnderWay += 1;
    const ended = (event: LoopEvent | RedisFault): void => {
      this.#takesUnderWay -= 1;
      if (this.#link === link) this.#taken(link, event);
      this.#checkDone();
    };
    run(link).then(ended, (thrown: unknown) => ended(RedisFault.from(thrown)));
  }

  #taken(link: RedisLink, event: LoopEvent | RedisFault): void {
    if (!(event instanceof RedisFault)) this.dispatch(event);
    else if (isGroupGone(event)) this.#groupGone(event);
    else this.#fail(link, event);
  }

  #groupGone(fault: RedisFault): void {
    this.#deps.log.warn(
      { ...this.#names, err: fault },
      "the consumer group is gone and is made anew: entries that Redis lost are not known here",
    );
    this.dispatch({ kind: "group_gone" });
  }

  async #read(link: RedisLink): Promise<LoopEvent> {
    const { count, blockMs } = this.#deps.config;
    this.#takeIn(await link.readNew(count, blockMs));
    return { kind: "read", hasRoom: this.#hasRoom, isSweepDue: this.#deps.clock.monotonicMs() >= this.#sweepDueAtMs };
  }

  /** What an earlier connection was given first, then what silent consumers hold: not while the store is away, when they may only be waiting for it. */
  async #recover(link: RedisLink): Promise<LoopEvent> {
    const { count, claimIdleMs } = this.#deps.config;
    while (this.#ownAfter !== undefined && this.#mayTake(link)) {
      const pending: readonly PendingEntry[] = await link.pendingOwn(this.#ownAfter, count);
      const missing = new Map(pending.filter(({ id }) => !this.#flights.has(id)).map(({ id, deliveries }) => [id, deliveries + 1]));
      const entries = missing.size === 0 ? [] : await link.deliverAgain([...missing.keys()]);
      this.#takeIn(
        entries,
        entries.map(({ id }) => missing.get(id) ?? 1),
      );
      for (const { id } of entries) missing.delete(id);
      for (const id of missing.keys()) this.#trimmed(id);
      this.#ownAfter = pending.at(-1)?.id;
    }
    let cursor: string | undefined;
    while (cursor !== "0-0" && this.#deps.ingest.queue.isAvailable && this.#mayTake(link)) {
      const page: ClaimedPage = await link.claim(cursor ?? "0-0", claimIdleMs, count);
      await this.#takeAgain(link, page.entries);
      cursor = page.cursor;
    }
    if (this.#link === link) await forgetConsumers(link, this.#place);
    const isComplete = this.#ownAfter === undefined && cursor === "0-0";
    this.#sweepDueAtMs = this.#deps.clock.monotonicMs() + (isComplete ? claimIdleMs / 2 : Math.min(limits.redisTickMs, claimIdleMs / 2));
    return { kind: "recovered", hasRoom: this.#hasRoom };
  }

  /** Without room a takeover ends early: the next sweep goes on. */
  #mayTake(link: RedisLink): boolean {
    return this.#link === link && this.#state.kind === "recovering" && this.#hasRoom;
  }

  async #takeAgain(link: RedisLink, entries: readonly StreamEntry[]): Promise<void> {
    const fresh = entries.filter(({ id }) => !this.#flights.has(id));
    if (fresh.length === 0) return;
    this.#takeIn(fresh, await link.deliveriesOf(fresh.map(({ id }) => id)));
  }

  #takeIn(entries: readonly StreamEntry[], deliveries: readonly number[] = []): void {
    for (const [i, entry] of entries.entries()) {
      if (!this.#flights.has(entry.id)) this.#takeOne(entry, deliveries[i] ?? 1);
    }
    this.#outlet.flush();
  }

  #takeOne({ id, fields }: StreamEntry, deliveries: number): void {
    const touchedAtMs = this.#deps.clock.monotonicMs();
    if (fields === undefined) {
      const flight: Flight = { id, fields: [], bytes: 0, deliveries, replyTo: undefined, touchedAtMs };
      this.#trimmed(id);
      this.#flights.add(flight);
      this.#outlet.push({ flight, verdict: unreadable({ eventId: "", interactionId: "" }, []), fate: "gone" });
      return;
    }
    const ms = addedAtMs(id);
    const read = readEntry(this.#place.stream, fields, ms === undefined ? undefined : instantOf(ms));
    const flight: Flight = { id, fields, bytes: entryBytes(fields), deliveries, replyTo: read.replyTo, touchedAtMs };
    this.#flights.add(flight);
    this.#counts.received += 1;
    const { ingest, authenticate, config } = this.#deps;
    const judged = judgeEntry({ ingest, authenticate, maxDeliveries: config.maxDeliveries }, read, deliveries);
    if (judged.kind === "decided") {
      this.#settle(flight, judged.verdict);
      return;
    }
    this.#committing.set(judged.event, flight);
    const place = ingest.queue.placeOf(judged.event.interactionId, flowOf("mcp", judged.event.mcpId));
    ingest.queue.offer(place, { event: judged.event, origin: this.#origin, receivedAtMs: touchedAtMs });
  }

  /** Trimmed or deleted after it was delivered and before it was stored: all that is left is to say so. */
  #trimmed(id: string): void {
    this.#counts.trimmedPending += 1;
    this.#deps.log.error({ ...this.#names, entry: id }, "an entry was trimmed before it was stored");
  }

  #decided(event: NewEvent, verdict: Verdict): void {
    const flight = this.#committing.get(event);
    this.#committing.delete(event);
    if (flight !== undefined) this.#settle(flight, verdict);
  }

  #settle(flight: Flight, verdict: Verdict): void {
    const fate = fateOf(verdict, flight.replyTo !== undefined);
    if (fate !== "left") {
      this.#outlet.push({ flight, verdict, fate });
      return;
    }
    this.#flights.remove(flight);
    this.#offerRoom();
    this.#checkDone();
  }

  /** Redis knows what became of an entry. */
  #done({ flight, verdict, fate }: Settled, isKept: boolean): void {
    this.#flights.remove(flight);
    if (fate === "resolved") this.#counts.resolved += 1;
    if (fate === "returned") this.#counts.refused += 1;
    if (fate === "dead" && isKept) {
      // A verdict without an event, or without a judgement of it, is that the entry is no use; the others are refusals.
      this.#counts[verdict.eventId === "" || verdict.status === "unavailable" ? "deadLettered" : "refused"] += 1;
      this.#deps.log.warn({ ...this.#names, entry: flight.id, verdict: verdict.status, reason: reasonOf(verdict) }, "entry set aside");
    }
    this.#offerRoom();
    this.#checkDone();
  }

  get #hasRoom(): boolean {
    return this.#flights.hasRoom && (this.#deps.ingest.queue.hasRoom || this.#committing.size === 0);
  }

  #awaitRoom(): void {
    if (!this.#deps.ingest.queue.hasRoom) this.#deps.ingest.queue.whenRoom(() => this.#offerRoom());
    this.#offerRoom();
  }

  #offerRoom(): void {
    if (this.#state.kind === "full" && this.#hasRoom) this.dispatch({ kind: "room" });
  }

  /** Looks after the link at once, and every `redisTickMs` while it lives: more often where entries get old sooner. */
  #tick(link: RedisLink): void {
    const tickMs = Math.min(limits.redisTickMs, this.#deps.config.claimIdleMs / 3);
    const next = (): void => {
      if (this.#link === link) this.#cancelTick = this.#deps.clock.after(tickMs, () => this.#tick(link));
    };
    this.#lookAfter(link).then(next, (thrown: unknown) => {
      const fault = RedisFault.from(thrown);
      // A refusal is met by the loop too, which knows what to do about a group that is gone or a key that holds something else.
      if (fault.kind === "lost") this.#fail(link, fault);
      else next();
    });
  }

  /** Keeps what waits for the store young, looks at the stream, trims it. */
  async #lookAfter(link: RedisLink): Promise<void> {
    const { clock, config } = this.#deps;
    const nowMs = clock.monotonicMs();
    await link.refresh(this.#flights.touch(nowMs - config.claimIdleMs / 3, nowMs, limits.redisInFlightMaxEntries));
    const sample = await sampleStream(link, this.#place, clock);
    if (sample.droppedUnread > this.#trimmedUnread) {
      const entries = sample.droppedUnread - this.#trimmedUnread;
      this.#trimmedUnread = sample.droppedUnread;
      this.#deps.log.error({ ...this.#names, entries }, "entries were trimmed before they were read");
    }
    this.#sample = sample;
    if (sample.length >= config.maxLen * limits.redisTrimShare && sample.neededFrom !== undefined)
      await trimAcknowledged(link, this.#place, sample.neededFrom);
  }

  /** A link has failed; one that is no longer in use fails unheard. */
  #fail(link: RedisLink | undefined, fault: RedisFault): void {
    link?.close();
    if (link !== undefined && this.#link === link) this.#failed(fault);
  }

  #failed(fault: RedisFault): void {
    const wasUp = this.#state.kind !== "connecting";
    if (wasUp || this.#detail !== fault.message) {
      this.#deps.log.error({ ...this.#names, err: fault }, "Redis cannot be used: reports wait there until it can");
    }
    this.#detail = fault.message;
    this.#link = undefined;
    this.#cancelTick();
    this.#outlet.use(undefined);
    this.dispatch({ kind: "failed" });
  }

  #timeRetry(): void {
    const failures = this.#state.kind === "waiting" ? this.#state.failures : 1;
    this.#deps.clock.after(backoffMs(limits.redisBackoff, failures - 1, this.#deps.rng), () => this.dispatch({ kind: "retry_due" }));
  }

  #checkDone(): void {
    if (this.#state.kind === "draining" && this.#takesUnderWay === 0 && this.#flights.count === 0) this.dispatch({ kind: "done" });
  }

  #close(): void {
    this.#link?.close();
    this.#link = undefined;
    this.#cancelTick();
    this.#outlet.use(undefined);
    for (const stopped of this.#onStopped.splice(0)) stopped();
  }

  get #names(): { readonly stream: string; readonly consumer: string } {
    return { stream: this.#place.stream, consumer: this.#place.consumer };
  }
}

function instantOf(ms: number): Instant {
  return { seconds: BigInt(Math.floor(ms / 1000)), nanos: (ms % 1000) * 1_000_000 };
}
