import { status } from "@grpc/grpc-js";
import { backoffMs } from "../../platform/backoff.js";
import type { Cancel, Clock } from "../../platform/clock.js";
import { limits } from "../../platform/limits.js";
import type { Rng } from "../../platform/rng.js";
import type { Settled, StreamFailure, StreamSessionOptions } from "../options.js";
import { describeClose, type SessionState } from "../session.js";
import { createStreamSession, type StreamSession } from "../stream-session.js";
import { Waiters } from "../waiters.js";
import { encodeEvent, sequenceMaxBytes } from "../wire/frames.js";
import { settlementOf } from "../wire/verdict.js";
import { explainStreamFailure, tlsFaultOfStream } from "./explain.js";
import type { OutgoingEvent, Transport, TransportEvents, TransportHealth } from "./transport.js";

/** What a stream of the reporter is told; the rest of StreamSessionOptions is the transport's own. */
export type GrpcTransportOptions = Pick<
  StreamSessionOptions,
  | "endpoint"
  | "mcpId"
  | "instanceVersion"
  | "labels"
  | "renewKey"
  | "load"
  | "router"
  | "judgeTarget"
  | "onRoutes"
  | "onMcpConfig"
  | "onNotice"
> & {
  readonly clock: Clock;
  readonly rng: Rng;
  /** How often a stream may end with one event alone on it before that event counts as what ends it. */
  readonly maxRetries: number;
};

/** Ends of a stream that the events on it may have caused; of the codes that have other causes too, those whose words say so. Without words: always. */
const poisonCodes: ReadonlyMap<number, RegExp | undefined> = new Map([
  [status.INVALID_ARGUMENT, undefined],
  [status.OUT_OF_RANGE, undefined],
  [status.RESOURCE_EXHAUSTED, /message|frame|larger|size/i],
  [status.INTERNAL, /decod|deserializ|pars|malformed/i],
]);

/** Health of a transport whose newest stream has failed. */
function downBy(failure: StreamFailure): TransportHealth {
  const tls = tlsFaultOfStream(failure);
  return { state: "down", why: explainStreamFailure(failure), ...(tls === undefined ? {} : { tls: tls.kind }) };
}

/** Opens a stream to the coordinator; see GrpcTransport. */
export function createGrpcTransport(options: GrpcTransportOptions, events: TransportEvents): Transport {
  return new GrpcTransport(options, events);
}

/**
 * Events over one long stream. The session below resumes, keeps its windows and reconnects; this adds what outlives a session: one that is refused is begun anew, and an event that
 * ends every stream it is on is found, by sending one at a time, and rejected.     Bound: `limits.grpcHeldMaxEvents` events.
 */
class GrpcTransport implements Transport {
  readonly name = "grpc";
  readonly #options: GrpcTransportOptions;
  readonly #events: TransportEvents;
  readonly #waiters = new Waiters();
  /** Taken, and not yet with the session: nothing, but while a poison is looked for or a session is begun anew. Oldest first. */
  #pending = new Map<string, OutgoingEvent>();
  /** With the session, without a verdict. Oldest first. */
  #inSession = new Map<string, OutgoingEvent>();
  #session: StreamSession;
  #cancelBegin: Cancel | undefined;
  #refusals = 0;
  #hasBeenUp = false;
  #hasProgress = false;
  #strikes = 0;
  /** Those that were on a stream when it ended for what was on it: sent one at a time until they are through, or the one is found. */
  #suspects = new Set<string>();
  #wasFull = false;
  #isStopped = false;

  constructor(options: GrpcTransportOptions, events: TransportEvents) {
    this.#options = options;
    this.#events = events;
    this.#session = this.#begin();
  }

  readonly health = (): TransportHealth => {
    const { state, lastFailure } = this.#session;
    switch (state.kind) {
      case "active":
        return { state: "up", why: "" };
      case "closed":
        return lastFailure === undefined ? { state: "down", why: describeClose(state.why) } : downBy(lastFailure);
      case "disconnected":
      case "connecting":
      case "handshake":
        // The first retry is what a restart takes; a second one means that nobody is there.
        if (state.attempt < 2 || lastFailure === undefined) return { state: "connecting", why: "" };
        return downBy(lastFailure);
      default:
        return { state: "connecting", why: "the coordinator asked to reconnect" };
    }
  };

  readonly offer = (offered: readonly OutgoingEvent[]): number => {
    let taken = 0;
    for (const event of offered) {
      // Offered again while it is still here: it is with the session, which will settle it.
      const isHere = this.#inSession.has(event.eventId) || this.#pending.has(event.eventId);
      if (this.#isStopped || (!isHere && this.#heldCount >= limits.grpcHeldMaxEvents)) break;
      if (!isHere) this.#pending.set(event.eventId, event);
      taken += 1;
    }
    this.#wasFull ||= taken < offered.length;
    this.#feed();
    return taken;
  };

  /** The session tries by itself; this waits for how the next try ends. */
  readonly probe = async (): Promise<void> => {
    let isOver = false;
    const cancel = this.#options.clock.after(limits.transportProbeMaxMs, () => {
      isOver = true;
      this.#waiters.wake();
    });
    await this.#waiters.until(() => isOver || this.#isStopped || this.health().state !== "connecting");
    cancel();
  };

  readonly hasten = (): void => this.#session.hasten();

  readonly stop = async (graceMs: number): Promise<void> => {
    if (!this.#isStopped) {
      this.#isStopped = true;
      this.#cancelBegin?.();
      this.#waiters.wake();
    }
    let isOver = graceMs <= 0;
    const cancel = this.#options.clock.after(graceMs, () => {
      isOver = true;
      this.#waiters.wake();
    });
    await this.#waiters.until(() => isOver || this.#inSession.size === 0 || this.#session.state.kind === "closed");
    cancel();
    // Nothing to wait for any more: what has no verdict by now is given up, and the stream half-closed where that is possible.
    await this.#session.close();
  };

  get #heldCount(): number {
    return this.#pending.size + this.#inSession.size;
  }

  #begin(): StreamSession {
    const { maxRetries: _, ...options } = this.#options;
    const session: StreamSession = createStreamSession({
      ...options,
      closeMaxMs: limits.grpcCloseMaxMs,
      onSettled: (settled) => this.#settled(settled),
      onState: (state) => {
        if (this.#session === session) this.#moved(state);
      },
    });
    return session;
  }

  #moved(state: SessionState): void {
    if (state.kind === "active") {
      this.#hasBeenUp = true;
      this.#hasProgress = false;
      this.#feed();
    } else if (state.kind === "disconnected" || state.kind === "closed") this.#streamEnded(state);
    this.#waiters.wake();
    this.#events.onChange();
  }

  #streamEnded(state: Extract<SessionState, { kind: "disconnected" | "closed" }>): void {
    const failure = this.#session.lastFailure;
    const wasUp = this.#hasBeenUp;
    this.#hasBeenUp = false;
    if (this.#isStopped) return;
    const isSuspicious = wasUp && !this.#hasProgress && this.#inSession.size > 0;
    if (isSuspicious && failure !== undefined && this.#strike(failure)) return;
    this.#refusals = wasUp ? 0 : this.#refusals + 1;
    if (state.kind === "closed") this.#beginLater(wasUp);
  }

  /**
   * A stream with events on it ended before any was settled. After the third in a row they are sent one at a time, and the one that is alone then is what ends it. Tells
   * whether another session was begun.
   */
  #strike(failure: StreamFailure): boolean {
    if (!poisonCodes.has(failure.code) || poisonCodes.get(failure.code)?.test(failure.details) === false) return false;
    this.#strikes += 1;
    if (this.#strikes < Math.max(1, this.#options.maxRetries)) return false;
    this.#strikes = 0;
    const [suspect] = this.#inSession.keys();
    const isAlone = this.#inSession.size === 1;
    if (isAlone && suspect !== undefined) {
      this.#inSession.delete(suspect);
      this.#suspects = new Set();
      const reason = `POISON: every stream with it ended, ${explainStreamFailure(failure)}`;
      this.#events.onSettled({ eventId: suspect, outcome: "rejected", reason });
    } else this.#suspects = new Set(this.#inSession.keys());
    this.#beginAnew();
    return true;
  }

  /** The session has events that it would send again as they were: another one takes its place. */
  #beginAnew(): void {
    const before = this.#session;
    this.#pending = new Map([...this.#inSession, ...this.#pending]);
    this.#inSession = new Map();
    this.#session = this.#begin();
    void before.close();
  }

  /** A refused session does not try again by itself. A key may be renewed, and a coordinator replaced: we do, slowly; sooner where the coordinator had taken it before. */
  #beginLater(wasUp: boolean): void {
    this.#cancelBegin?.();
    const { rng } = this.#options;
    const delayMs = wasUp ? backoffMs(limits.reconnectBackoff, this.#strikes, rng) : backoffMs(limits.refusedBackoff, this.#refusals, rng);
    this.#cancelBegin = this.#options.clock.after(delayMs, () => this.#beginAnew());
  }

  /** Gives the session what it may have. */
  #feed(): void {
    if (this.#session.state.kind === "closed") return;
    for (const [eventId, event] of this.#pending) {
      if (this.#suspects.size > 0 && this.#inSession.size > 0) return;
      const encoded = event.encoded ?? encodeEvent({ ...event.event, eventId });
      const isTooLarge = encoded.length + sequenceMaxBytes > limits.eventMaxBytes;
      if (!isTooLarge && this.#session.report({ eventId, encoded }) === undefined) return;
      this.#pending.delete(eventId);
      if (isTooLarge) this.#events.onSettled({ eventId, outcome: "rejected", reason: `TOO_LARGE: ${encoded.length} bytes` });
      else this.#inSession.set(eventId, event);
    }
  }

  #settled({ eventId, verdict, ack }: Settled): void {
    if (!this.#inSession.delete(eventId)) return;
    const wasIsolating = this.#suspects.size > 0;
    this.#suspects.delete(eventId);
    this.#hasProgress = true;
    this.#strikes = 0;
    this.#events.onSettled(
      ack === undefined || verdict !== "rejected" ? { eventId, outcome: verdict, reason: "" } : settlementOf(eventId, ack),
    );
    if (wasIsolating) this.#feed(); // the next suspect, or all that waited behind them
    if (this.#isStopped) this.#waiters.wake();
    // Room is told of in halves: a word for each event would cost more than it.
    if (this.#wasFull && this.#heldCount <= limits.grpcHeldMaxEvents / 2) {
      this.#wasFull = false;
      this.#events.onChange();
    }
  }
}
