import type { StreamInteractionsResponse } from "../../gen/mcp/coordinator/v1/interaction_service_pb.js";
import { Capability, type DrainNotice, DrainReason, type FlowControl, type Welcome } from "../../gen/mcp/coordinator/v1/session_pb.js";
import { unreachable } from "../platform/assert.js";
import { type Clock, systemClock } from "../platform/clock.js";
import { CoordinatorError } from "../platform/errors.js";
import { limits } from "../platform/limits.js";
import { systemRng } from "../platform/rng.js";
import { mintUuidV7 } from "../platform/uuid-v7.js";
import { type Connection, createConnection, hasAlternatives, type SessionCall } from "./connect.js";
import { Ledger } from "./ledger.js";
import type { SessionCounters, StreamFailure, StreamSessionOptions } from "./options.js";
import { type FrameBounds, narrower, Outbox, type Window } from "./outbox.js";
import type { ClientRoutes } from "./routes.js";
import { RoutesInForce } from "./routes-in-force.js";
import {
  type CloseReason,
  describeClose,
  freshSession,
  type SessionEffect,
  type SessionEvent,
  type SessionRules,
  type SessionState,
  step,
} from "./session.js";
import { Timers } from "./timers.js";
import { heartbeatFrame, helloFrame } from "./wire/control.js";
import { type EncodedFrame, type EventInit, encodeEventFrame } from "./wire/frames.js";
import { msOf } from "./wire/time.js";

const noWindow: Window = { maxEvents: 0, maxBytes: 0 };
/** Of a coordinator that does not do flow control. */
const openWindow: Window = { maxEvents: limits.windowMaxEvents, maxBytes: limits.windowMaxBytes };
/** A frame of 64 ordinary events is some 16 KiB: most of the saving per message, little delay. */
const batchDefaultEvents = 64;
/** Time that the end of a drained stream may take beyond its deadline. */
const drainGraceMs = 1_000;

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
  readonly #clock: Clock;
  readonly #rules: SessionRules;
  readonly #outbox: Outbox;
  readonly #ledger: Ledger;
  readonly #routes: RoutesInForce;
  readonly #timers: Timers<"retry" | "overdue" | "heartbeat" | "rest" | "close">;
  readonly #waiters = new Set<() => void>();
  #state: SessionState = freshSession;
  #connection: Connection;
  #needsConnection = false;
  #call: SessionCall | undefined;
  #openedCount = 0;
  #lastFailure: StreamFailure | undefined;
  #isWritable = true;
  #isPumpScheduled = false;
  #serverWindow: Window = noWindow;
  #windowVersion = -1n;
  #frame: FrameBounds;
  #pendingControl: EncodedFrame | undefined;
  #heartbeatId = 0n;

  constructor(options: StreamSessionOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#timers = new Timers(this.#clock);
    this.#rules = { backoff: limits.reconnectBackoff, heartbeatMissesMax: limits.heartbeatMissesMax, rng: options.rng ?? systemRng };
    this.#outbox = new Outbox(options.outbox ?? { maxEvents: limits.outboxMaxEvents, maxBytes: limits.outboxMaxBytes });
    this.#ledger = new Ledger(this.#outbox, { clock: this.#clock, rng: this.#rules.rng, onSettled: options.onSettled });
    this.#routes = new RoutesInForce({
      clock: this.#clock,
      onRoutes: options.onRoutes,
      writeAck: (frame) => {
        if (this.#state.kind === "active") this.#writeControl(frame);
      },
    });
    this.#frame = { maxEvents: options.batchEvents ?? batchDefaultEvents, maxBytes: limits.clientFrameMaxBytes };
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

  /**
   * Takes an event and returns its id; undefined when the outbox is full: then await `whenWritable` and report again.
   * The event must not carry a sequence. An absent event_id is minted.
   * Errors: `invalid` when the encoded event is larger than any coordinator takes; `unavailable` when the session is over.
   */
  report(event: EventInit): string | undefined {
    if (this.#state.kind === "closed") {
      throw new CoordinatorError("unavailable", `the session is over: ${describeClose(this.#state.why)}`, {
        reason: "COORDINATOR_DRAINING",
      });
    }
    const eventId = this.#ledger.report(event);
    if (eventId !== undefined) this.#schedulePump();
    return eventId;
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
    while (this.#state.kind !== "closed" && !condition()) {
      await new Promise<void>((resolve) => this.#waiters.add(resolve));
    }
  }

  #wakeWaiters(): void {
    const waiters = [...this.#waiters];
    this.#waiters.clear();
    for (const wake of waiters) wake();
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
        this.#heartbeatId += 1n;
        this.#writeControl(heartbeatFrame(this.#heartbeatId, this.#clock.nowMs(), this.#outbox.heldEvents, this.#routes.current));
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
    this.#routes.release();
    this.#call = undefined;
    this.#connection.close();
    this.#wakeWaiters();
  }

  #open(): void {
    if (this.#needsConnection || (this.#openedCount > 0 && hasAlternatives(this.#options.endpoint))) {
      this.#connection.close();
      this.#connection = createConnection(this.#options.endpoint, this.#openedCount);
      this.#needsConnection = false;
    }
    this.#openedCount++;
    const call = this.#connection.openSession();
    this.#call = call;
    this.#isWritable = true;
    this.#serverWindow = noWindow;
    this.#windowVersion = -1n;
    this.#pendingControl = undefined;
    // Every listener checks that its call is still the current one: a cancelled call may speak once more.
    const ifCurrent = (task: () => void) => {
      if (this.#call === call) task();
    };
    call.on("metadata", () => ifCurrent(() => this.#apply({ kind: "headers" })));
    call.on("data", (frame: StreamInteractionsResponse) => ifCurrent(() => this.#receive(frame)));
    call.on("drain", () => ifCurrent(() => this.#writableAgain()));
    // The failure becomes state through `status`, which always follows `error`; without a listener it would end the process.
    call.on("error", () => undefined);
    call.on("status", (status) => ifCurrent(() => this.#ended(status.code, status.details)));
    this.#write(this.#hello());
    this.#timers.set("overdue", limits.helloMaxMs, () => this.#apply({ kind: "overdue" }));
  }

  #hello(): EncodedFrame {
    const { mcpId, instanceVersion, labels, ackMode } = this.#options;
    return helloFrame({
      mcpId,
      producerId: this.producerId,
      instanceVersion: instanceVersion ?? "",
      labels: labels ?? {},
      ackMode: ackMode ?? "coalesced",
      firstHeldSequence: this.#outbox.firstHeldSequence,
    });
  }

  #ended(code: number, details: string): void {
    this.#call = undefined;
    if (code !== 0) this.#lastFailure = { code, details };
    this.#timers.clear("overdue", "heartbeat", "rest");
    this.#apply({ kind: "ended", code, details, isEmpty: this.#isEmpty });
  }

  /** Writes a frame; afterwards nothing may follow until the call is writable again. */
  #write(frame: EncodedFrame): void {
    if (this.#call === undefined) return;
    this.#isWritable = this.#call.write(frame);
  }

  /** Writes a control frame now, or keeps the newest one until the call is writable: a peer that does not read cannot make us pile them up. */
  #writeControl(frame: EncodedFrame): void {
    if (this.#isWritable) this.#write(frame);
    else this.#pendingControl = frame;
  }

  #writableAgain(): void {
    this.#isWritable = true;
    const frame = this.#pendingControl;
    this.#pendingControl = undefined;
    if (frame !== undefined && this.#state.kind === "active") this.#write(frame);
    this.#pump();
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
    while (this.#state.kind === "active" && this.#isWritable && this.#call !== undefined) {
      const events = this.#ledger.take(narrower(this.#serverWindow, this.#options.window), this.#frame);
      if (events.length === 0) return;
      this.#write(encodeEventFrame(events));
    }
  }

  #receive(frame: StreamInteractionsResponse): void {
    const body = frame.frame;
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
        this.#setWindow(body.value);
        this.#pump();
        break;
      case "routingUpdate":
        this.#routes.receive(body.value);
        break;
      case "drainNotice":
        this.#beginDrain(body.value);
        break;
      case "heartbeatAck":
        this.#setWindow(body.value.flowControl);
        this.#apply({ kind: "heartbeatAnswered" });
        this.#pump();
        break;
      case "serverNotice":
        this.#options.onNotice?.(body.value.code, body.value.message);
        break;
      case undefined:
        break; // a newer coordinator may send what we do not know
      default:
        unreachable(body);
    }
  }

  #welcome(welcome: Welcome): void {
    if (this.#state.kind !== "connecting" && this.#state.kind !== "handshake") return;
    this.#timers.clear("overdue");
    this.#ledger.resume(Number(welcome.resumeAfterSequence));
    const allowed = welcome.config?.maxBatchEvents ?? 0;
    const wanted = this.#options.batchEvents ?? batchDefaultEvents;
    this.#frame = { ...this.#frame, maxEvents: Math.min(wanted, allowed > 0 ? allowed : limits.batchMaxEvents) };
    if (welcome.flowControl === undefined) this.#serverWindow = openWindow;
    else this.#setWindow(welcome.flowControl);
    if (welcome.capabilities.includes(Capability.HEARTBEAT)) {
      this.#beatEvery(Math.max(1, msOf(welcome.config?.heartbeatInterval, limits.heartbeatIntervalMs)));
    }
    this.#apply({ kind: "welcome", isEmpty: this.#isEmpty });
    if (welcome.routing !== undefined) this.#routes.receive(welcome.routing);
    if (this.#isEmpty) this.#apply({ kind: "emptied" });
    this.#restUntilDue();
    this.#wakeWaiters();
  }

  #beginDrain(notice: DrainNotice): void {
    this.#needsConnection = notice.newConnection;
    const overdueMs = msOf(notice.deadline, limits.clientCloseMaxMs) + drainGraceMs;
    this.#timers.set("overdue", overdueMs, () => this.#apply({ kind: "overdue" }));
    this.#apply({
      kind: "drain",
      reconnectMs: msOf(notice.reconnectDelay, 0),
      isFenced: notice.reason === DrainReason.FENCED,
      isSettled: this.#outbox.flyingEvents === 0,
    });
  }

  #setWindow(flow: FlowControl | undefined): void {
    if (flow === undefined || flow.version < this.#windowVersion) return;
    this.#windowVersion = flow.version;
    this.#serverWindow = { maxEvents: flow.maxUnackedEvents, maxBytes: Number(flow.maxUnackedBytes) };
  }

  #beatEvery(intervalMs: number): void {
    this.#timers.set("heartbeat", intervalMs, () => {
      this.#apply({ kind: "heartbeatDue" });
      if (this.#state.kind === "active") this.#beatEvery(intervalMs);
    });
  }

  #afterVerdicts(): void {
    this.#apply({ kind: "acked" });
    if (this.#outbox.flyingEvents === 0) this.#apply({ kind: "settled" });
    if (this.#isEmpty) this.#apply({ kind: "emptied" });
    this.#restUntilDue();
    if (this.#waiters.size > 0) this.#wakeWaiters();
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
