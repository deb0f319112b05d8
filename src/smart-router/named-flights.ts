import { limits } from "../platform/limits.js";
import type { Flight } from "./in-flight.js";

/**
 * Requests whose start events named decisions that are not known here: of another coordinator, mostly. What that one hears of them afterwards finds them here.
 * Of several that name one decision at one MCP the first counts.     Bound: `limits.routedPastMax`; the oldest go first.
 */
export class NamedFlights {
  readonly #flights = new Map<string, Flight>();
  /** Keys in a ring: a map that loses its oldest entry over and over walks its own gaps. */
  readonly #ring: string[] = [];
  #next = 0;

  add(decisionId: string, flight: Flight): void {
    const key = keyOf(decisionId, flight.mcpId);
    if (this.#flights.has(key)) return;
    const oldest = this.#ring[this.#next];
    if (oldest !== undefined) this.#flights.delete(oldest);
    this.#ring[this.#next] = key;
    this.#next = (this.#next + 1) % limits.routedPastMax;
    this.#flights.set(key, flight);
  }

  find(decisionId: string, mcpId: string): Flight | undefined {
    const found = this.#flights.get(keyOf(decisionId, mcpId));
    return found?.mcpId === mcpId ? found : undefined;
  }
}

function keyOf(decisionId: string, mcpId: string): string {
  return `${mcpId} ${decisionId}`;
}
