import type { Principal } from "../auth/principal.js";
import type { Bearer } from "../ingest/accept.js";
import type { Place } from "../ingest/commit.js";
import { flowOf } from "../ingest/fair-queue.js";
import type { CommitTiming, Origin } from "../ingest/pending.js";
import type { Draft, NewEvent, Outcome } from "../interaction/event.js";
import type { VersionedMcpConfig } from "../interaction/mcp-config.js";
import { unreachable } from "../platform/assert.js";
import { CoordinatorError } from "../platform/errors.js";
import { limits } from "../platform/limits.js";
import type { PublishedRoutes } from "../smart-router/table.js";
import type { ProducerOpened } from "../store/store.js";
import {
  type ClientFrame,
  type DrainReasonName,
  drainNoticeFrame,
  flowControlFrame,
  type Greeting,
  type Window,
  welcomeFrame,
} from "../wire/frame.js";
import type { SessionSettings } from "../wire/session-terms.js";
import { AckOutlet } from "./ack-outlet.js";
import type { ConfigStanding } from "./config-outlet.js";
import { DeferredSequences } from "./deferred-sequences.js";
import { FrameOutlet } from "./frame-outlet.js";
import { anonymousBearer, askForProducer, checkGreeting, greetedBearer, promisesOf, welcomeOf } from "./handshake.js";
import type { MeasuredLoad } from "./load.js";
import { Presence } from "./presence.js";
import { type Effect, openSession, type Session, type SessionEvent, step } from "./session.js";
import { type ControlledSession, SessionControl } from "./session-control.js";
import type { SessionDeps, Transport } from "./surroundings.js";
import { takeEvents } from "./take-events.js";
import { windowOf } from "./traffic.js";
import type { RouteStanding } from "./weight-plane.js";
import type { Grant } from "./window.js";

/** One stream of one MCP: carries out what the session machine decides. Lives from the opening of the stream until `release`. */
export class StreamSession implements Origin, ControlledSession {
  readonly id: string;
  readonly transport: Transport;
  readonly #deps: SessionDeps;
  readonly #frames: FrameOutlet;
  readonly #control: SessionControl;
  readonly #openedAtMs: number;
  /** Share of the age that is allowed at which this session is drained: sessions that began together do not end together. */
  readonly #ageShare: number;
  #session: Session;
  #bearer: Bearer;
  readonly #deferred = new DeferredSequences();
  #greeting: Greeting | undefined;
  #acks = new AckOutlet("each");
  #place: Place;
  #opened: ProducerOpened | undefined;
  #provedAtMs = 0;
  #windowVersion = 1;
  readonly #presence: Presence | undefined;
  #stopWaitingForRoom: (() => void) | undefined;

  constructor(deps: SessionDeps, id: string, principal: Principal, transport: Transport) {
    this.id = id;
    this.transport = transport;
    this.#deps = deps;
    this.#presence = deps.watch && new Presence(deps.watch, id);
    this.#frames = new FrameOutlet(transport, () => this.#apply({ kind: "blocked" }));
    this.#control = new SessionControl(deps, this.#frames, this, principal);
    this.#bearer = anonymousBearer(principal);
    this.#place = deps.ingest.queue.placeOf(id, flowOf("session", id));
    this.#openedAtMs = deps.clock.monotonicMs();
    this.#ageShare = 1 - limits.sessionAgeSpread * deps.rng();
    this.#session = openSession(this.#openedAtMs, { grant: deps.grant(), ...this.#cadence() });
  }

  get principal(): Principal {
    return this.#control.principal;
  }

  /** Empty without one. */
  get producerId(): string {
    return this.#bearer.producerId;
  }

  /** The MCP that the session speaks for; empty while only its events say so. */
  get mcpId(): string {
    return this.#bearer.mcpId;
  }

  /** Fencing token of its producer; 0 without one, and until the store has given it. */
  get epoch(): number {
    return this.#opened?.epoch ?? 0;
  }

  /** When the store last stored an event of this session, which proves its epoch, or gave it the epoch. Monotonic. */
  get provedAtMs(): number {
    return this.#provedAtMs;
  }

  /** Its latest load report. */
  get load(): MeasuredLoad | undefined {
    return this.#control.load;
  }

  /** Where it stands with the settings; undefined when it takes no updates. */
  get configStanding(): ConfigStanding | undefined {
    return this.#control.configStanding;
  }

  /** Where it stands with the routing tables; undefined when it takes none. */
  get routeStanding(): RouteStanding | undefined {
    return this.#control.routeStanding;
  }

  get hasUnacked(): boolean {
    const session = this.#session;
    return (session.kind === "live" || session.kind === "draining") && session.traffic.unackedEvents > 0;
  }

  get phase(): Session["kind"] {
    return this.#session.kind;
  }

  get isClosed(): boolean {
    return this.#session.kind === "closed";
  }

  /** Highest sequence such that the verdicts of everything received up to it were written. */
  get announcedThrough(): bigint {
    return this.#acks.announcedThrough;
  }

  /** The window in force. */
  get window(): Window {
    const session = this.#session;
    const grant = session.kind === "live" || session.kind === "draining" ? windowOf(session.traffic) : this.#deps.grant();
    return { version: this.#windowVersion, ...grant };
  }

  /** A frame was read. After its input is over, whatever the transport still delivers is dropped. */
  received(frame: ClientFrame): void {
    if (this.isClosed || this.#session.kind === "flushing") return;
    if (frame.kind === "hello") this.#greet(frame.greeting);
    else if (frame.kind === "events") this.#take(frame.drafts);
    else {
      this.#apply({ kind: "other" });
      this.#control.received(frame);
    }
  }

  /** A frame that cannot be read, or a failure of ours, ends the stream. */
  failed(error: CoordinatorError): void {
    this.#apply({ kind: "fault", error });
  }

  halfClosed(): void {
    this.#apply({ kind: "half_close" });
  }

  /** The transport takes frames again. */
  unblocked(): void {
    this.#frames.unblocked();
    this.#apply({ kind: "unblocked" });
    if (this.isClosed) return;
    this.#frames.writePostponed();
    this.#writeAcks();
    if (this.#hasRoom) this.#apply({ kind: "room" });
    this.#control.push();
  }

  /** The peer is gone: cancelled, reset, or done. Idempotent. */
  gone(): void {
    this.#apply({ kind: "gone" });
  }

  /** A newer session has the producer: what is queued gets its verdict from the store, nothing more is taken, and the stream ends. */
  fence(): void {
    this.drain("fenced", this.#deps.clock.monotonicMs() + limits.slowConsumerMaxMs);
  }

  drain(reason: Exclude<DrainReasonName, "credential_expiry">, untilMs: number): void {
    this.#apply({ kind: "drain", reason, untilMs });
  }

  tick(isStall: boolean): void {
    this.#apply({ kind: "tick", isStall, credentialLeftMs: this.#control.credentialLeftMs });
    const session = this.#session;
    const isPaused = (session.kind === "live" || session.kind === "draining") && session.traffic.isPaused;
    this.#presence?.keepsUp(this.#control.strain(isStall || isPaused));
    this.#control.push();
  }

  grantChanged(grant: Grant): void {
    this.#apply({ kind: "window", grant, hasRoom: this.#hasRoom });
  }

  routesPublished(routes: PublishedRoutes): void {
    this.#control.routesPublished(routes);
  }

  settingsChanged(settings: SessionSettings): void {
    this.#control.settingsChanged(settings);
  }

  mcpConfigChanged(config: VersionedMcpConfig): void {
    this.#control.mcpConfigChanged(config);
    this.#control.push();
  }

  cadenceChanged(): void {
    this.#apply({ kind: "cadence", ...this.#cadence() });
  }

  credentialChanged(before: Principal): void {
    this.#bearer = { ...this.#bearer, principal: this.principal };
    this.#apply({ kind: "refreshed" });
    this.#deps.credentialChanged(this, before);
  }

  loadReported(load: MeasuredLoad): void {
    this.#presence?.reported(load);
  }

  /** A person may want to know: a deadline on a long stream ends it. */
  warnOfDeadline(): void {
    this.#control.notice("DEADLINE_ON_STREAM", "this stream has a deadline and will end at it; long-lived streams should set none");
  }

  settled(event: NewEvent, outcome: Outcome): void {
    this.#acks.settled(event, outcome);
    if (outcome.kind === "stored") this.#provedAtMs = this.#deps.clock.monotonicMs();
    if (outcome.kind === "fenced") this.fence();
  }

  flushed(timing: CommitTiming): void {
    const flushed = this.#acks.flushed(timing);
    this.#writeAcks();
    this.#apply({ kind: "settled", ...flushed, hasRoom: this.#hasRoom });
  }

  #greet(greeting: Greeting): void {
    if (this.#session.kind === "greeting") {
      const refusal = checkGreeting(greeting, this.principal) ?? this.#deps.registry?.judgeVersion(greeting.instanceVersion);
      if (refusal !== undefined) {
        this.failed(refusal);
        return;
      }
      this.#greeting = greeting;
    }
    this.#apply({ kind: "hello", promises: promisesOf(greeting.capabilities) });
  }

  #take(drafts: readonly Draft[]): void {
    if (drafts.length > limits.batchMaxEvents) {
      const message = `${drafts.length} events in one frame; at most ${limits.batchMaxEvents} are allowed`;
      this.failed(new CoordinatorError("busy", message, { reason: "TOO_MANY_EVENTS" }));
      return;
    }
    const { ingest, clock } = this.#deps;
    const by = { bearer: this.#bearer, origin: this, place: this.#place, deferred: this.#deferred };
    const { count, bytes, hasRefused } = takeEvents(ingest, by, this.#acks, drafts, clock.monotonicMs());
    this.#apply({ kind: "events", count, bytes, hasRoom: this.#hasRoom });
    if (hasRefused) this.#writeAcks();
  }

  /** Room for more: in the queue, where a session that has nothing in it is never in the way, and for verdicts of a peer that does not read those it has. */
  get #hasRoom(): boolean {
    return (this.#deps.ingest.queue.hasRoom || this.#acks.unsettledCount === 0) && this.#acks.unwrittenCount <= limits.windowMaxEvents;
  }

  #apply(event: SessionEvent): void {
    const nowMs = this.#deps.clock.monotonicMs();
    const taken = step(this.#session, event, nowMs);
    this.#deps.stepped?.(this.#session, event, taken);
    const before = this.#session;
    this.#session = taken.next;
    this.#presence?.moved(before, taken, this.mcpId, nowMs);
    for (const effect of taken.effects) this.#perform(effect);
    if ("hasRoom" in event && !event.hasRoom && this.#isPaused) this.#waitForRoom();
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
        this.transport.pause();
        this.#waitForRoom();
        break;
      case "resume":
        this.#forgetRoom();
        this.transport.resume();
        break;
      case "flow_control":
        this.#windowVersion += 1;
        this.#frames.writeNewest("window", () => flowControlFrame(this.window));
        break;
      case "retire_connection":
        this.transport.retireConnection();
        break;
      case "drain_notice":
        this.#sendDrainNotice(effect.reason, effect.untilMs);
        break;
      case "finish":
        this.#finish();
        break;
      case "fail":
        this.transport.fail(effect.error);
        break;
      case "reset":
        this.transport.reset();
        break;
      case "release":
        this.#forgetRoom();
        this.#deps.released(this);
        break;
      default:
        unreachable(effect);
    }
  }

  get #isPaused(): boolean {
    const session = this.#session;
    return (session.kind === "live" || session.kind === "draining") && session.traffic.isPaused;
  }

  /** Once: whoever is called and goes on to be paused, because too much is under way, waits again when that is over and the queue is full. */
  #waitForRoom(): void {
    this.#stopWaitingForRoom ??= this.#deps.ingest.queue.whenRoom(() => {
      this.#stopWaitingForRoom = undefined;
      if (this.#hasRoom) this.#apply({ kind: "room" });
    });
  }

  #forgetRoom(): void {
    this.#stopWaitingForRoom?.();
    this.#stopWaitingForRoom = undefined;
  }

  /** Asks the store for the producer's epoch and resume point. Never rejects: failure ends the stream. */
  async #openProducer(): Promise<void> {
    const greeting = this.#greeting;
    if (greeting === undefined) return;
    if (greeting.resumeSessionId !== "") this.#deps.resumes(this, greeting);
    const opening = await askForProducer(this.#deps.openProducer, greeting, this.principal, this);
    if (opening.kind === "refused") this.failed(opening.error);
    if (opening.kind === "refused" || this.isClosed) return;
    this.#opened = opening.opened;
    this.#provedAtMs = this.#deps.clock.monotonicMs();
    this.#bearer = greetedBearer(this.principal, greeting, this.epoch);
    this.#acks = new AckOutlet(greeting.ackMode);
    if (this.producerId !== "") this.#place = this.#deps.ingest.queue.placeOf(this.producerId, flowOf("producer", this.producerId));
    this.#apply({ kind: "opened" });
    if (this.producerId !== "") this.#deps.greeted(this);
  }

  #welcome(): void {
    const greeting = this.#greeting;
    if (greeting === undefined) return;
    const routing = this.#control.begin(greeting.capabilities);
    this.cadenceChanged();
    const { clock, coordinatorId, log } = this.#deps;
    const welcome = welcomeOf(greeting, this.principal, this.#opened, this.#control.settings);
    const before = this.#opened?.supersededSessionId;
    const { id: sessionId, mcpId, producerId, epoch, window } = this;
    const resumes = greeting.resumeSessionId;
    log.info({ session: sessionId, mcpId, producerId, epoch, resume: welcome.resumeStatus, before, resumes }, "session opened");
    this.#frames.write(welcomeFrame({ ...welcome, sessionId, coordinatorId, window, routing, serverTimeMs: clock.nowMs() }));
    if (mcpId !== "") this.#deps.registry?.greeted(mcpId, greeting.instanceVersion);
    this.#control.push();
  }

  /** Acks first: pushes never hold them back. */
  #writeAcks(): void {
    while (this.#frames.isWritable && !this.isClosed) {
      const frame = this.#acks.take();
      if (frame === undefined) return;
      this.#frames.write(frame);
    }
  }

  /** Everything that is acknowledged goes out whatever the transport says: it is bounded by the window, and nothing follows. */
  #finish(): void {
    for (let frame = this.#acks.take(); frame !== undefined; frame = this.#acks.take()) this.transport.write(frame);
    this.transport.end();
  }

  #sendDrainNotice(reason: DrainReasonName, untilMs: number): void {
    const deadlineMs = untilMs - this.#deps.clock.monotonicMs();
    const delayMs = Math.round(this.#deps.reconnectSpreadMs() * this.#deps.rng());
    this.#frames.write(drainNoticeFrame(reason, deadlineMs, delayMs, reason === "shutdown" || reason === "session_age"));
  }

  #cadence(): { readonly silenceMaxMs: number; readonly drainAtMs: number } {
    const { maxSessionAgeMs } = this.#deps.settings();
    return { silenceMaxMs: this.#control.silenceMaxMs, drainAtMs: this.#openedAtMs + maxSessionAgeMs * this.#ageShare };
  }
}
