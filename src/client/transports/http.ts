import { Allowance } from "../../platform/allowance.js";
import type { Cancel, Clock } from "../../platform/clock.js";
import { limits } from "../../platform/limits.js";
import { Waiters } from "../waiters.js";
import { encodeEvent } from "../wire/frames.js";
import { encodeEmptyVerify, encodeReportRequest, reportPath, verifyPath } from "../wire/report-request.js";
import { settlementOf } from "../wire/verdict.js";
import { type HttpAnswer, type HttpMeaning, readHttpAnswer, readProbeAnswer } from "./http-answer.js";
import type { OutgoingEvent, Transport, TransportEvents, TransportHealth } from "./transport.js";

export type HttpTransportOptions = {
  /** Web address of the coordinator, without a slash at its end. */
  readonly url: string;
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
  /** Of requests under way. One each, and none that they share: what AbortSignal.any makes of one that lives on stays with it for ever (Node 20). */
  readonly #aborts = new Set<AbortController>();
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
    const fault = typeof answer === "string" ? answer : readProbeAnswer(answer, this.#options.clock.nowMs());
    this.#become(fault === undefined ? { state: "up", why: "" } : { state: "down", why: fault });
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
    for (const abort of this.#aborts) abort.abort();
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
    const unreachable = (why: string): HttpMeaning => ({ kind: "unusable", why, retryAfterMs: 0 });
    this.#take(batch, typeof answer === "string" ? unreachable(answer) : readHttpAnswer(answer, events.length, clock.nowMs()));
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
        if (!this.#isStopped) this.#become({ state: "down", why: meaning.why });
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
  async #post(path: string, body: Uint8Array<ArrayBuffer>, maxMs: number): Promise<HttpAnswer | string> {
    const { url, key, clock } = this.#options;
    const abort = new AbortController();
    this.#aborts.add(abort);
    let isLate = false;
    const cancel = clock.after(maxMs, () => {
      isLate = true;
      abort.abort();
    });
    try {
      const headers = {
        "content-type": "application/proto",
        "connect-protocol-version": "1",
        "connect-timeout-ms": String(maxMs),
        ...(key === undefined ? {} : { authorization: `Bearer ${key}` }),
      };
      const response = await fetch(`${url}${path}`, { method: "POST", headers, body, redirect: "manual", signal: abort.signal });
      const read = await readBody(response);
      if (read === undefined) return `what answers is no coordinator: more than ${limits.httpAnswerMaxBytes} bytes`;
      return { status: response.status, header: (name) => response.headers.get(name) ?? undefined, body: read };
    } catch (thrown) {
      // Translated: that there was no answer is the answer.
      return isLate ? `no answer within ${maxMs} ms` : `cannot be reached: ${causeOf(thrown)}`;
    } finally {
      cancel();
      this.#aborts.delete(abort);
    }
  }
}

/** The body; undefined when it is larger than any answer of ours. */
async function readBody(response: Response): Promise<Uint8Array | undefined> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  // The cast: the type of the platform leaves open what a chunk of a body is; it is bytes.
  for await (const chunk of (response.body ?? []) as AsyncIterable<Uint8Array>) {
    bytes += chunk.length;
    if (bytes > limits.httpAnswerMaxBytes) return undefined;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

/** fetch says "fetch failed", and puts what failed into its cause. */
function causeOf(thrown: unknown): string {
  if (!(thrown instanceof Error)) return String(thrown);
  return thrown.cause instanceof Error && thrown.cause.message !== "" ? thrown.cause.message : thrown.message;
}
