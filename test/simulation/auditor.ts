import type { EventAck } from "../../gen/mcp/coordinator/v1/events_pb.js";
import { EventStatus } from "../../gen/mcp/coordinator/v1/events_pb.js";
import type { EventAckBatch, HeartbeatAck, Welcome } from "../../gen/mcp/coordinator/v1/session_pb.js";
import type { SessionEvent } from "../../src/hub/session.js";
import { mergeEvents } from "../../src/interaction/merge.js";
import type { ServerFrame } from "../../src/wire/server-frame.js";
import { mergedOf } from "./fold.js";
import type { ModelStore, Row } from "./model-store.js";
import { type Flaw, type Item, tagOf, type Workload } from "./workload.js";

/** What the auditor knows of one stream: what reached the coordinator on it, and what the coordinator answered. */
export class Ledger {
  readonly name: string;
  readonly producerId: string;
  /** Of the Welcome; 0 before and without a producer. */
  epoch = 0;
  readonly #deliveredByItem = new Map<number, { tags: Set<string>; events: number; verdicts: number }>();
  /** Sequences that came in rising order, with the content that came first. */
  readonly ordered: { readonly sequence: bigint; readonly item: Item; readonly tag: string; isAcked: boolean }[] = [];
  readonly #orderedBySequence = new Map<bigint, number>();
  #firstUnacked = 0;
  receivedThrough = 0n;
  resolvedThrough = 0n;
  unanswered = 0;

  constructor(name: string, producerId: string) {
    this.name = name;
    this.producerId = producerId;
  }

  /** An event reached the coordinator. */
  delivered(item: Item, tag: string): void {
    const seen = this.#deliveredByItem.get(item.number) ?? { tags: new Set(), events: 0, verdicts: 0 };
    seen.tags.add(tag);
    seen.events += 1;
    this.#deliveredByItem.set(item.number, seen);
    this.unanswered += 1;
    if (item.sequence <= this.receivedThrough) return;
    this.receivedThrough = item.sequence;
    this.#orderedBySequence.set(item.sequence, this.ordered.length);
    this.ordered.push({ sequence: item.sequence, item, tag, isAcked: false });
  }

  /** The contents of an item that came on this stream; undefined for one that never did, or that has had all its verdicts. */
  answer(item: Item): ReadonlySet<string> | undefined {
    const seen = this.#deliveredByItem.get(item.number);
    if (seen === undefined || seen.verdicts === seen.events) return undefined;
    seen.verdicts += 1;
    this.unanswered -= 1;
    return seen.tags;
  }

  /** The ordered event of a sequence. */
  at(sequence: bigint): { readonly item: Item; readonly tag: string } | undefined {
    return this.ordered[this.#orderedBySequence.get(sequence) ?? -1];
  }

  acked(sequence: bigint): void {
    const place = this.ordered[this.#orderedBySequence.get(sequence) ?? -1];
    if (place !== undefined) place.isAcked = true;
    while (this.ordered[this.#firstUnacked]?.isAcked === true) this.#firstUnacked += 1;
  }

  /** The oldest ordered sequence without a verdict. */
  get oldestUnacked(): bigint | undefined {
    return this.ordered[this.#firstUnacked]?.sequence;
  }
}

/** The statuses that an event with a flaw may get, besides FENCED, which every event may. */
const expected: Readonly<Record<Flaw, readonly EventStatus[]>> = {
  none: [EventStatus.STORED, EventStatus.DUPLICATE, EventStatus.CONFLICT],
  invalid: [EventStatus.INVALID],
  skewed: [EventStatus.CLOCK_SKEW, EventStatus.STORED, EventStatus.DUPLICATE, EventStatus.CONFLICT],
  astray: [EventStatus.CLOCK_SKEW],
  old: [EventStatus.TOO_OLD],
  large: [EventStatus.TOO_LARGE],
  foreign: [EventStatus.PERMISSION_DENIED, EventStatus.STORED, EventStatus.DUPLICATE, EventStatus.CONFLICT],
  poison: [EventStatus.INVALID],
  bug: [EventStatus.INVALID],
};

/** Checks every frame and every row against what is true at that moment. The first breach is kept in `breach`. */
export class Auditor {
  breach: string | undefined;
  /** Whether the step under way was made by the passing of time. */
  #isDeadline = false;
  readonly verdicts = new Map<EventStatus, number>();
  readonly #workload: Workload;
  readonly #store: () => ModelStore;
  /** `tag@producer@epoch` of everything that reached a coordinator: what rows may be made of. */
  readonly #offered = new Set<string>();
  readonly #storedVerdicts = new Set<string>();
  readonly #epochs = new Set<string>();
  /** Greatest ordered sequence acked as stored or duplicate, by producer. */
  readonly #ackedThrough = new Map<string, bigint>();
  /** Every sequence that ever reached a coordinator, by producer. */
  readonly #received = new Map<string, { readonly item: Item; readonly tag: string }[]>();

  constructor(workload: Workload, store: () => ModelStore) {
    this.#workload = workload;
    this.#store = store;
  }

  report(text: string): void {
    this.breach ??= text;
  }

  /** An event reached a coordinator on a stream, or in a unary call when there is no ledger. */
  delivered(ledger: Ledger | undefined, item: Item, tag: string): void {
    ledger?.delivered(item, tag);
    const producerId = ledger === undefined || ledger.epoch === 0 ? "" : ledger.producerId;
    this.#offered.add(`${tag}@${producerId}@${ledger?.epoch ?? 0}`);
    if (producerId === "" || item.sequence === 0n) return;
    const received = this.#received.get(producerId) ?? [];
    received.push({ item, tag });
    this.#received.set(producerId, received);
  }

  /** A producer has lost its outbox: what it had sent and not heard of may be missing from now on, and its sequences begin anew. */
  forgot(producerId: string): void {
    this.#received.delete(producerId);
  }

  /** A row was committed. */
  inserted(row: Row): void {
    const { event, tag } = row;
    if (!this.#offered.has(`${tag}@${event.producerId}@${event.epoch}`)) {
      this.report(`row ${tag} of producer "${event.producerId}" epoch ${event.epoch} was stored, but no such session was sent it`);
    }
    const item = this.#workload.find(event.eventId, event.interactionId);
    if (item === undefined || !tag.startsWith(`t${item.number}.`)) this.report(`row ${tag} was stored under an id that is not its own`);
    else if (item.sequence !== event.sequence || item.interactionId !== event.interactionId)
      this.report(`row ${tag} differs from what was sent`);
  }

  /** A coordinator handed a frame to its transport: by now everything it says must be true. */
  wrote(ledger: Ledger, frame: ServerFrame["frame"]): void {
    if (frame.case === "welcome") this.#welcomed(ledger, frame.value);
    else if (frame.case === "eventAck") this.#acked(ledger, frame.value);
    else if (frame.case === "eventAckBatch") this.#ackedBatch(ledger, frame.value);
    else if (frame.case === "heartbeatAck") this.#heartbeat(ledger, frame.value);
  }

  /** A session takes a step; its effects follow. */
  stepped(event: SessionEvent): void {
    this.#isDeadline = event.kind === "tick";
  }

  /** A stream is ended with OK. Unless its deadline had come, everything must have its verdict. */
  ended(ledger: Ledger): void {
    if (ledger.unanswered > 0 && !this.#isDeadline)
      this.report(`${ledger.name} ended with OK and ${ledger.unanswered} events without a verdict`);
  }

  /** A verdict of a unary call. */
  answered(ack: EventAck, tag: string): void {
    this.#count(ack.status);
    const item = this.#workload.find(ack.eventId, ack.interactionId);
    if (item === undefined) this.report("a unary verdict names no event that was sent");
    else this.#judge("unary", item, new Set([tag]), ack.status, ack.eventId);
  }

  /** What holds over the whole store. */
  checkRows(): void {
    const store = this.#store();
    const byInteraction = new Map<string, Row[]>();
    const byTag = new Set<string>();
    for (const row of store.rows.values()) {
      if (byTag.has(row.tag)) this.report(`row ${row.tag} is stored twice`);
      byTag.add(row.tag);
      const key = `${row.event.mcpId}/${row.event.interactionId}`;
      const rows = byInteraction.get(key) ?? [];
      rows.push(row);
      byInteraction.set(key, rows);
    }
    for (const [key, rows] of byInteraction) {
      const folded = store.interactions.get(key);
      const pure = JSON.stringify(mergeEvents(rows.map((row) => row.event)));
      if (folded === undefined || JSON.stringify(mergedOf(folded)) !== pure)
        this.report(`interaction ${key} differs from its merged events`);
    }
  }

  #welcomed(ledger: Ledger, welcome: Welcome): void {
    ledger.epoch = Number(welcome.producerEpoch);
    if (ledger.producerId === "") return;
    const name = `${ledger.producerId}@${ledger.epoch}`;
    if (ledger.epoch === 0 || this.#epochs.has(name)) this.report(`${ledger.name} was given epoch ${ledger.epoch}, which is not new`);
    this.#epochs.add(name);
    const ackedThrough = this.#ackedThrough.get(ledger.producerId) ?? 0n;
    const resumeAfter = welcome.resumeAfterSequence;
    // The store's answers to two Hellos may come back in either order: the older one knows nothing of what came after it, and stores nothing either.
    const isNewest = ledger.epoch >= (this.#store().producers.get(ledger.producerId)?.epoch ?? 0);
    if (isNewest && resumeAfter < ackedThrough) this.report(`${ledger.name} resumes after ${resumeAfter}, but ${ackedThrough} was acked`);
    for (const { item, tag } of this.#received.get(ledger.producerId) ?? []) {
      if (item.sequence <= resumeAfter && !this.#isResolved(ledger, item)) {
        this.report(`${ledger.name} resumes after ${resumeAfter}, but ${tag} with sequence ${item.sequence} is not resolved`);
      }
    }
  }

  #acked(ledger: Ledger, ack: EventAck): void {
    this.#count(ack.status);
    const item = this.#workload.find(ack.eventId, ack.interactionId);
    const tags = item && ledger.answer(item);
    if (item === undefined || tags === undefined) {
      this.report(`${ledger.name} acks ${ack.eventId} of ${ack.interactionId}, which it was not sent or has acked`);
      return;
    }
    ledger.acked(ack.sequence);
    this.#judge(ledger.name, item, tags, ack.status, ack.eventId);
    if (isSuccess(ack.status)) this.#noteAcked(ledger, ack.sequence);
  }

  #ackedBatch(ledger: Ledger, batch: EventAckBatch): void {
    for (const range of batch.ranges) {
      if (!isSuccess(range.status)) this.report(`${ledger.name} has a range of status ${range.status}`);
      for (let sequence = range.first; sequence <= range.last; sequence += 1n) {
        const place = ledger.at(sequence);
        if (place === undefined) continue; // a gap in what was sent
        this.#count(range.status);
        const tags = ledger.answer(place.item);
        if (tags === undefined) this.report(`${ledger.name} acks sequence ${sequence} twice`);
        this.#judge(ledger.name, place.item, new Set([place.tag]), range.status, place.item.eventId);
        ledger.acked(sequence);
        this.#noteAcked(ledger, sequence);
      }
    }
    for (const exception of batch.exceptions) this.#acked(ledger, exception);
    this.#resolved(ledger, batch.resolvedThroughSequence);
    const { oldestUnacked } = ledger;
    if (oldestUnacked !== undefined && batch.resolvedThroughSequence >= oldestUnacked) {
      this.report(`${ledger.name} says resolved through ${batch.resolvedThroughSequence}, but ${oldestUnacked} has no verdict yet`);
    }
  }

  #heartbeat(ledger: Ledger, ack: HeartbeatAck): void {
    this.#resolved(ledger, ack.resolvedThroughSequence);
    const { oldestUnacked } = ledger;
    if (oldestUnacked !== undefined && ack.resolvedThroughSequence >= oldestUnacked) {
      this.report(`${ledger.name} heartbeat says resolved through ${ack.resolvedThroughSequence}, but ${oldestUnacked} has no verdict yet`);
    }
  }

  #resolved(ledger: Ledger, resolvedThrough: bigint): void {
    if (resolvedThrough < ledger.resolvedThrough) this.report(`${ledger.name} resolved ${ledger.resolvedThrough}, then ${resolvedThrough}`);
    if (resolvedThrough > ledger.receivedThrough) this.report(`${ledger.name} resolved ${resolvedThrough}, beyond all it was sent`);
    ledger.resolvedThrough = resolvedThrough;
  }

  #noteAcked(ledger: Ledger, sequence: bigint): void {
    if (ledger.epoch === 0) return;
    if (sequence > (this.#ackedThrough.get(ledger.producerId) ?? 0n)) this.#ackedThrough.set(ledger.producerId, sequence);
  }

  /** A verdict against the rows. `eventId` may be one that the coordinator derived. */
  #judge(name: string, item: Item, tags: ReadonlySet<string>, status: EventStatus, eventId: string): void {
    const isUnanswered = status === EventStatus.OVERLOADED || status === EventStatus.UNAVAILABLE;
    if (isUnanswered ? name !== "unary" : status !== EventStatus.FENCED && !expected[item.flaw].includes(status)) {
      this.report(`${name} gives ${EventStatus[status]} to ${tagOf(item, 0)}, which is ${item.flaw}`);
    }
    if (status === EventStatus.INVALID && (item.flaw === "poison" || item.flaw === "bug") && !this.#store().deadLetters.has(item.number)) {
      this.report(`${name} calls ${tagOf(item, 0)} INVALID, which the store refused and nobody kept`);
    }
    const row = this.#store().find(eventId, item.mcpId);
    if (isSuccess(status) && (row === undefined || !tags.has(row.tag))) {
      this.report(`${name} acks ${[...tags].join("/")} as ${EventStatus[status]}, but the store has ${row?.tag ?? "nothing"}`);
    }
    if (status === EventStatus.CONFLICT && (row === undefined || (tags.size === 1 && tags.has(row.tag)))) {
      this.report(`${name} calls ${[...tags].join("/")} a conflict, but the store has ${row?.tag ?? "nothing"}`);
    }
    if (status === EventStatus.STORED) {
      if (this.#storedVerdicts.has(eventId)) this.report(`${name} says STORED of ${tagOf(item, 0)}, which another verdict said before`);
      this.#storedVerdicts.add(eventId);
    }
  }

  /** Stored, set aside, refused, or overtaken by a newer session: nothing will happen to it any more. */
  #isResolved(ledger: Ledger, item: Item): boolean {
    const store = this.#store();
    if (store.find(item.eventId, item.mcpId) !== undefined || store.deadLetters.has(item.number)) return true;
    if (item.flaw !== "none" && item.flaw !== "poison" && item.flaw !== "bug") return true; // refused before it reached the store
    const epoch = store.producers.get(ledger.producerId)?.epoch ?? 0;
    return ledger.epoch < epoch && ledger.epoch !== 0;
  }

  #count(status: EventStatus): void {
    this.verdicts.set(status, (this.verdicts.get(status) ?? 0) + 1);
  }
}

function isSuccess(status: EventStatus): boolean {
  return status === EventStatus.STORED || status === EventStatus.DUPLICATE;
}
