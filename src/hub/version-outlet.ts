import { limits } from "../platform/limits.js";

/** Names a table: compare (term, version) in that order. */
export type TableName = { readonly term: number; readonly version: number };

/**
 * Which routing table a session has, awaits, and may be sent next. One update is outstanding per stream; while it is, newer tables replace each
 * other. An update that is not acked in time no longer holds back a newer one, but is not sent again by itself.
 * Source: router.md 1.7, rules 1, 5, 7.
 */
export class RouteOutlet<T extends TableName> {
  #outstanding: { readonly nonce: string; readonly table: T; readonly sentAtMs: number } | undefined;
  /** The update that was acked last: the one whose table may expire at the client. */
  #settled: { readonly nonce: string; readonly table: T } | undefined;
  #next: T | undefined;
  #sentCount = 0;
  #newest: TableName = { term: 0, version: 0 };

  /** Version of the newest table that was offered. */
  get newestVersion(): number {
    return this.#newest.version;
  }

  /** A table was published. Older than what is known already: ignored. */
  offer(table: T): void {
    if (!isNewer(table, this.#newest)) return;
    this.#newest = { term: table.term, version: table.version };
    this.#next = table;
  }

  /** The table to send now with its nonce, or undefined. Taking it makes it the outstanding one. */
  take(nowMs: number): { readonly nonce: string; readonly table: T } | undefined {
    if (this.#next === undefined) return undefined;
    if (this.#outstanding !== undefined && nowMs - this.#outstanding.sentAtMs < limits.routingAckMaxMs) return undefined;
    this.#sentCount += 1;
    const sent = { nonce: this.#sentCount.toString(36), table: this.#next, sentAtMs: nowMs };
    this.#next = undefined;
    this.#outstanding = sent;
    return sent;
  }

  /**
   * An ack came. The table it is about, or undefined when its nonce is none that may be acked: only the outstanding update is, and, with "expired", the
   * one acked before. Any status but "received" frees the way for the next table.
   */
  acked(nonce: string, status: "received" | "applied" | "rejected" | "expired"): T | undefined {
    const outstanding = this.#outstanding;
    if (outstanding?.nonce === nonce) {
      if (status !== "received") {
        this.#settled = outstanding;
        this.#outstanding = undefined;
      }
      return outstanding.table;
    }
    return status === "expired" && this.#settled?.nonce === nonce ? this.#settled.table : undefined;
  }
}

function isNewer(a: TableName, b: TableName): boolean {
  return a.term > b.term || (a.term === b.term && a.version > b.version);
}
