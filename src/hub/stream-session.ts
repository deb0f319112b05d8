import type { Principal } from "../auth/principal.js";
import type { Bearer } from "../ingest/accept.js";
import type { CommitTiming, Origin } from "../ingest/pending.js";
import type { Draft, NewEvent, Outcome } from "../interaction/event.js";
import { unreachable } from "../platform/assert.js";
import { CoordinatorError } from "../platform/errors.js";
import { limits } from "../platform/limits.js";
import type { PublishedRoutes, RoutingAck } from "../smart-router/table.js";
import type { ProducerOpened } from "../store/store.js";
import {
  ackBatchFrame,
  type ClientFrame,
  drainNoticeFrame,
  eventAckFrame,
  flowControlFrame,
  type Greeting,
  heartbeatAckFrame,
  noticeFrame,
  routingUpdateFrame,
  type ServerFrame,
  type Window,
  welcomeFrame,
} from "../wire/frame.js";
import { routingUpdateFromTable } from "../wire/routes.js";
import { AckLedger } from "./ack-ledger.js";
import { anonymousBearer, checkGreeting, foreignProducer, greetedBearer, openingError, promisesOf, welcomeOf } from "./handshake.js";
import { RouteOutlet } from "./route-outlet.js";
import { type DrainReason, type Effect, openSession, type Session, type SessionEvent, step } from "./session.js";
import type { SessionDeps, Transport } from "./surroundings.js";

/** One stream of one MCP: carries out what the session machine decides. Lives from the opening of the stream until `release`. */
export class StreamSession implements Origin {
  readonly id: string;
  readonly #deps: SessionDeps;
  readonly #transport: Transport;
  readonly #principal: Principal;
  readonly #outlet = new RouteOutlet<PublishedRoutes>();
  #session: Session;
  #bearer: Bearer;
  #greeting: Greeting | undefined;
  #ledger = new AckLedger("each");
  #mode: "each" | "coalesced" = "each";
  #lane: number;
  #opened: ProducerOpened | undefined;
  #isWritable = true;
  #windowVersion = 1;
  #settledCount = 0;
  #settledBytes = 0;
  #timing: CommitTiming | undefined;
  #stopWaitingForRoom: (() => void) | undefined;

  constructor(deps: SessionDeps, id: string, principal: Principal, transport: Transport) {
    this.id = id;
    this.#deps = deps;
    this.#transport = transport;
    this.#principal = principal;
    this.#bearer = anonymousBearer(principal);
    this.#lane = deps.ingest.queue.laneOf(id);
    this.#session = openSession(deps.clock.monotonicMs());
  }

  /** Empty without one. */
  get producerId(): string {
    return this.#bearer.producerId;
  }

  /** The MCP that the session speaks for; empty while only its events say so. */
  get mcpId(): string {
    return this.#bearer.mcpId;
  }

  get isClosed(): boolean {
    return this.#session.kind === "closed";
  }

  /** A frame was read. */
  received(frame: ClientFrame): void {
    if (this.isClosed) return;
    switch (frame.kind) {
      case "hello":
        this.#greet(frame.greeting);
        break;
      case "events":
        this.#take(frame.drafts);
        break;
      case "heartbeat":
        this.#apply({ kind: "other" });
        this.#answerHeartbeat(frame.id);
        break;
      case "routing_ack":
        this.#apply({ kind: "other" });
        this.#routingAcked(frame.ack);
        break;
      case "unknown":
        this.#apply({ kind: "other" });
        this.#notice("UNKNOWN_FRAME", "a frame with no member this coordinator knows was ignored");
        break;
      default:
        unreachable(frame);
    }
  }

  /** Something that ends the stream: a frame that cannot be read, a failure of ours. */
  failed(error: CoordinatorError): void {
    this.#apply({ kind: "fault", error });
  }

  halfClosed(): void {
    this.#apply({ kind: "half_close" });
  }

  /** The transport takes frames again. */
  unblocked(): void {
    this.#isWritable = true;
    this.#apply({ kind: "unblocked" });
    this.#writeAcks();
    if (this.#hasRoom) this.#apply({ kind: "room" });
    this.#pushRoutes();
  }

  /** The peer is gone: cancelled, reset, or done. Idempotent. */
  gone(): void {
    this.#apply({ kind: "gone" });
  }

  drain(reason: DrainReason, untilMs: number): void {
    this.#apply({ kind: "drain", reason, untilMs });
  }

  tick(isStall: boolean): void {
    this.#apply({ kind: "tick", isStall });
    this.#pushRoutes();
  }

  storageChanged(isAvailable: boolean): void {
    this.#apply({ kind: "storage", isAvailable });
  }

  routesPublished(routes: PublishedRoutes): void {
    if (!this.#wantsRoutes()) return;
    this.#outlet.offer(routes);
    this.#pushRoutes();
  }

  /** A person may want to know: a deadline on a long stream ends it. */
  warnOfDeadline(): void {
    this.#notice("DEADLINE_ON_STREAM", "this stream has a deadline and will end at it; long-lived streams should set none");
  }

  settled(event: NewEvent, outcome: Outcome): void {
    this.#ledger.settled(event, outcome);
    this.#settledCount += 1;
    this.#settledBytes += event.encodedBytes;
    if (outcome.kind === "fenced") this.drain("fenced", this.#deps.clock.monotonicMs() + limits.slowConsumerMaxMs);
  }

  flushed(timing: CommitTiming): void {
    const count = this.#settledCount;
    const bytes = this.#settledBytes;
    this.#settledCount = 0;
    this.#settledBytes = 0;
    this.#timing = timing;
    this.#writeAcks();
    this.#apply({ kind: "settled", count, bytes, hasRoom: this.#hasRoom });
  }

  #greet(greeting: Greeting): void {
    if (this.#session.kind === "greeting") {
      const refusal = checkGreeting(greeting, this.#principal);
      if (refusal !== undefined) {
        this.failed(refusal);
        return;
      }
      this.#greeting = greeting;
    }
    this.#apply({ kind: "hello", promises: promisesOf(greeting.capabilities) });
  }

  /** Judges events one by one: refused ones are answered at once, the others go to the queue. */
  #take(drafts: readonly Draft[]): void {
    if (drafts.length > limits.batchMaxEvents) {
      const message = `${drafts.length} events in one frame; at most ${limits.batchMaxEvents} are allowed`;
      this.failed(new CoordinatorError("busy", message, { reason: "TOO_MANY_EVENTS" }));
      return;
    }
    const { ingest, clock } = this.#deps;
    const receivedAtMs = clock.monotonicMs();
    let count = 0;
    let bytes = 0;
    let refused = false;
    for (const draft of drafts) {
      const judged = ingest.accept(this.#bearer, draft);
      if (judged.kind === "refused") {
        this.#ledger.refused(judged.verdict);
        refused = true;
      } else {
        this.#ledger.accepted(judged.event.sequence);
        ingest.queue.offer(this.#lane, { event: judged.event, origin: this, receivedAtMs });
        count += 1;
        bytes += judged.event.encodedBytes;
      }
    }
    this.#apply({ kind: "events", count, bytes, hasRoom: this.#hasRoom });
    if (refused) this.#writeAcks();
  }

  /** Room for more: in the queue, and for verdicts of a peer that does not read those it has. */
  get #hasRoom(): boolean {
    return this.#deps.ingest.queue.hasRoom && this.#ledger.unwrittenCount <= limits.windowMaxEvents;
  }

  #apply(event: SessionEvent): void {
    const taken = step(this.#session, event, this.#deps.clock.monotonicMs());
    this.#deps.stepped?.(this.#session, event, taken);
    this.#session = taken.next;
    for (const effect of taken.effects) this.#perform(effect);
  }

  #perform(effect: Effect): void {
    switch (effect.kind) {
      case "open_producer":
        void this.#openProducer();
        break;
      case "welcome":
        this.#welcome();
        break;
      case "pause":
        this.#transport.pause();
        this.#stopWaitingForRoom ??= this.#deps.ingest.queue.whenRoom(() => {
          this.#stopWaitingForRoom = undefined;
          if (this.#hasRoom) this.#apply({ kind: "room" });
        });
        break;
      case "resume":
        this.#forgetRoom();
        this.#transport.resume();
        break;
      case "flow_control":
        this.#windowVersion += 1;
        this.#write(flowControlFrame(this.#window()));
        break;
      case "drain_notice":
        this.#sendDrainNotice(effect.reason, effect.untilMs);
        break;
      case "finish":
        this.#finish();
        break;
      case "fail":
        this.#transport.fail(effect.error);
        break;
      case "reset":
        this.#transport.reset();
        break;
      case "release":
        this.#forgetRoom();
        this.#deps.released(this);
        break;
      default:
        unreachable(effect);
    }
  }

  /** Asks the store for the producer's epoch and resume point. Never rejects: failure ends the stream. */
  async #openProducer(): Promise<void> {
    const greeting = this.#greeting;
    if (greeting === undefined) return;
    try {
      const { mcpId } = greetedBearer(this.#principal, greeting, 0);
      if (greeting.producerId !== "") {
        this.#opened = await this.#deps.openProducer(greeting.producerId, mcpId, this.id);
        if (this.#opened === undefined) throw foreignProducer(greeting.producerId);
      }
    } catch (thrown) {
      // The loop's edge: the peer reconnects, and finds its place again.
      this.failed(openingError(thrown));
      return;
    }
    if (this.isClosed) return;
    this.#bearer = greetedBearer(this.#principal, greeting, this.#opened?.epoch ?? 0);
    this.#mode = greeting.ackMode;
    this.#ledger = new AckLedger(greeting.ackMode);
    if (greeting.producerId !== "") this.#lane = this.#deps.ingest.queue.laneOf(greeting.producerId);
    this.#apply({ kind: "opened" });
    if (greeting.producerId !== "") this.#deps.greeted(this);
  }

  #welcome(): void {
    const greeting = this.#greeting;
    if (greeting === undefined) return;
    const routes = greeting.capabilities.has("routing") ? this.#deps.currentRoutes() : undefined;
    if (routes !== undefined) this.#outlet.offer(routes);
    const sent = this.#outlet.take(this.#deps.clock.monotonicMs());
    const welcome = welcomeOf(greeting, this.#principal, this.#opened);
    this.#write(
      welcomeFrame({
        ...welcome,
        sessionId: this.id,
        coordinatorId: this.#deps.coordinatorId,
        settings: this.#deps.settings,
        window: this.#window(),
        routing: sent && routingUpdateFromTable(sent.table, sent.nonce),
        serverTimeMs: this.#deps.clock.nowMs(),
      }),
    );
    if (!this.#deps.ingest.queue.isAvailable) this.#apply({ kind: "storage", isAvailable: false });
  }

  /** Acks first: weights never hold them back. */
  #writeAcks(): void {
    if (this.isClosed) return;
    while (this.#isWritable) {
      if (this.#mode === "coalesced") {
        const frame = this.#ledger.takeFrame();
        if (frame === undefined) return;
        this.#write(ackBatchFrame({ ...frame, timing: this.#timing }));
      } else {
        const verdict = this.#ledger.takeEach(1)[0];
        if (verdict === undefined) return;
        this.#write(eventAckFrame(verdict));
      }
    }
  }

  /** Everything that is acknowledged goes out whatever the transport says: it is bounded by the window, and nothing follows. */
  #finish(): void {
    if (this.#mode === "coalesced") {
      for (let frame = this.#ledger.takeFrame(); frame !== undefined; frame = this.#ledger.takeFrame()) {
        this.#transport.write(ackBatchFrame({ ...frame, timing: this.#timing }));
      }
    } else {
      for (const verdict of this.#ledger.takeEach(Number.POSITIVE_INFINITY)) this.#transport.write(eventAckFrame(verdict));
    }
    this.#transport.end();
  }

  #answerHeartbeat(id: bigint): void {
    if (this.isClosed) return;
    this.#write(
      heartbeatAckFrame({
        id,
        receivedAtMs: this.#deps.clock.nowMs(),
        resolvedThrough: this.#ledger.resolvedThrough,
        window: this.#window(),
        routingVersion: this.#deps.currentRoutes()?.version ?? 0,
        configVersion: this.#deps.settings.version,
      }),
    );
  }

  #routingAcked(ack: RoutingAck): void {
    const table = this.#outlet.acked(ack.nonce, ack.status);
    if (table === undefined) {
      this.#notice("ACK_IGNORED", "a routing ack with a nonce that is not outstanding was ignored");
      return;
    }
    this.#deps.recordRoutingAck({ producerId: this.producerId === "" ? this.id : this.producerId, mcpId: this.mcpId, ack });
    this.#pushRoutes();
  }

  #pushRoutes(): void {
    if (!this.#isWritable || !this.#wantsRoutes()) return;
    const sent = this.#outlet.take(this.#deps.clock.monotonicMs());
    if (sent !== undefined) this.#write(routingUpdateFrame(routingUpdateFromTable(sent.table, sent.nonce)));
  }

  #wantsRoutes(): boolean {
    return this.#session.kind === "live" && (this.#greeting?.capabilities.has("routing") ?? false);
  }

  #sendDrainNotice(reason: DrainReason, untilMs: number): void {
    const deadlineMs = untilMs - this.#deps.clock.monotonicMs();
    const delayMs = Math.round(limits.reconnectSpreadMs * this.#deps.rng());
    this.#write(drainNoticeFrame(reason, deadlineMs, delayMs));
  }

  #notice(code: Parameters<typeof noticeFrame>[0], message: string): void {
    if (!this.isClosed && this.#isWritable) this.#write(noticeFrame(code, message));
  }

  #write(frame: ServerFrame): void {
    if (this.#transport.write(frame)) return;
    this.#isWritable = false;
    this.#apply({ kind: "blocked" });
  }

  #window(): Window {
    const pressure =
      this.#session.kind === "live" || this.#session.kind === "draining" ? this.#session.traffic.pressure : ("none" as const);
    return { version: this.#windowVersion, maxEvents: limits.windowMaxEvents, maxBytes: limits.windowMaxBytes, pressure };
  }

  #forgetRoom(): void {
    this.#stopWaitingForRoom?.();
    this.#stopWaitingForRoom = undefined;
  }
}
