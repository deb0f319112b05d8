import { limits } from "../../platform/limits.js";
import { addStart, type OpenStarts, removeStart } from "./open-starts.js";

/** What became of a request that has ended: what its MCP said of the quality, and whether its lease ran out before it told anything. */
export type Past = { readonly mcpId: string; readonly self: number | undefined; readonly isExpired: boolean };

type Open = { readonly mcpId: string; readonly startedAtMs: number; readonly starts: readonly OpenStarts[] };

/** Requests that are open, and ids of those that have ended, so that a repeated word changes nothing. Bounds: `limits`; the oldest go first. */
export class OpenRequests {
  readonly #open = new Map<string, Open>();
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

  open(decisionId: string, mcpId: string, startedAtMs: number, starts: readonly OpenStarts[]): void {
    if (this.#open.size >= this.#openMax) {
      for (const [oldest] of this.#open) {
        this.#close(oldest);
        break;
      }
    }
    this.#open.set(decisionId, { mcpId, startedAtMs, starts });
    for (const one of starts) addStart(one, startedAtMs);
  }

  end(decisionId: string, past: Past): void {
    this.#close(decisionId);
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

  #close(decisionId: string): void {
    const open = this.#open.get(decisionId);
    if (open === undefined) return;
    this.#open.delete(decisionId);
    for (const one of open.starts) removeStart(one, open.startedAtMs);
  }
}
