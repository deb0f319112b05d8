import type { Facts } from "../interaction/event.js";
import { limits } from "../platform/limits.js";
import { RecentNames } from "./recent-names.js";

/** How a request ended that another coordinator decided and whose MCP reports here. Fields that the MCP did not tell are missing. */
export type ForeignEnd = {
  readonly decisionId: string;
  readonly mcpId: string;
  readonly success: boolean;
  readonly durationMs?: number | undefined;
  readonly quality?: number | undefined;
  readonly errorCode: string;
  /** How long before the word that tells of it; undefined in words of versions that did not say. Unit: ms. */
  readonly agoMs?: number | undefined;
};

type Event = { readonly mcpId: string; readonly interactionId: string; readonly facts: Facts };

/** How long an end is told: a peer that exchanges as seldom as it may reads it twice. Unit: ms. */
const toldForMs = 10_000;

/**
 * Which interactions run here for decisions of others, and how they ended. The coordinator that decided holds a lease on them and hears no events of an MCP whose
 * stream is here: without this its leases would run out, and count as failures.
 * Bounds: `limits.openRequestsMax` own decisions and as many interactions, `limits.foreignEndsMax` ends; the oldest go first.
 */
export class ForeignEnds {
  readonly #own = new RecentNames(limits.openRequestsMax);
  readonly #running = new Map<string, string>();
  #ends: { readonly end: ForeignEnd; readonly atMs: number }[] = [];

  /** A decision of this coordinator: it hears of its end by itself, or from whoever tells. */
  decided(decisionId: string): void {
    this.#own.add(decisionId);
  }

  observe(events: readonly Event[], nowMs: number): void {
    for (const { mcpId, interactionId, facts } of events) {
      if (facts.kind === "start") {
        const { routingDecisionId } = facts;
        if (routingDecisionId !== "" && !this.#own.has(routingDecisionId)) this.#run(keyOf(mcpId, interactionId), routingDecisionId);
        continue;
      }
      if (facts.kind === "progress" || this.#running.size === 0) continue;
      const key = keyOf(mcpId, interactionId);
      const decisionId = this.#running.get(key);
      if (decisionId === undefined) continue;
      this.#running.delete(key);
      const { success, durationMs, qualityScore: quality, errorCode } = facts;
      this.#ends.push({ end: { decisionId, mcpId, success, durationMs, quality, errorCode }, atMs: nowMs });
      if (this.#ends.length > limits.foreignEndsMax) this.#ends.shift();
    }
  }

  /** Ends of the last ten seconds, oldest first. */
  recent(nowMs: number): readonly ForeignEnd[] {
    this.#ends = this.#ends.filter(({ atMs }) => nowMs - atMs <= toldForMs);
    return this.#ends.map(({ end, atMs }) => ({ ...end, agoMs: Math.max(0, Math.round(nowMs - atMs)) }));
  }

  #run(key: string, decisionId: string): void {
    if (this.#running.size >= limits.openRequestsMax) {
      for (const oldest of this.#running.keys()) {
        this.#running.delete(oldest);
        break;
      }
    }
    this.#running.set(key, decisionId);
  }
}

const keyOf = (mcpId: string, interactionId: string): string => JSON.stringify([mcpId, interactionId]);
