import type { NewEvent } from "../interaction/event.js";
import { parseUuidV7 } from "../platform/uuid-v7.js";
import { type AuditHandlers, createAuditHandlers } from "../rpc/routing-audit.js";
import { type ConfigHandlers, createConfigHandlers } from "../rpc/routing-config.js";
import { createDecisionHandlers, type DecisionHandlers } from "../rpc/routing-decisions.js";
import { createSelectHandlers, type SelectHandlers } from "../rpc/routing-select.js";
import type { RoutingFigures } from "../rpc/routing-stats.js";
import { type ConfigBook, createConfigBook } from "../smart-router/control/config-book.js";
import { createDecisionLog } from "../smart-router/log/decision-log.js";
import { createMadeDecisions } from "../smart-router/log/made-decisions.js";
import { createShadowTally } from "../smart-router/log/shadow-tally.js";
import type { Router, TargetConfig } from "../smart-router/router.js";
import type { RouteBook } from "../smart-router/table.js";
import { type Store, StoreFault } from "../store/store.js";
import type { Ends, Machine } from "./machine.js";

export type DecisionParts = {
  readonly router: Router;
  readonly knownPolicyIds: ReadonlySet<string>;
  readonly defaults: { readonly policyId: string; readonly shadowPolicyIds: readonly string[] };
  /** What an MCP registered with, or `plainTarget`. */
  readonly baseOf: (mcpId: string) => TargetConfig;
  readonly routes: Pick<RouteBook, "current">;
  readonly store: Store;
};

/** The log of decisions, the configuration of operators, and the RPCs over both. */
export type Decisions = {
  readonly handlers: SelectHandlers & AuditHandlers & DecisionHandlers & ConfigHandlers;
  readonly config: ConfigBook;
  /** Stored events: start events link decisions to interactions, and those that mean another MCP's decision are counted. */
  readonly follow: (events: readonly NewEvent[]) => void;
  readonly figures: () => RoutingFigures;
};

export function composeDecisions(machine: Machine, parts: DecisionParts, ends: Ends): Decisions {
  const { clock, log } = machine;
  const { router, knownPolicyIds, defaults, baseOf, routes, store } = parts;
  const { coordinatorId } = machine.config.server;
  const made = createMadeDecisions();
  const tally = createShadowTally();
  const decisionLog = createDecisionLog({
    recordDecisions: store.recordDecisions,
    recordOutcomes: store.recordOutcomes,
    isHopeless: (thrown) => !(thrown instanceof StoreFault) || thrown.kind === "poison",
    clock,
    log,
  });
  ends.add(() => decisionLog.close());
  router.onOutcome(decisionLog.ended);
  const book = createConfigBook({
    read: store.readRoutingConfig,
    write: store.writeRoutingConfig,
    router,
    baseOf,
    knownPolicyIds,
    defaults,
    coordinatorId,
    clock,
    log,
  });
  ends.add(() => book.close());
  const context = () => {
    const table = routes.current();
    return {
      coordinatorId,
      configVersion: Math.max(0, book.current().version),
      weightsTerm: table?.term ?? 0,
      weightsVersion: table?.version ?? 0,
    };
  };
  return {
    handlers: {
      ...createSelectHandlers({ router, made, log: decisionLog, tally, context, clock }),
      ...createAuditHandlers({ router, log: decisionLog, clock }),
      ...createDecisionHandlers({ store, log: decisionLog, clock }),
      ...createConfigHandlers({ book, tally, store, knownPolicyIds }),
    },
    config: book,
    follow: (events) => {
      for (const { mcpId, interactionId, facts } of events) {
        if (facts.kind !== "start" || facts.routingDecisionId === "") continue;
        // A decision of another coordinator is linked too: the link counts only for the MCP that was chosen.
        const decisionId = parseUuidV7(facts.routingDecisionId);
        const verdict = made.judgeStart(decisionId ?? facts.routingDecisionId, mcpId);
        if (decisionId !== undefined && verdict !== "foreign") decisionLog.started(decisionId, mcpId, interactionId);
      }
    },
    figures: () => ({
      router: router.figures(),
      starts: made.counts(),
      log: decisionLog.figures(),
      config: book.current(),
      agreements: tally.agreements(),
    }),
  };
}
