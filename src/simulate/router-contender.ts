import { assert } from "../platform/assert.js";
import { limits } from "../platform/limits.js";
import { createRouter } from "../smart-router/create-router.js";
import { createQualityTailLoad, qualityTailLoadId } from "../smart-router/decide/quality-tail-load.js";
import type { RuleSettings } from "../smart-router/decide/settings.js";
import { plainTarget, type Router } from "../smart-router/router.js";
import { createSignalBook, type LocalSignalBook } from "../smart-router/signals/book.js";
import { parseMemory, renderMemory } from "../smart-router/signals/memory-text.js";
import { type SignalBookSettings, signalDefaults } from "../smart-router/signals/settings.js";
import type { Contender, DispatcherSurroundings, EndReport } from "./dispatch.js";

/** What of our router is to be other than in service. */
export type RouterChanges = { readonly rule?: Partial<RuleSettings>; readonly signals?: Partial<SignalBookSettings> };

/** What happens to the coordinator itself, or to clocks, in a run. */
export type Course = {
  /** The coordinator's wall clock is ahead by this much, and runs faster by this share; an MCP tells its durations times this factor, in whole microseconds. */
  readonly clocks?: {
    readonly coordinatorAheadMs: number;
    readonly coordinatorDrift: number;
    readonly durationFactor: (mcpId: string) => number;
  };
  /** The process ends at `atMs`, and a new one begins with the memory that was written `memoryAgeMs` before; undefined: with none. */
  readonly restart?: { readonly atMs: number; readonly memoryAgeMs: number | undefined };
};

/** Wall clock at the beginning of a run: any time will do. */
const wallAtStartMs = 1_700_000_000_000;
const capacityDefault = 10;

/** The router as a coordinator has it, with the signals that it decides on. */
export function createSimulatedRouter(surroundings: Pick<DispatcherSurroundings, "choices">, changes: RouterChanges = {}): Router {
  return createProcess(surroundings, changes, { aheadMs: 0, drift: 0 }, "decision").router;
}

/** A coordinator's process, as far as it routes. `name` begins the names of its decisions. */
export type Process = { readonly router: Router; readonly book: LocalSignalBook };

export function createProcess(
  surroundings: Pick<DispatcherSurroundings, "choices">,
  changes: RouterChanges,
  wall: { readonly aheadMs: number; readonly drift: number },
  name: string,
): Process {
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
      wallMs: () => wallAtStartMs + wall.aheadMs + nowMs * (1 + wall.drift),
      mintDecisionId: () => `${name}-${minted++}`,
    },
    { maxConcurrentDefault: capacityDefault, policyId: qualityTailLoadId, shadowPolicyIds: [] },
  );
  const timed: Router = {
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
  return { router: timed, book };
}

/** Takes what `memory` tells, as of `ageMs` ago, as a coordinator does that begins. */
function remember(book: LocalSignalBook, memory: string, ageMs: number, nowMs: number): void {
  const parsed = parseMemory(memory);
  assert(parsed !== undefined, "a memory can be read by the program that wrote it");
  book.restoreShared(parsed.shared, nowMs);
  for (const digest of parsed.mcps) book.restore(digest, ageMs, nowMs);
}

/**
 * Our own: the router of production behind its own door. It learns of a request by the start event that names the decision, and of its end by the terminal event, or by
 * the end of the lease where an MCP says nothing any more.
 */
export function routerContender(
  id: string,
  changes: RouterChanges = {},
  watch: (router: Router) => void = () => {},
  { clocks, restart }: Course = {},
): Contender {
  return {
    id,
    create: (surroundings) => {
      const begin = (name: string): Process =>
        createProcess(surroundings, changes, { aheadMs: clocks?.coordinatorAheadMs ?? 0, drift: clocks?.coordinatorDrift ?? 0 }, name);
      let { router, book } = begin("decision");
      watch(router);
      const capacityOf = new Map<string, number>();
      let memory: string | undefined;
      let isRestarted = false;
      const open = (mcpId: string, nowMs: number): void => {
        router.configure({ ...plainTarget(mcpId), maxConcurrent: capacityOf.get(mcpId) }, nowMs);
        const session = `session-${sessions++}`;
        sessionOf.set(mcpId, session);
        router.streamOpened(mcpId, session, nowMs);
      };
      /** Another process in place of this one: streams come back at once, and MCPs tell how much they have open. */
      const restartNow = (nowMs: number, memoryAgeMs: number | undefined): void => {
        isRestarted = true;
        ({ router, book } = begin("after"));
        if (memory !== undefined && memoryAgeMs !== undefined) remember(book, memory, memoryAgeMs, nowMs);
        for (const mcpId of [...sessionOf.keys()].sort()) {
          open(mcpId, nowMs);
          const inFlight = [...placed.values()].filter((other) => other === mcpId).length;
          router.reportLoad(mcpId, sessionOf.get(mcpId) ?? "", { inFlight, queued: 0, utilization: 0 }, nowMs);
        }
      };
      const tellDuration = (mcpId: string, durationMs: number | undefined): number | undefined =>
        clocks === undefined || durationMs === undefined
          ? durationMs
          : Math.round(durationMs * clocks.durationFactor(mcpId) * 1_000) / 1_000;
      const placed = new Map<string, string>();
      let sessions = 0;
      const sessionOf = new Map<string, string>();
      return {
        joined: (mcpId, capacity, nowMs) => {
          capacityOf.set(mcpId, capacity);
          open(mcpId, nowMs);
        },
        left: (mcpId, nowMs) => {
          router.streamClosed(mcpId, sessionOf.get(mcpId) ?? "", "lost", nowMs);
          sessionOf.delete(mcpId);
        },
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
        ended: (token, told, nowMs) => {
          const mcpId = placed.get(token);
          placed.delete(token);
          if (mcpId === undefined || told.isSilent) return;
          const report = { ...told, durationMs: tellDuration(mcpId, told.durationMs) };
          // Events tell no cost; whoever asked for the decision can.
          if (report.cost !== undefined) {
            const { result, durationMs, quality, auditedQuality, cost } = report;
            router.settle(token, mcpId, { result, durationMs, quality, auditedQuality, cost, errorCode: "" }, nowMs);
            return;
          }
          router.observe([{ mcpId, interactionId: token, facts: terminalOf(report) }], nowMs);
          if (report.auditedQuality !== undefined) router.audit(token, report.auditedQuality, nowMs);
        },
        tick: (nowMs) => {
          router.tick(nowMs);
          if (restart === undefined || isRestarted) return;
          const { atMs, memoryAgeMs } = restart;
          if (memory === undefined && nowMs >= atMs - (memoryAgeMs ?? 0)) memory = memoryOf(book, nowMs);
          if (nowMs >= atMs) restartNow(nowMs, memoryAgeMs);
        },
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

/** What a coordinator writes down for the time after a restart. */
function memoryOf(book: LocalSignalBook, nowMs: number): string {
  const held = book.ownMcpIds().map((mcpId) => ({ mcpId, inFlight: 0 }));
  return renderMemory(book, held, nowMs, limits.signalCellsPerMcpMax, limits.routerStateMaxBytes).text;
}

/** The terminal event of an end. */
export function terminalOf({ result, durationMs, quality }: EndReport) {
  const errorCode = result === "ok" ? "" : result === "error" ? "FAILED" : "DEADLINE_EXCEEDED";
  return { kind: "terminal", success: result === "ok", durationMs, qualityScore: quality, errorCode, adapterUsed: "" } as const;
}
