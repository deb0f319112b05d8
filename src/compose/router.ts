import type { Config } from "../config/schema.js";
import type { FleetWatch } from "../hub/presence.js";
import type { Ingest } from "../ingest/ingest.js";
import { mintUuidV7 } from "../platform/uuid-v7.js";
import { createRouter } from "../smart-router/create-router.js";
import { qualityTailLoadId } from "../smart-router/decide/quality-tail-load.js";
import { policyFactories } from "../smart-router/policies.js";
import type { Router } from "../smart-router/router.js";
import { createSignalBook, type LocalSignalBook } from "../smart-router/signals/book.js";
import { signalDefaults } from "../smart-router/signals/settings.js";
import type { Ends, Machine } from "./machine.js";

/** How often the router is told that time passes. Unit: ms. */
const tickMs = 1_000;

/** The decision plane, which hears every stored event and every session. */
export function startRouter(machine: Machine, ingest: Ingest, ends: Ends): { readonly router: Router; readonly book: LocalSignalBook } {
  const { config, clock, rng } = machine;
  const { maxConcurrentDefault } = config.routing;
  const book: LocalSignalBook = createSignalBook(
    { ...signalDefaults, objectiveMs: objectivesOf(config), wallOffsetMs: clock.nowMs() - clock.monotonicMs() },
    { capacityOf: (mcpId) => router.maxConcurrentOf(mcpId), costOf: (mcpId) => router.costOf(mcpId) },
  );
  const router: Router = createRouter(
    {
      book,
      policies: policyFactories,
      rng,
      wallMs: clock.nowMs,
      mintDecisionId: mintUuidV7,
    },
    { maxConcurrentDefault, priorityDefault: config.registry.priority, policyId: qualityTailLoadId, shadowPolicyIds: [] },
  );
  ingest.follow((events) => router.observe(events, clock.monotonicMs()));
  let cancel = clock.after(tickMs, tick);
  function tick(): void {
    router.tick(clock.monotonicMs());
    cancel = clock.after(tickMs, tick);
  }
  ends.add(() => cancel());
  return { router, book };
}

/** Latency objectives in ms by request type, as the signals take them. */
export function objectivesOf({ routing }: Pick<Config, "routing">): ReadonlyMap<string, number> {
  return new Map(Object.entries(routing.objectives));
}

/** What the hub tells of its sessions, as the router takes it. */
export function watchFor(router: Router, { clock }: Pick<Machine, "clock">): FleetWatch {
  return {
    opened: (mcpId, sessionId) => router.streamOpened(mcpId, sessionId, clock.monotonicMs()),
    closed: (mcpId, sessionId, how) => router.streamClosed(mcpId, sessionId, how, clock.monotonicMs()),
    suspected: (mcpId, sessionId, isSuspect) => router.suspect(mcpId, sessionId, isSuspect, clock.monotonicMs()),
    reported: (mcpId, sessionId, load) => router.reportLoad(mcpId, sessionId, load, clock.monotonicMs()),
    strained: (mcpId, sessionId, strain) => router.reportStrain(mcpId, sessionId, strain, clock.monotonicMs()),
  };
}
