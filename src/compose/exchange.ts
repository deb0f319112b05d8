import type { Fleet } from "../hub/fleet.js";
import type { Ingest } from "../ingest/ingest.js";
import { mintUuidV7 } from "../platform/uuid-v7.js";
import { createExchange, type Exchange } from "../smart-router/exchange.js";
import { ForeignAudits } from "../smart-router/foreign-audits.js";
import { ForeignEnds } from "../smart-router/foreign-ends.js";
import { wordOf } from "../smart-router/health/told.js";
import { RemoteStreams, settleForeign } from "../smart-router/remote-streams.js";
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
  const audits = new ForeignAudits({
    learn: router.learnAudit,
    lost: (count) =>
      log.warn({ audits: count }, "audits were not learned from: no coordinator that holds the MCP's stream has acknowledged them"),
  });
  const streams = new RemoteStreams(router);
  router.onForeignAudit((audit) => audits.add(audit));
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
      return [...fleet.liveMcpIds()].map((mcpId) => {
        const mcp = router.mcp(mcpId, nowMs);
        return { mcpId, inFlight: mcp?.inFlight ?? 0, ...wordOf(mcp?.state, mcp?.isSuspect ?? false) };
      });
    },
    elsewhere: (mcps) => streams.become(mcps, clock.monotonicMs()),
    foreignEnds: () => foreign.recent(clock.monotonicMs()),
    audits,
    ended: (told, writtenAtMs) => settleForeign(router, told, writtenAtMs, clock.monotonicMs()),
    coordinatorId: config.server.coordinatorId,
    runId: mintUuidV7(),
    clock,
    log,
  });
  ends.add(() => exchange.close());
  return { ...exchange, remoteMcpIds: () => streams.mcpIds() };
}
