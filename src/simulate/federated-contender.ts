import type { Facts } from "../interaction/event.js";
import { assert } from "../platform/assert.js";
import type { RuleSettings } from "../smart-router/decide/settings.js";
import { ForeignAudits } from "../smart-router/foreign-audits.js";
import { ForeignEnds } from "../smart-router/foreign-ends.js";
import { wordOf } from "../smart-router/health/told.js";
import { type HeldMcp, Peers, type WrittenDigest } from "../smart-router/peers.js";
import { RemoteStreams, settleForeign } from "../smart-router/remote-streams.js";
import { plainTarget, type Router } from "../smart-router/router.js";
import { parseMemory } from "../smart-router/signals/memory-text.js";
import type { Contender, Dispatcher, DispatcherSurroundings } from "./dispatch.js";
import { createProcess, type Process, terminalOf } from "./router-contender.js";

type Written = { readonly digest: WrittenDigest; readonly atMs: number };

/** One coordinator of several: its process, the MCPs whose streams it holds, and what it knows of the others. */
type Coordinator = Process & {
  readonly held: Set<string>;
  readonly foreign: ForeignEnds;
  readonly peers: Peers;
  /** The time of the exchange under way. */
  readonly clock: { nowMs: number };
  /** Its last two words, the newer one first. */
  words: readonly Written[];
};

/**
 * Our own on several coordinators: each holds the streams of its share of the MCPs and decides its share of the requests. Events of an MCP go to whoever holds its
 * stream, whoever decided; what others know of it they know from digests, written once a second and read one second later, merged by the code of production.
 */
export function federatedContender(id: string, rule: Partial<RuleSettings> = {}): Contender {
  const createAll = (all: readonly DispatcherSurroundings[]): readonly Dispatcher[] => {
    const coordinators = all.map((surroundings) => begin(surroundings, rule));
    const placed = new Map<string, { readonly mcpId: string; readonly holder: Coordinator }>();
    let joined = 0;
    const holders = new Map<string, Coordinator>();
    return coordinators.map((own, index) => ({
      // The engine tells every coordinator of every stream; the first call of each decides who holds it.
      joined: (mcpId, capacity, nowMs) => {
        own.router.configure({ ...plainTarget(mcpId), maxConcurrent: capacity }, nowMs);
        if (index > 0) return;
        const holder = holders.get(mcpId) ?? coordinators[joined++ % coordinators.length];
        assert(holder !== undefined, "there is a coordinator");
        holders.set(mcpId, holder);
        holder.held.add(mcpId);
        holder.router.streamOpened(mcpId, sessionOf(mcpId), nowMs);
      },
      left: (mcpId, nowMs) => {
        if (own !== holders.get(mcpId)) return;
        own.held.delete(mcpId);
        own.router.streamClosed(mcpId, sessionOf(mcpId), "lost", nowMs);
      },
      dispatch: (request, nowMs) => {
        const selection = own.router.select(request, nowMs);
        if (selection.kind === "refused") return undefined;
        const { decisionId, chosen: mcpId } = selection.decision;
        own.foreign.decided(decisionId);
        const holder = holders.get(mcpId);
        assert(holder !== undefined, "somebody holds the stream of whom is chosen");
        placed.set(decisionId, { mcpId, holder });
        const { requestType, inputBytes, qualityLevel, privacyLevel } = request;
        const asked = { requestType, inputBytes, qualityLevel, privacyLevel, sessionId: "", userPseudonym: "" };
        observe(holder, mcpId, decisionId, { kind: "start", routingDecisionId: decisionId, ...asked }, nowMs);
        return { mcpId, token: decisionId };
      },
      ended: (token, told, nowMs) => {
        const place = placed.get(token);
        placed.delete(token);
        if (place === undefined || told.isSilent) return;
        observe(place.holder, place.mcpId, token, terminalOf(told), nowMs);
        if (told.auditedQuality !== undefined) own.router.audit(token, told.auditedQuality, nowMs);
      },
      tick: (nowMs) => {
        own.router.tick(nowMs);
        exchange(own, coordinators, nowMs);
      },
      inFlight: () => {
        const { openLeases, openInteractions } = own.router.figures();
        return openLeases + openInteractions;
      },
      figures: () => {
        const { decisions, explorations, panicDecisions, ejections, expired } = own.router.figures();
        return { decisions, explorations, panicDecisions, ejections, expired };
      },
    }));
  };
  return {
    id,
    createAll,
    create: (surroundings) => {
      const [only] = createAll([surroundings]);
      assert(only !== undefined, "one dispatcher for one coordinator");
      return only;
    },
  };
}

const sessionOf = (mcpId: string): string => `session of ${mcpId}`;

function begin(surroundings: DispatcherSurroundings, rule: Partial<RuleSettings>): Coordinator {
  const coordinatorId = `c${surroundings.coordinator}`;
  const { router, book } = createProcess(surroundings, { rule }, { aheadMs: 0, drift: 0 }, `${coordinatorId}-decision`);
  const held = new Set<string>();
  const foreign = new ForeignEnds();
  const audits = new ForeignAudits({ learn: router.learnAudit, lost: (count) => assert(count === 0, "every audit is learned from") });
  router.onForeignAudit((audit) => audits.add(audit));
  const streams = new RemoteStreams(router);
  const clock = { nowMs: 0 };
  const peers = new Peers(
    {
      book,
      held: () => heldBy(held, router, clock.nowMs),
      elsewhere: (mcps) => streams.become(mcps, clock.nowMs),
      foreignEnds: () => foreign.recent(clock.nowMs),
      ended: (ends, writtenAtMs) => settleForeign(router, ends, writtenAtMs, clock.nowMs),
      audits,
      parse: ({ body }) => parseMemory(body),
      coordinatorId,
      runId: "run",
    },
    0,
  );
  return { router, book, held, foreign, peers, clock, words: [] };
}

function heldBy(held: ReadonlySet<string>, router: Router, nowMs: number): readonly HeldMcp[] {
  return [...held].sort().map((mcpId) => {
    const mcp = router.mcp(mcpId, nowMs);
    return { mcpId, inFlight: mcp?.inFlight ?? 0, ...wordOf(mcp?.state, mcp?.isSuspect ?? false) };
  });
}

/** Writes the own word, and takes over those that the others wrote in the second before: each has the same age for everyone, whoever comes first. */
function exchange(own: Coordinator, all: readonly Coordinator[], nowMs: number): void {
  own.clock.nowMs = nowMs;
  own.words = [{ digest: own.peers.write(nowMs), atMs: nowMs }, ...own.words.slice(0, 1)];
  for (const other of all) {
    const read = other === own ? undefined : other.words.find(({ atMs }) => atMs < nowMs);
    if (read !== undefined) own.peers.hear(read.digest, read.atMs, nowMs);
  }
  own.peers.apply(nowMs);
}

/** An event of an MCP reaches the coordinator that holds its stream. */
function observe({ router, foreign }: Coordinator, mcpId: string, interactionId: string, facts: Facts, nowMs: number): void {
  const event = { mcpId, interactionId, facts };
  router.observe([event], nowMs);
  foreign.observe([event], nowMs);
}
