import { limits } from "../platform/limits.js";
import type { ForeignEnd } from "./foreign-ends.js";
import type { RemoteMcp } from "./peers.js";
import type { Router } from "./router.js";

type Told = Pick<Router, "streamOpened" | "streamClosed" | "suspect" | "reportLoad" | "reportHealth">;

/** Streams at other coordinators, as the router is told of them: one for each MCP, named after the coordinator that holds it. */
export class RemoteStreams {
  readonly #router: Told;
  #known = new Map<string, RemoteMcp>();

  constructor(router: Told) {
    this.#router = router;
  }

  mcpIds(): readonly string[] {
    return [...this.#known.keys()];
  }

  /** Opens what is new first, so that an MCP that moves is never without a stream. */
  become(mcps: readonly RemoteMcp[], nowMs: number): void {
    const now = new Map(mcps.map((mcp) => [mcp.mcpId, mcp]));
    for (const mcp of mcps) {
      const before = this.#known.get(mcp.mcpId);
      const sessionId = sessionOf(mcp);
      if (before === undefined || sessionOf(before) !== sessionId) this.#router.streamOpened(mcp.mcpId, sessionId, nowMs);
      this.#router.suspect(mcp.mcpId, sessionId, mcp.isSuspect || mcp.ageMs > limits.routerDigestSuspectMs, nowMs);
      const load = { inFlight: mcp.inFlight, queued: 0, utilization: 0, toldAtMs: nowMs - mcp.ageMs };
      this.#router.reportLoad(mcp.mcpId, sessionId, load, nowMs);
      this.#router.reportHealth(mcp.mcpId, sessionId, mcp.health, nowMs - mcp.ageMs + limits.routerDigestMaxAgeMs, nowMs);
    }
    for (const [mcpId, before] of this.#known) {
      const after = now.get(mcpId);
      if (after !== undefined && sessionOf(after) === sessionOf(before)) continue;
      // Its coordinator tells of it no longer: it left, or it is here or elsewhere now. Only a coordinator that fell silent is a loss.
      this.#router.streamClosed(mcpId, sessionOf(before), before.ageMs > limits.routerDigestSuspectMs ? "lost" : "orderly", nowMs);
    }
    this.#known = now;
  }
}

const sessionOf = ({ coordinatorId }: RemoteMcp): string => `at ${coordinatorId}`;

/**
 * Ends decisions of this coordinator whose MCPs reported to another one, as of when they ended there. `writtenAtMs`: when the word was written that tells of them; an end of which it does not say how long
 * ago it was cannot have been later.
 */
export function settleForeign(router: Pick<Router, "settle">, told: readonly ForeignEnd[], writtenAtMs: number, nowMs: number): void {
  for (const { decisionId, mcpId, success, durationMs, quality, errorCode, agoMs } of told) {
    const result = success ? "ok" : "error";
    const endedAtMs = writtenAtMs - (agoMs !== undefined && agoMs > 0 ? agoMs : 0);
    const report = { result, durationMs, quality, auditedQuality: undefined, cost: undefined, errorCode, endedAtMs } as const;
    router.settle(decisionId, mcpId, report, nowMs);
  }
}
