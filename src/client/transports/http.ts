import { Allowance } from "../../platform/allowance.js";
import type { Cancel, Clock } from "../../platform/clock.js";
import { limits } from "../../platform/limits.js";
import type { Tls } from "../tls.js";
import { Waiters } from "../waiters.js";
import { encodeEvent } from "../wire/frames.js";
import { encodeEmptyVerify, encodeReportRequest, reportPath, verifyPath } from "../wire/report-request.js";
import { settlementOf } from "../wire/verdict.js";
import { type HttpMeaning, readHttpAnswer, readProbeAnswer } from "./http-answer.js";
import type { OutgoingEvent, Transport, TransportEvents, TransportHealth } from "./transport.js";
import { createWebClient, type WebClient, type WebFault, type WebResult } from "./web-client.js";

export type HttpTransportOptions = {
  /** Web address of the coordinator, without a slash at its end. */
  readonly url: string;
  /** For an address with https. */
  readonly tls?: Tls | undefined;
  readonly key: string | undefined;
  readonly mcpId: string;
  readonly requestsPerSecond: number;
  /** How often an event may be refused when it is alone in its request, before it counts as refused for good. */
  readonly maxRetries: number;
  readonly clock: Clock;
};

/** Events on their way, with their bytes. `refusals` of this very batch. */
type Batch = { readonly events: readonly { readonly eventId: string; readonly encoded: Uint8Array }[]; readonly refusals: number };

/** Reports in requests to the web port; see HttpTransport. */
export function createHttpTransport(options: HttpTransportOptions, events: TransportEvents): Transport {
  return new HttpTransport(options, events);
}

/**
 * Events in unary requests of the Connect protocol, in Protocol Buffers. A body that is refused is halved until the event is found that is the cause; whatever else fails is
 * deferred, and the transport is down until a probe succeeds.     Bound: `limits.httpRequestsAtOnce` requests, and as many batches besides them.
 */
class HttpTransport implements Transport {
  readonly name = "http";
  readonly #options: HttpTransportOptions;
  readonly #events: TransportEvents;
  readonly #allowance: Allowance;
  readonly #waiters = new Waiters();
  readonly #web: WebClient;
  #health: TransportHealth = { state: "idle", why: "" };
  #queue: OutgoingEvent[] = [];
  /** Parts of a body that was refused. */
  #parts: Batch[] = [];
  #flyingEvents = 0;
  #flyingRequests = 0;
  #pausedUntilMs = 0;
  #cancelSend: Cancel | undefined;
  #wasFull = false;
  #isStopped = false;
  /** Stopped, and the time for what was under way is up. */
  #isOver = false;

  constructor(options: HttpTransportOptions, events: TransportEvents) {
    this.#options = options;
    this.#events = events;
    this.#web = createWebClient(options);
    const perSecond = options.requestsPerSecond;
    this.#allowance = new Allowance({ burst: Math.max(1, perSecond), perSecond }, options.clock.monotonicMs());
  }

  readonly health = (): TransportHealth => this.#health;

  readonly offer = (offered: readonly OutgoingEvent[]): number => {
    const room = limits.httpRequestsAtOnce * 2 * limits.batchMaxEvents - this.#heldCount;
    const taken = this.#isStopped ? 0 : Math.min(Math.max(0, room), offered.length);
    this.#queue.push(...offered.slice(0, taken));
    this.#wasFull ||= taken < offered.length;
    this.#send();
    return taken;
  };

  readonly probe = async (): Promise<void> => {
    if (this.#isStopped || this.#health.state === "up") return;
    const answer = await this.#post(verifyPath, encodeEmptyVerify(this.#options.mcpId), limits.transportProbeMaxMs);
    if (this.#isStopped) return;
    if (answer.kind === "fault") return this.#become({ state: "down", ...answer.fault });
    const why = readProbeAnswer(answer.answer, this.#options.clock.nowMs());
    this.#become(why === undefined ? { state: "up", why: "" } : { state: "down", why });
  };

  readonly stop = async (graceMs: number): Promise<void> => {
    this.#isStopped = true;
    let isOver = graceMs <= 0;
    const cancel = this.#options.clock.after(graceMs, () => {
      isOver = true;
      this.#waiters.wake();
    });
    await this.#waiters.until(() => isOver || this.#heldCount === 0);
    cancel();
    this.#cancelSend?.();
    this.#isOver = true;
    this.#web.close();
  };

  get #heldCount(): number {
    return this.#queue.length + this.#flyingEvents + this.#parts.reduce((sum, { events }) => sum + events.length, 0);
  }

  #become(health: TransportHealth): void {
    const hasChanged = health.state !== this.#health.state || health.why !== this.#health.why;
    this.#health = health;
    if (hasChanged) this.#events.onChange();
  }

  /** Sends as many requests as may be under way. */
  #send(): void {
    const { clock, requestsPerSecond } = this.#options;
    while (!this.#isOver && this.#flyingRequests < limits.httpRequestsAtOnce && this.#parts.length + this.#queue.length > 0) {
      const nowMs = clock.monotonicMs();
      const waitMs = Math.max(this.#pausedUntilMs - nowMs, this.#allowance.take(nowMs) ? 0 : 1_000 / requestsPerSecond);
      if (waitMs > 0) {
        this.#cancelSend?.();
        this.#cancelSend = clock.after(waitMs, () => this.#send());
        return;
      }
      void this.#report(this.#parts.shift() ?? { events: this.#nextEvents(), refusals: 0 });
    }
  }

  /** As many of the queue as fit into one body. */
  #nextEvents(): Batch["events"] {
    const events: { readonly eventId: string; readonly encoded: Uint8Array }[] = [];
    let bytes = 0;
    for (const one of this.#queue.slice(0, limits.batchMaxEvents)) {
      const { eventId } = one;
      // `event` is asked for only where there are no bytes: it may have to be decoded for that.
      const encoded = one.encoded ?? encodeEvent({ ...one.event, eventId });
      bytes += encoded.length;
      if (events.length > 0 && bytes > limits.httpBodyMaxBytes) break;
      events.push({ eventId, encoded });
    }
    this.#queue = this.#queue.slice(events.length);
    return events;
  }

  async #report(batch: Batch): Promise<void> {
    const { clock, mcpId } = this.#options;
    const { events } = batch;
    this.#flyingRequests += 1;
    this.#flyingEvents += events.length;
    const body = encodeReportRequest(
      mcpId,
      events.map(({ encoded }) => encoded),
    );
    const answer = await this.#post(reportPath, body, limits.httpReportMaxMs);
    this.#flyingRequests -= 1;
    this.#flyingEvents -= events.length;
    const unreachable = (fault: WebFault): HttpMeaning => ({ kind: "unusable", retryAfterMs: 0, ...fault });
    this.#take(batch, answer.kind === "fault" ? unreachable(answer.fault) : readHttpAnswer(answer.answer, events.length, clock.nowMs()));
    this.#waiters.wake();
    this.#send();
    if (this.#wasFull && this.#heldCount <= limits.httpRequestsAtOnce * limits.batchMaxEvents) {
      this.#wasFull = false;
      this.#events.onChange();
    }
  }

  /** What became of a batch. */
  #take(batch: Batch, meaning: HttpMeaning): void {
    switch (meaning.kind) {
      case "verdicts":
        for (const [index, ack] of meaning.acks.entries()) {
          const eventId = batch.events[index]?.eventId;
          if (eventId !== undefined) this.#events.onSettled(settlementOf(eventId, ack));
        }
        return;
      case "busy":
        this.#pausedUntilMs = this.#options.clock.monotonicMs() + meaning.retryAfterMs;
        this.#defer(batch.events, meaning.why, meaning.retryAfterMs);
        return;
      case "indigestible":
        this.#halve(batch, meaning.why);
        return;
      default:
        this.#defer(batch.events, meaning.why, meaning.retryAfterMs);
        this.#defer(this.#queue.splice(0), meaning.why, meaning.retryAfterMs);
        for (const { events } of this.#parts.splice(0)) this.#defer(events, meaning.why, meaning.retryAfterMs);
        if (!this.#isStopped) this.#become({ state: "down", why: meaning.why, ...(meaning.tls === undefined ? {} : { tls: meaning.tls }) });
    }
  }

  #defer(events: readonly { readonly eventId: string }[], reason: string, retryAfterMs: number): void {
    if (this.#isStopped) return; // given back by not settling them
    for (const { eventId } of events) this.#events.onSettled({ eventId, outcome: "deferred", reason, retryAfterMs });
  }

  /** The refused body in two, until it is one event: that is tried again some times, and then it is the cause. */
  #halve({ events, refusals }: Batch, why: string): void {
    const [only] = events;
    if (events.length > 1) {
      const middle = Math.ceil(events.length / 2);
      this.#parts.push({ events: events.slice(0, middle), refusals: 0 }, { events: events.slice(middle), refusals: 0 });
    } else if (refusals + 1 < this.#options.maxRetries) this.#parts.push({ events, refusals: refusals + 1 });
    else if (only !== undefined)
      this.#events.onSettled({ eventId: only.eventId, outcome: "rejected", reason: `POISON: every request with it is refused, ${why}` });
  }

  /** The answer, or why there was none. Never rejects. */
  #post(path: string, body: Uint8Array, maxMs: number): Promise<WebResult> {
    const { key } = this.#options;
    const headers = {
      "content-type": "application/proto",
      "connect-protocol-version": "1",
      "connect-timeout-ms": String(maxMs),
      ...(key === undefined ? {} : { authorization: `Bearer ${key}` }),
    };
    return this.#web.ask({ method: "POST", path, headers, body, maxMs });
  }
}
