import type { Ingest } from "../ingest/ingest.js";
import { mintUuidV7 } from "../platform/uuid-v7.js";
import { createRouter } from "../smart-router/create-router.js";
import { qualityTailLoadId } from "../smart-router/decide/quality-tail-load.js";
import { policyFactories } from "../smart-router/policies.js";
import type { Router } from "../smart-router/router.js";
import { createSignalBook } from "../smart-router/signals/book.js";
import { signalDefaults } from "../smart-router/signals/settings.js";
import type { Ends, Machine } from "./machine.js";

/** How often the router is told that time passes. Unit: ms. */
const tickMs = 1_000;

/** The router over what is stored: it observes every committed event, and time passes for it. */
export function startRouter(machine: Machine, ingest: Ingest, ends: Ends): Router {
  const { config, clock, rng } = machine;
  const router = createRouter(
    {
      book: createSignalBook({ ...signalDefaults, wallOffsetMs: clock.nowMs() - clock.monotonicMs() }),
      policies: policyFactories,
      rng,
      wallMs: clock.nowMs,
      mintDecisionId: mintUuidV7,
    },
    { maxConcurrentDefault: config.routing.maxConcurrentDefault, policyId: qualityTailLoadId, shadowPolicyIds: [] },
  );
  ingest.follow((events) => router.observe(events, clock.monotonicMs()));
  let cancelTimer = (): void => {};
  const tick = (): void => {
    router.tick(clock.monotonicMs());
    cancelTimer = clock.after(tickMs, tick);
  };
  tick();
  ends.add(() => cancelTimer());
  return router;
}
