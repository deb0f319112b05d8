import type { Fleet } from "../hub/fleet.js";
import type { Ingest } from "../ingest/ingest.js";
import { limits } from "../platform/limits.js";
import { mintUuidV7 } from "../platform/uuid-v7.js";
import { createExchange, type Exchange, type RemoteMcp } from "../smart-router/exchange.js";
import { type ForeignEnd, ForeignEnds } from "../smart-router/foreign-ends.js";
import type { Router } from "../smart-router/router.js";
import type { LocalSignalBook } from "../smart-router/signals/book.js";
import type { Store } from "../store/store.js";
import type { Ends, Machine } from "./machine.js";

type Parts = {
  readonly store: Store;
  readonly ingest: Ingest;
  readonly router: Router;
  readonly book: LocalSignalBook;
  readonly fleet: Pick<Fleet, "liveMcpIds">;
};

/** The exchange with other coordinators, ready to start, and the MCPs that are at them now. */
export type ComposedExchange = Exchange & { readonly remoteMcpIds: () => readonly string[] };

/** Makes MCPs at other coordinators targets of this one's router, and what is known of them part of its book. Start it before the ports open. */
export function composeExchange(machine: Machine, parts: Parts, ends: Ends): ComposedExchange {
  const { config, clock, log } = machine;
  const { store, ingest, router, book, fleet } = parts;
  const foreign = new ForeignEnds();
  const streams = new RemoteStreams(router);
  router.onDecision(({ decisionId }) => foreign.decided(decisionId));
  ingest.follow((events) => foreign.observe(events, clock.monotonicMs()));
  const exchange = createExchange({
    exchangeDigests: store.exchangeDigests,
    withdrawDigest: store.withdrawDigest,
    saveRouterState: store.saveRouterState,
    readRouterStates: store.readRouterStates,
    // The lock of the embedded store's directory admits one process.
    isAlone: store.kind === "embedded",
    book,
    held: () => {
      const nowMs = clock.monotonicMs();
      return [...fleet.liveMcpIds()].map((mcpId) => ({ mcpId, inFlight: router.mcp(mcpId, nowMs)?.inFlight ?? 0 }));
    },
    elsewhere: (mcps) => streams.become(mcps, clock.monotonicMs()),
    foreignEnds: () => foreign.recent(clock.monotonicMs()),
    ended: (told) => settle(router, told, clock.monotonicMs()),
    coordinatorId: config.server.coordinatorId,
    runId: mintUuidV7(),
    clock,
    log,
  });
  ends.add(() => exchange.close());
  return { ...exchange, remoteMcpIds: () => streams.mcpIds() };
}

function settle(router: Router, told: readonly ForeignEnd[], nowMs: number): void {
  for (const { decisionId, mcpId, success, durationMs, quality, errorCode } of told) {
    const result = success ? "ok" : "error";
    router.settle(decisionId, mcpId, { result, durationMs, quality, auditedQuality: undefined, cost: undefined, errorCode }, nowMs);
  }
}

/** Streams at other coordinators, as the router is told of them: one for each MCP, named after the coordinator that holds it. */
class RemoteStreams {
  readonly #router: Pick<Router, "streamOpened" | "streamClosed" | "suspect" | "reportLoad">;
  #known = new Map<string, RemoteMcp>();

  constructor(router: Pick<Router, "streamOpened" | "streamClosed" | "suspect" | "reportLoad">) {
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
      this.#router.suspect(mcp.mcpId, sessionId, mcp.ageMs > limits.routerDigestSuspectMs, nowMs);
      this.#router.reportLoad(mcp.mcpId, sessionId, { inFlight: mcp.inFlight, queued: 0, utilization: 0 }, nowMs);
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
