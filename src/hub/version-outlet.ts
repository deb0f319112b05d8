import { limits } from "../platform/limits.js";

/** Orders what is pushed: compare (term, version) in that order. */
export type VersionName = { readonly term: number; readonly version: number };

/**
 * Which version of something pushed a session has, awaits, and may be sent next: a routing table, or the session's settings. One update is outstanding per
 * stream; while it is, newer ones replace each other. An update that is not acked in time no longer holds back a newer one, but is not sent again by
 * itself.     Source: router.md 1.7, rules 1, 5, 7.
 */
export class VersionOutlet<T extends VersionName> {
  readonly #noncePrefix: string;
  #outstanding: { readonly nonce: string; readonly value: T; readonly sentAtMs: number; isReceived: boolean } | undefined;
  /** The update that was acked last: the one that may expire at the client. */
  #settled: { readonly nonce: string; readonly value: T } | undefined;
  #next: T | undefined;
  #sentCount = 0;
  /** Updates in a row that were replaced by newer ones because no ack came in time. */
  #unanswered = 0;
  /** From when the wait for the outstanding one counts: when it was sent, or when this process read again. */
  #waitsSinceMs = 0;
  #newest: VersionName = { term: 0, version: 0 };

  /** Nonces begin with `noncePrefix`, so that two outlets of one stream never give the same. */
  constructor(noncePrefix = "") {
    this.#noncePrefix = noncePrefix;
  }

  /** A version was published. Not newer than what is known already: ignored. */
  offer(value: T): void {
    if (!isNewer(value, this.#newest)) return;
    this.#newest = { term: value.term, version: value.version };
    this.#next = value;
  }

  /** The newest that was offered and not sent. */
  get next(): T | undefined {
    return this.#next;
  }

  /** The next one is not to be sent. */
  dropNext(): void {
    this.#next = undefined;
  }

  /** Sends `value` once more, unless a newer one is to be sent anyway. */
  repeat(value: T): void {
    this.#next ??= value;
  }

  /** What to send now with its nonce, or undefined. Taking it makes it the outstanding one. */
  take(nowMs: number): { readonly nonce: string; readonly value: T } | undefined {
    if (this.#next === undefined) return undefined;
    if (this.#outstanding !== undefined && nowMs - this.#outstanding.sentAtMs < limits.pushAckMaxMs) return undefined;
    if (this.#isOverdue(nowMs)) this.#unanswered += 1;
    this.#waitsSinceMs = nowMs;
    this.#sentCount += 1;
    const sent = { nonce: this.#noncePrefix + this.#sentCount.toString(36), value: this.#next, sentAtMs: nowMs, isReceived: false };
    this.#next = undefined;
    this.#outstanding = sent;
    return sent;
  }

  /** Updates in a row, up to the outstanding one, that were not answered within `limits.pushAckMaxMs`. "received" is no answer. */
  unanswered(nowMs: number): number {
    return this.#unanswered + (this.#isOverdue(nowMs) ? 1 : 0);
  }

  /** This process did not read until now: nobody is late for that. */
  excuse(nowMs: number): void {
    this.#waitsSinceMs = nowMs;
  }

  #isOverdue(nowMs: number): boolean {
    return this.#outstanding !== undefined && nowMs - this.#waitsSinceMs >= limits.pushAckMaxMs;
  }

  /**
   * An ack came. What it is about, or undefined when its nonce is none that may be acked: only the outstanding update is, and, with "expired", the one
   * acked before. Any status but "received" frees the way for the next. Each is said once of an update: every ack is recorded, so a client that repeats
   * one must not fill the store with it.
   */
  acked(nonce: string, status: "received" | "applied" | "rejected" | "expired"): T | undefined {
    const outstanding = this.#outstanding;
    if (outstanding?.nonce === nonce) {
      if (status === "received" && outstanding.isReceived) return undefined;
      outstanding.isReceived = true;
      if (status !== "received") {
        this.#unanswered = 0;
        this.#settled = status === "expired" ? undefined : outstanding;
        this.#outstanding = undefined;
      }
      return outstanding.value;
    }
    const settled = this.#settled;
    if (status !== "expired" || settled?.nonce !== nonce) return undefined;
    this.#settled = undefined;
    return settled.value;
  }
}

function isNewer(a: VersionName, b: VersionName): boolean {
  return a.term > b.term || (a.term === b.term && a.version > b.version);
}
