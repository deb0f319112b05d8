import type { StreamInteractionsResponse } from "../../gen/mcp/coordinator/v1/interaction_service_pb.js";
import { type DrainNotice, DrainReason, ResumeStatus, type Welcome } from "../../gen/mcp/coordinator/v1/session_pb.js";
import { unreachable } from "../platform/assert.js";
import { type Clock, systemClock } from "../platform/clock.js";
import { limits } from "../platform/limits.js";
import { systemRng } from "../platform/rng.js";
import { mintUuidV7 } from "../platform/uuid-v7.js";
import { type Connection, createConnection, type Endpoint, hasAlternatives, type SessionCall } from "./connect.js";
import { departureOf } from "./departure.js";
import { FrameWriter } from "./frame-writer.js";
import { hearCall } from "./hear-call.js";
import { type Hearing, listen } from "./hearing.js";
import { helloOf } from "./hello.js";
import { KeyRenewal } from "./key-renewal.js";
import { Ledger } from "./ledger.js";
import { McpConfigInForce } from "./mcp-config-in-force.js";
import type { SessionCounters, StreamFailure, StreamSessionOptions } from "./options.js";
import { narrower, Outbox } from "./outbox.js";
import type { ClientRoutes } from "./routes.js";
import { RoutesInForce } from "./routes-in-force.js";
import {
  type CloseReason,
  freshSession,
  overError,
  type SessionEffect,
  type SessionEvent,
  type SessionRules,
  type SessionState,
  sessionRules,
  step,
} from "./session.js";
import { Terms } from "./terms.js";
import { Timers } from "./timers.js";
import { Waiters } from "./waiters.js";
import { credentialRefreshFrame, heartbeatFrame, loadReportFrame } from "./wire/control.js";
import { type EncodedEvent, type EventInit, encodeEventFrame } from "./wire/frames.js";

/** Starts a session that connects, resumes and reconnects by itself until it is closed or refused. */
export function createStreamSession(options: StreamSessionOptions): StreamSession {
  return new StreamSession(options);
}

/**
 * One MCP's session with a coordinator: takes events, keeps each in memory until its final verdict, and keeps a stream open to bring them over.
 * States and transitions are in session.ts; this class carries out their effects. Nothing here rejects on its own: failures become state.
 */
export class StreamSession implements AsyncDisposable {
  readonly producerId: string;
  readonly #options: StreamSessionOptions;
  readonly #mcpConfig: McpConfigInForce;
  readonly #clock: Clock;
  readonly #rules: SessionRules;
  readonly #outbox: Outbox;
  readonly #ledger: Ledger;
  readonly #routes: RoutesInForce;
  readonly #timers: Timers<"retry" | "overdue" | "heartbeat" | "rest" | "leave" | "close">;
  readonly #waiters = new Waiters();
  readonly #writer = new FrameWriter();
  readonly #terms: Terms;
  readonly #hearing: Hearing | undefined;
  readonly #keys: KeyRenewal;
  #state: SessionState = freshSession;
  #endpoint: Endpoint;
  #connection: Connection;
  #needsConnection = false;
  #call: SessionCall | undefined;
  #openedCount = 0;
  #lastFailure: StreamFailure | undefined;
  #isPumpScheduled = false;
  #heartbeatId = 0n;
  #sessionId = "";

  constructor(options: StreamSessionOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#timers = new Timers(this.#clock);
    this.#rules = sessionRules(options.rng ?? systemRng, options.renewKey !== undefined);
    this.#outbox = new Outbox(options.outbox ?? { maxEvents: limits.outboxMaxEvents, maxBytes: limits.outboxMaxBytes });
    this.#ledger = new Ledger(this.#outbox, { clock: this.#clock, rng: this.#rules.rng, onSettled: options.onSettled });
    this.#routes = new RoutesInForce({
      ...{ mcpId: options.mcpId, clock: this.#clock },
      ...{ router: options.router, judgeTarget: options.judgeTarget, onRoutes: options.onRoutes },
      writeAck: (frame) => {
        if (this.#state.kind === "active") this.#writer.writeControl("routingAck", frame);
      },
    });
    this.#terms = new Terms(options.batchEvents);
    this.#mcpConfig = new McpConfigInForce(options.onMcpConfig);
    this.#keys = new KeyRenewal(options.renewKey, (key) => this.#keyRenewed(key), this.#clock);
    this.#endpoint = options.endpoint;
    this.#hearing = listen(options.endpoint, {
      clock: this.#clock,
      isOwed: () => this.#state.kind === "active" && this.#outbox.flyingEvents > 0 && !this.#terms.isStoreAway,
      onUnheard: () => this.#apply({ kind: "unheard" }),
    });
    this.producerId = options.producerId ?? mintUuidV7();
    this.#connection = createConnection(options.endpoint);
    // In the next turn, so that callbacks never run before the caller holds the session.
    this.#timers.set("retry", 0, () => this.#apply({ kind: "retryDue", isEmpty: this.#isEmpty }));
  }

  get state(): SessionState {
    return this.#state;
  }
  get counters(): SessionCounters {
    return { ...this.#ledger.counters, reconnects: Math.max(0, this.#openedCount - 1) };
  }
  /** How the newest stream that failed ended; undefined while none has. For people: the session deals with it itself. */
  get lastFailure(): StreamFailure | undefined {
    return this.#lastFailure;
  }
  /** Events that have no final verdict yet. */
  get unresolvedCount(): number {
    return this.#outbox.heldEvents;
  }
  /** The routing table in force; undefined before the first and after one ran out. */
  get routes(): ClientRoutes | undefined {
    return this.#routes.current;
  }
  /** Whether nothing new comes: the newest table names this MCP as draining, or no longer names it. End what there is, then close. */
  get isDrained(): boolean {
    return this.#routes.isDrained;
  }

  /**
   * Takes an event and returns its id; undefined when the outbox is full: then await `whenWritable` and report again.
   * The event must not carry a sequence. An absent event_id is minted; an encoded event has one.
   * Errors: `invalid` when the encoded event is larger than any coordinator takes; `unavailable` when the session is over.
   */
  report(event: EventInit | EncodedEvent): string | undefined {
    if (this.#state.kind === "closed") throw overError(this.#state.why);
    const eventId = this.#ledger.report(event);
    if (eventId !== undefined) this.#schedulePump();
    return eventId;
  }

  /** Tries again soon where a failure made it pause. For owners that know by other means that the coordinator may be back. */
  hasten(): void {
    this.#apply({ kind: "hastened" });
  }

  /** Resolves when the outbox has room again, or when the session is over. Never rejects. */
  async whenWritable(): Promise<void> {
    await this.#until(() => this.#outbox.hasRoom);
  }

  /** Resolves when nothing is unresolved: true; or when the session is over before that: false. Never rejects. */
  async flush(): Promise<boolean> {
    await this.#until(() => this.#isEmpty);
    return this.#isEmpty;
  }

  /** Waits for outstanding verdicts, at most `closeMaxMs`, half-closes, and resolves with how the session ended. Never rejects. */
  async close(): Promise<CloseReason> {
    if (this.#state.kind !== "closed") {
      this.#timers.set("close", this.#options.closeMaxMs ?? limits.clientCloseMaxMs, () => this.#apply({ kind: "closeTimedOut" }));
      this.#apply({ kind: "close", isEmpty: this.#isEmpty });
    }
    await this.#until(() => false);
    return this.#state.kind === "closed" ? this.#state.why : { kind: "abandoned" };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  get #isEmpty(): boolean {
    return this.#outbox.heldEvents === 0;
  }

  /** Waits until `condition` holds or the session is over. */
  async #until(condition: () => boolean): Promise<void> {
    await this.#waiters.until(() => this.#state.kind === "closed" || condition());
  }

  /** Advances the machine and carries out its effects. */
  #apply(event: SessionEvent): void {
    const { next, effects } = step(this.#state, event, this.#rules);
    const hasMoved = next.kind !== this.#state.kind;
    this.#state = next;
    for (const effect of effects) this.#carryOut(effect);
    if (hasMoved) this.#options.onState?.(next);
  }

  #carryOut(effect: SessionEffect): void {
    switch (effect.kind) {
      case "open":
        this.#open();
        break;
      case "retryIn":
        this.#timers.set("retry", effect.delayMs, () => this.#apply({ kind: "retryDue", isEmpty: this.#isEmpty }));
        break;
      case "startSending":
        this.#schedulePump();
        break;
      case "sendHeartbeat":
        this.#sendHeartbeat();
        break;
      case "renewKey":
        void this.#keys.request();
        break;
      case "halfClose":
        this.#call?.end();
        break;
      case "cancel":
        this.#call?.cancel();
        break;
      case "finish":
        this.#release();
        break;
      default:
        unreachable(effect);
    }
  }

  #release(): void {
    this.#timers.clearAll();
    this.#hearing?.end();
    this.#routes.release();
    this.#call = undefined;
    this.#connection.close();
    this.#waiters.wake();
  }

  #open(): void {
    if (this.#needsConnection || (this.#openedCount > 0 && hasAlternatives(this.#options.endpoint))) {
      this.#connection.close();
      this.#connection = createConnection(this.#endpoint, this.#openedCount);
      this.#needsConnection = false;
    }
    this.#openedCount++;
    const call = this.#connection.openSession();
    this.#call = call;
    this.#writer.attach(call);
    this.#terms.forget();
    hearCall(call, () => this.#call === call, {
      headers: () => this.#apply({ kind: "headers" }),
      frame: (frame) => this.#receive(frame),
      writable: () => {
        this.#writer.writableAgain();
        this.#pump();
      },
      ended: (code, details) => this.#ended(code, details),
    });
    const known = { producerId: this.producerId, resumeSessionId: this.#sessionId, takesMcpConfig: this.#mcpConfig.isWanted };
    this.#writer.write(helloOf(this.#options, { ...known, firstHeldSequence: this.#outbox.firstHeldSequence }));
    this.#timers.set("overdue", limits.helloMaxMs, () => this.#apply({ kind: "overdue" }));
  }

  #ended(code: number, details: string): void {
    this.#call = undefined;
    this.#writer.attach(undefined);
    if (code !== 0) this.#lastFailure = { code, details };
    this.#timers.clear("overdue", "heartbeat", "rest", "leave");
    this.#apply({ kind: "ended", code, details, isEmpty: this.#isEmpty });
  }

  #sendHeartbeat(): void {
    this.#heartbeatId += 1n;
    // While nothing can be written the counts stay with the router: the frame that waits may be replaced.
    const observed = this.#writer.isWritable ? (this.#options.router?.takeObserved() ?? []) : [];
    const frame = heartbeatFrame(this.#heartbeatId, this.#clock.nowMs(), this.#outbox.heldEvents, this.#routes.current, observed);
    this.#writer.writeControl("heartbeat", frame);
    const load = this.#options.load?.();
    if (load !== undefined) this.#writer.writeControl("load", loadReportFrame(load));
  }

  /** The key of the next connection, and of the session that is up. */
  #keyRenewed(key: string): void {
    this.#endpoint = { ...this.#endpoint, key };
    this.#needsConnection = true;
    if (this.#state.kind === "active") this.#writer.writeControl("credential", credentialRefreshFrame(key));
  }

  /** Events reported in one turn of the loop travel together. */
  #schedulePump(): void {
    if (this.#isPumpScheduled) return;
    this.#isPumpScheduled = true;
    queueMicrotask(() => {
      this.#isPumpScheduled = false;
      this.#pump();
    });
  }

  #pump(): void {
    while (this.#state.kind === "active" && this.#writer.isWritable) {
      const events = this.#ledger.take(narrower(this.#terms.window, this.#options.window), this.#terms.frame);
      if (events.length === 0) return;
      this.#writer.write(encodeEventFrame(events));
    }
  }

  #receive(frame: StreamInteractionsResponse): void {
    const body = frame.frame;
    this.#hearing?.heard();
    switch (body.case) {
      case "welcome":
        this.#welcome(body.value);
        break;
      case "eventAck":
        this.#ledger.judge(body.value);
        this.#afterVerdicts();
        break;
      case "eventAckBatch":
        this.#ledger.judgeBatch(body.value);
        this.#afterVerdicts();
        break;
      case "flowControl":
        this.#terms.setWindow(body.value);
        this.#pump();
        break;
      case "routingUpdate":
        this.#routes.receive(body.value);
        break;
      case "configUpdate":
        this.#writer.writeControl("configAck", this.#terms.configured(body.value));
        this.#beat();
        break;
      case "mcpConfigUpdate":
        this.#writer.writeControl("mcpConfigAck", this.#mcpConfig.receive(body.value));
        break;
      case "drainNotice":
        this.#beginDrain(body.value);
        break;
      case "heartbeatAck":
        this.#terms.setWindow(body.value.flowControl);
        this.#apply({ kind: "heartbeatAnswered" });
        this.#pump();
        break;
      case "serverNotice":
        this.#options.onNotice?.(body.value.code, body.value.message);
        break;
      case "credentialRefreshAck": // refused or not: a key that is refused goes on until it expires, and then another is asked for
      case undefined: // a newer coordinator may send what we do not know
        break;
      default:
        unreachable(body);
    }
  }

  #welcome(welcome: Welcome): void {
    if (this.#state.kind !== "connecting" && this.#state.kind !== "handshake") return;
    this.#timers.clear("overdue");
    this.#sessionId = welcome.sessionId;
    const isTooOld = welcome.resumeStatus === ResumeStatus.TOO_OLD;
    this.#ledger.resume(Number(welcome.resumeAfterSequence), welcome.producerEpoch, isTooOld);
    this.#terms.welcomed(welcome);
    this.#apply({ kind: "welcome", isEmpty: this.#isEmpty });
    this.#beat();
    if (welcome.routing !== undefined) this.#routes.receive(welcome.routing);
    if (this.#isEmpty) this.#apply({ kind: "emptied" });
    this.#restUntilDue();
    this.#waiters.wake();
  }

  #beginDrain(notice: DrainNotice): void {
    // Nothing to drain for: with another key the session goes on, and without one a new stream would fare no better.
    if (notice.reason === DrainReason.CREDENTIAL_EXPIRY) {
      void this.#keys.request();
      return;
    }
    if (notice.reason === DrainReason.FENCED) this.#outbox.doubt();
    this.#needsConnection ||= notice.newConnection;
    const { leaveInMs, overdueMs, ...terms } = departureOf(notice, this.#state.kind === "active");
    const leave = () => this.#apply({ kind: "drain", ...terms, isSettled: this.#outbox.flyingEvents === 0 });
    this.#timers.set("overdue", overdueMs, () => this.#apply({ kind: "overdue" }));
    if (leaveInMs > 0) this.#timers.set("leave", leaveInMs, leave);
    else leave();
  }

  /** Sends heartbeats as often as the coordinator wants them, as long as the session is up. */
  #beat(): void {
    const intervalMs = this.#terms.heartbeatMs;
    if (intervalMs === undefined || this.#state.kind !== "active") return;
    this.#timers.set("heartbeat", intervalMs, () => {
      this.#apply({ kind: "heartbeatDue" });
      this.#beat();
    });
  }

  #afterVerdicts(): void {
    this.#apply({ kind: "acked" });
    if (this.#outbox.flyingEvents === 0) this.#apply({ kind: "settled" });
    if (this.#isEmpty) this.#apply({ kind: "emptied" });
    this.#restUntilDue();
    this.#waiters.wake();
    this.#pump();
  }

  #restUntilDue(): void {
    const dueMs = this.#outbox.restUntilMs;
    if (dueMs === undefined || this.#state.kind !== "active") return;
    this.#timers.set("rest", Math.max(1, dueMs - this.#clock.monotonicMs()), () => {
      this.#outbox.wake(this.#clock.monotonicMs());
      this.#pump();
      this.#restUntilDue();
    });
  }
}
