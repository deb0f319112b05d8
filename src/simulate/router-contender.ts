import { createRouter } from "../smart-router/create-router.js";
import { createQualityTailLoad, qualityTailLoadId } from "../smart-router/decide/quality-tail-load.js";
import type { RuleSettings } from "../smart-router/decide/settings.js";
import { plainTarget, type Router } from "../smart-router/router.js";
import { createSignalBook } from "../smart-router/signals/book.js";
import { type SignalBookSettings, signalDefaults } from "../smart-router/signals/settings.js";
import type { Contender, DispatcherSurroundings, EndReport } from "./dispatch.js";

/** What of our router is to be other than in service. */
export type RouterChanges = { readonly rule?: Partial<RuleSettings>; readonly signals?: Partial<SignalBookSettings> };

/** Wall clock at the beginning of a run: any time will do. */
const wallAtStartMs = 1_700_000_000_000;
const capacityDefault = 10;

/** The router as a coordinator has it, with the signals that it decides on. */
export function createSimulatedRouter(surroundings: Pick<DispatcherSurroundings, "choices">, changes: RouterChanges = {}): Router {
  let minted = 0;
  let nowMs = 0;
  const capacities = new Map<string, number>();
  const book = createSignalBook(
    { ...signalDefaults, ...changes.signals },
    { capacityOf: (mcpId) => capacities.get(mcpId) ?? capacityDefault },
  );
  const router = createRouter(
    {
      book,
      policies: new Map([[qualityTailLoadId, (read) => createQualityTailLoad(read, changes.rule)]]),
      rng: surroundings.choices,
      wallMs: () => wallAtStartMs + nowMs,
      mintDecisionId: () => `decision-${minted++}`,
    },
    { maxConcurrentDefault: capacityDefault, policyId: qualityTailLoadId, shadowPolicyIds: [] },
  );
  return {
    ...router,
    configure: (config, atMs) => {
      if (config.maxConcurrent !== undefined) capacities.set(config.mcpId, config.maxConcurrent);
      router.configure(config, atMs);
    },
    select: (request, atMs) => {
      nowMs = atMs;
      return router.select(request, atMs);
    },
  };
}

/**
 * Our own: the router of production behind its own door. It learns of a request by the start event that names the decision, and of its end by the terminal event, or by
 * the end of the lease where an MCP says nothing any more.
 */
export function routerContender(id: string, changes: RouterChanges = {}, watch: (router: Router) => void = () => {}): Contender {
  return {
    id,
    create: (surroundings) => {
      const router = createSimulatedRouter(surroundings, changes);
      watch(router);
      const placed = new Map<string, string>();
      let sessions = 0;
      const sessionOf = new Map<string, string>();
      return {
        joined: (mcpId, capacity, nowMs) => {
          router.configure({ ...plainTarget(mcpId), maxConcurrent: capacity }, nowMs);
          const session = `session-${sessions++}`;
          sessionOf.set(mcpId, session);
          router.streamOpened(mcpId, session, nowMs);
        },
        left: (mcpId, nowMs) => router.streamClosed(mcpId, sessionOf.get(mcpId) ?? "", "lost", nowMs),
        dispatch: (request, nowMs) => {
          const selection = router.select(request, nowMs);
          if (selection.kind === "refused") return undefined;
          const { decisionId, chosen } = selection.decision;
          placed.set(decisionId, chosen);
          const { requestType, inputBytes, qualityLevel, privacyLevel } = request;
          const start = { requestType, inputBytes, qualityLevel, privacyLevel, sessionId: "", userPseudonym: "" };
          router.observe(
            [{ mcpId: chosen, interactionId: decisionId, facts: { kind: "start", routingDecisionId: decisionId, ...start } }],
            nowMs,
          );
          return { mcpId: chosen, token: decisionId };
        },
        ended: (token, report, nowMs) => {
          const mcpId = placed.get(token);
          placed.delete(token);
          if (mcpId === undefined || report.isSilent) return;
          // Events tell no cost; whoever asked for the decision can.
          if (report.cost !== undefined) {
            const { result, durationMs, quality, auditedQuality, cost } = report;
            router.settle(token, mcpId, { result, durationMs, quality, auditedQuality, cost, errorCode: "" }, nowMs);
            return;
          }
          router.observe([{ mcpId, interactionId: token, facts: terminalOf(report) }], nowMs);
          if (report.auditedQuality !== undefined) router.audit(token, report.auditedQuality, nowMs);
        },
        tick: (nowMs) => router.tick(nowMs),
        inFlight: () => {
          const { openLeases, openInteractions } = router.figures();
          return openLeases + openInteractions;
        },
        figures: () => {
          const { decisions, explorations, panicDecisions, ejections, expired } = router.figures();
          return { decisions, explorations, panicDecisions, ejections, expired };
        },
      };
    },
  };
}

function terminalOf({ result, durationMs, quality }: EndReport) {
  const errorCode = result === "ok" ? "" : result === "error" ? "FAILED" : "DEADLINE_EXCEEDED";
  return { kind: "terminal", success: result === "ok", durationMs, qualityScore: quality, errorCode, adapterUsed: "" } as const;
}
