import { create } from "@bufbuild/protobuf";
import { type EventAck, EventStatus } from "../../gen/mcp/coordinator/v1/events_pb.js";
import { AckMode, type Capability, HelloSchema, type Welcome } from "../../gen/mcp/coordinator/v1/session_pb.js";
import type { Principal } from "../../src/auth/principal.js";
import type { ServerFrame } from "../../src/wire/server-frame.js";
import type { Link, Parcel } from "./link.js";
import { type Item, tagOf } from "./workload.js";

/** An event that a peer holds until it is resolved. */
type Held = {
  readonly item: Item;
  isFlying: boolean;
  /** Refused for now: a resume point above it proves nothing about it. */
  wasRefused: boolean;
  wasSent: boolean;
};

export type PeerTraits = {
  readonly name: string;
  readonly mcpId: string;
  /** Empty: no producer, no sequences; a person, or a script. */
  readonly producerId: string;
  readonly principal: Principal;
  readonly isCoalesced: boolean;
  readonly capabilities: readonly Capability[];
  /** Sends Hello first. Always so with a producer. */
  readonly greets: boolean;
};

/** A client as the protocol describes it: keeps what is not resolved, finds its place again by the Welcome, sends the rest again. */
export class Peer {
  readonly traits: PeerTraits;
  readonly held = new Map<number, Held>();
  readonly #byName = new Map<string, Held>();
  /** Events that a Welcome's resume point or a success verdict took off its hands. */
  readonly resolved: Item[] = [];
  link: Link | undefined;
  isWelcome = false;
  isDrained = false;
  /** Undefined after its memory was lost, until a Welcome tells it. */
  nextSequence: bigint | undefined = 1n;
  #nonces: string[] = [];

  constructor(traits: PeerTraits) {
    this.traits = traits;
  }

  hold(item: Item): Held {
    const held = { item, isFlying: false, wasRefused: false, wasSent: false };
    this.held.set(item.number, held);
    this.#byName.set(nameOf(item), held);
    return held;
  }

  /** The sequence of its next event, 0 without a producer; undefined while it does not know its place. */
  takeSequence(): bigint | undefined {
    if (this.traits.producerId === "") return 0n;
    const sequence = this.nextSequence;
    if (sequence !== undefined) this.nextSequence = sequence + 1n;
    return sequence;
  }

  /** Loses its outbox, as a process does that kept it in memory. */
  forget(): void {
    this.held.clear();
    this.#byName.clear();
    this.nextSequence = undefined;
    this.disconnect();
  }

  /** Begins a stream: Hello, if it says one, and everything unresolved is to be sent again. */
  connect(link: Link): void {
    this.link = link;
    this.isDrained = false;
    this.isWelcome = !this.traits.greets;
    for (const held of this.held.values()) held.isFlying = false;
    if (this.traits.greets) link.toServer.push({ kind: "frame", frame: { case: "hello", value: this.hello() } });
  }

  hello() {
    const { mcpId, producerId, isCoalesced, capabilities } = this.traits;
    let firstHeld = 0n;
    for (const { item } of this.held.values()) if (firstHeld === 0n || item.sequence < firstHeld) firstHeld = item.sequence;
    const ackMode = isCoalesced ? AckMode.COALESCED : AckMode.EACH;
    return create(HelloSchema, { mcpId, producerId, ackMode, capabilities: [...capabilities], firstUnackedSequence: firstHeld });
  }

  disconnect(): void {
    this.link = undefined;
    this.isWelcome = false;
  }

  /** Events to send, in order of sequence. */
  waiting(): readonly Held[] {
    return this.isWelcome ? [...this.held.values()].filter((held) => !held.isFlying) : [];
  }

  /** The parcel of one held event; it flies from now on. */
  pack(held: Held, variant = 0): Parcel {
    held.isFlying = true;
    held.wasSent = true;
    return { item: held.item, variant, tag: tagOf(held.item, variant) };
  }

  /** Reads a frame. Gives what it wants to answer. */
  receive({ frame }: ServerFrame): "half_close" | undefined {
    switch (frame.case) {
      case "welcome":
        this.#welcomed(frame.value);
        return undefined;
      case "eventAck":
        this.#acked(frame.value);
        return undefined;
      case "eventAckBatch":
        for (const range of frame.value.ranges) this.#ackedRange(range.first, range.last);
        for (const ack of frame.value.exceptions) this.#acked(ack);
        return undefined;
      case "routingUpdate":
        this.#nonces.push(frame.value.nonce);
        return undefined;
      case "drainNotice":
        this.isDrained = true;
        return "half_close";
      default:
        return undefined;
    }
  }

  /** The nonce of an update that is not acked yet. */
  takeNonce(): string | undefined {
    return this.#nonces.shift();
  }

  #welcomed(welcome: Welcome): void {
    this.isWelcome = true;
    if (welcome.routing !== undefined) this.#nonces.push(welcome.routing.nonce);
    if (this.traits.producerId === "") return;
    const resumeAfter = welcome.resumeAfterSequence;
    for (const held of [...this.held.values()]) {
      if (held.wasSent && !held.wasRefused && held.item.sequence <= resumeAfter) this.#resolve(held);
    }
    this.nextSequence ??= resumeAfter + 1n;
  }

  #acked(ack: EventAck): void {
    const held = this.#byName.get(ack.eventId) ?? this.#byName.get(ack.interactionId);
    if (held === undefined) return;
    if (ack.status === EventStatus.STORED || ack.status === EventStatus.DUPLICATE) this.#resolve(held);
    else if (ack.status === EventStatus.FENCED) return;
    else if (ack.retryable) {
      held.isFlying = false;
      held.wasRefused = true;
    } else this.#drop(held);
  }

  #ackedRange(first: bigint, last: bigint): void {
    for (const held of this.held.values()) {
      if (held.isFlying && held.item.sequence >= first && held.item.sequence <= last) this.#resolve(held);
    }
  }

  #drop(held: Held): void {
    this.held.delete(held.item.number);
    this.#byName.delete(nameOf(held.item));
  }

  #resolve(held: Held): void {
    this.#drop(held);
    this.resolved.push(held.item);
  }
}

/** What an ack names an event by: its id, or its interaction when the coordinator derives the id. */
const nameOf = (item: Item): string => (item.eventId === "" ? item.interactionId : item.eventId);
