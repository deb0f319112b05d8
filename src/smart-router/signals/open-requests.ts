import { limits } from "../../platform/limits.js";
import { addStart, type OpenStarts, removeStart } from "./open-starts.js";

/** What became of a request that has ended: what its MCP said of the quality, and whether its lease ran out before it told anything. */
export type Past = { readonly mcpId: string; readonly self: number | undefined; readonly isExpired: boolean };

type Open = { readonly decisionId: string; readonly startedAtMs: number; readonly starts: readonly OpenStarts[] };

/** So many entries of the queue may be of requests that are open no longer, besides as many as are open, before they are taken out. */
const closedInQueueMax = 64;

/** Requests that are open, and ids of those that have ended, so that a repeated word changes nothing. Bounds: `limits`; the oldest go first. */
export class OpenRequests {
  readonly #open = new Map<string, Open>();
  /** What was opened, oldest first, from `#queueHead`; of it, what has been closed is passed over. A Map is slow to find its first entry when many before it are gone. */
  #queue: Open[] = [];
  #queueHead = 0;
  readonly #past = new Map<string, Past>();
  /** Ids of `#past` in a ring: a Map that loses its first entry again and again grows slow. */
  readonly #pastIds: string[] = [];
  #pastNext = 0;
  readonly #openMax: number;
  readonly #pastMax: number;

  constructor(openMax: number = limits.openRequestsMax, pastMax: number = limits.endedRequestsMax) {
    this.#openMax = openMax;
    this.#pastMax = pastMax;
  }

  get size(): number {
    return this.#open.size;
  }

  isKnown(decisionId: string): boolean {
    return this.#open.has(decisionId) || this.#past.has(decisionId);
  }

  pastOf(decisionId: string): Past | undefined {
    return this.#past.get(decisionId);
  }

  open(decisionId: string, startedAtMs: number, starts: readonly OpenStarts[]): void {
    if (this.#open.size >= this.#openMax) {
      const oldest = this.#takeOldest();
      if (oldest !== undefined) this.#close(oldest.decisionId);
    }
    const open = { decisionId, startedAtMs, starts };
    this.#open.set(decisionId, open);
    this.#queue.push(open);
    if (this.#queue.length > 2 * this.#open.size + closedInQueueMax) this.#shortenQueue();
    for (const one of starts) addStart(one, startedAtMs);
  }

  /** `past` undefined: no other word of it can follow, so it takes no place among those that are remembered. */
  end(decisionId: string, past: Past | undefined): void {
    this.#close(decisionId);
    if (past === undefined) return;
    if (!this.#past.has(decisionId)) {
      const oldest = this.#pastIds[this.#pastNext];
      if (oldest !== undefined) this.#past.delete(oldest);
      this.#pastIds[this.#pastNext] = decisionId;
      this.#pastNext = (this.#pastNext + 1) % this.#pastMax;
    }
    this.#past.set(decisionId, past);
  }

  /** A request that was never sent: as if it had not been. */
  cancel(decisionId: string): void {
    this.#close(decisionId);
  }

  /** The request that has been open for longest; it is in the queue no more. */
  #takeOldest(): Open | undefined {
    while (this.#queueHead < this.#queue.length) {
      const oldest = this.#queue[this.#queueHead];
      this.#queueHead += 1;
      if (oldest !== undefined && this.#open.get(oldest.decisionId) === oldest) return oldest;
    }
    return undefined;
  }

  /** Costs as much as what was added since the last time. */
  #shortenQueue(): void {
    this.#queue = this.#queue.slice(this.#queueHead).filter((open) => this.#open.get(open.decisionId) === open);
    this.#queueHead = 0;
  }

  #close(decisionId: string): void {
    const open = this.#open.get(decisionId);
    if (open === undefined) return;
    this.#open.delete(decisionId);
    for (const one of open.starts) removeStart(one, open.startedAtMs);
  }
}
