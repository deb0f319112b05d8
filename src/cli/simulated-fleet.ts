import type { Endpoint } from "../client/connect.js";
import { createLatencies, type Latencies } from "../client/latencies.js";
import type { LedgerFile } from "../client/ledger-file.js";
import type { ClientRoutes } from "../client/routes.js";
import { createStreamSession, type StreamSession } from "../client/stream-session.js";
import { type EventInit, encodeEvent } from "../client/wire/frames.js";
import { durationOf, timestampOf } from "../client/wire/time.js";
import type { Clock } from "../platform/clock.js";
import type { Rng } from "../platform/rng.js";
import { mintUuidV7 } from "../platform/uuid-v7.js";
import { DueHeap } from "./due-heap.js";
import { type Character, drawByWeight, poisson, processingMs } from "./simulated-mcp.js";

/** One MCP of the fleet as the view shows it. Rates are over the newest window. */
export type McpFigures = {
  readonly mcpId: string;
  readonly trait: string;
  readonly state: string;
  /** Basis points of the table in force; undefined before the first. */
  readonly weight: number | undefined;
  readonly isWarming: boolean;
  readonly requestsPerSecond: number;
  /** 0 to 1; 0 when nothing ended. */
  readonly errorShare: number;
};

/** The fleet at one moment. Rates and quantiles are over the newest window; totals since the start. */
export type FleetFigures = {
  readonly elapsedMs: number;
  readonly mcps: readonly McpFigures[];
  readonly routesVersion: bigint | undefined;
  readonly routesReason: string;
  readonly acksPerSecond: number;
  readonly ackP50Ms: number;
  readonly ackP99Ms: number;
  readonly totals: FleetTotals;
};

export type FleetTotals = {
  readonly interactions: number;
  readonly reported: number;
  readonly stored: number;
  readonly rejected: number;
  readonly unresolved: number;
  readonly reconnects: number;
  readonly routeTables: number;
  /** Events that were not reported because an outbox was full: the demo rather skips than waits. */
  readonly skipped: number;
};

/** What a fleet needs of the world. `ledger` is told of every event and every verdict. */
export type FleetDeps = { readonly clock: Clock; readonly rng: Rng; readonly ledger: LedgerFile | undefined };

type Simulated = { readonly character: Character; readonly session: StreamSession; started: number; ended: number; failed: number };
type Ending = { readonly mcp: Simulated; readonly id: string; readonly tookMs: number; readonly isError: boolean };
type Mark = { readonly atMs: number; readonly acks: number; readonly mcps: readonly { started: number; ended: number; failed: number }[] };

/** Requests a second that are routed over the fleet by its weights. */
const routedPerSecond = 60;
/** Figures are over the last 5 s: ten draws of the view. */
const marksMax = 10;
/** Rates over less than this would only show the first request. */
const windowMinSeconds = 1;
/** Small: a demo on a laptop should not hold a hundred thousand events when its store stops. */
const outboxBounds = { maxEvents: 10_000, maxBytes: 16 * 1024 * 1024 };

/** Simulated MCPs with real streams, and a gateway in front of them that follows the weights which the coordinator publishes. */
export class SimulatedFleet {
  readonly #clock: Clock;
  readonly #rng: Rng;
  readonly #ledger: LedgerFile | undefined;
  readonly #mcps: readonly Simulated[];
  readonly #endings = new DueHeap<Ending>();
  readonly #startedAtMs: number;
  readonly #overall = createLatencies();
  #recent: Latencies[] = [createLatencies()];
  #marks: Mark[] = [];
  #advancedMs = 0;
  #routes: ClientRoutes | undefined;
  #routeTables = 0;
  #interactions = 0;
  #skipped = 0;
  #acks = 0;

  constructor({ clock, rng, ledger }: FleetDeps, endpoint: Endpoint, characters: readonly Character[]) {
    this.#clock = clock;
    this.#rng = rng;
    this.#ledger = ledger;
    this.#startedAtMs = clock.monotonicMs();
    this.#mcps = characters.map((character) => ({
      character,
      session: this.#openSession(character, endpoint),
      started: 0,
      ended: 0,
      failed: 0,
    }));
    this.mark();
  }

  get elapsedMs(): number {
    return this.#clock.monotonicMs() - this.#startedAtMs;
  }
  /** Ack latencies since the start. */
  get latencies(): Latencies {
    return this.#overall;
  }

  /** Plays everything that was due since the last call. */
  advance(): void {
    const nowMs = this.elapsedMs;
    const seconds = (nowMs - this.#advancedMs) / 1000;
    this.#advancedMs = nowMs;
    for (let ending = this.#due(nowMs); ending !== undefined; ending = this.#due(nowMs)) this.#end(ending);
    const weights = this.#mcps.map(({ character }) => this.#weightOf(character.mcpId)?.weight ?? 0);
    for (let left = poisson(routedPerSecond * seconds, this.#rng); left > 0; left--) {
      const chosen = this.#mcps[drawByWeight(weights, this.#rng)];
      if (chosen !== undefined) this.#start(chosen, nowMs);
    }
    for (const mcp of this.#mcps) {
      const own = poisson(mcp.character.at(nowMs).ownPerSecond * seconds, this.#rng);
      for (let left = own; left > 0; left--) this.#start(mcp, nowMs);
    }
  }

  /** Ends one window of the figures and begins the next; called at the pace of the view. */
  mark(): void {
    const mcps = this.#mcps.map(({ started, ended, failed }) => ({ started, ended, failed }));
    this.#marks.push({ atMs: this.elapsedMs, acks: this.#acks, mcps });
    this.#recent.push(createLatencies());
    if (this.#marks.length > marksMax) this.#marks.shift();
    if (this.#recent.length > marksMax) this.#recent.shift();
  }

  figures(): FleetFigures {
    const oldest = this.#marks[0];
    const seconds = Math.max(windowMinSeconds, (this.elapsedMs - (oldest?.atMs ?? 0)) / 1000);
    const recent = createLatencies();
    for (const window of this.#recent) recent.add(window);
    return {
      elapsedMs: this.elapsedMs,
      mcps: this.#mcps.map((mcp, index) => this.#figuresOf(mcp, oldest?.mcps[index], seconds)),
      routesVersion: this.#routes?.version,
      routesReason: this.#routes?.reason ?? "",
      acksPerSecond: (this.#acks - (oldest?.acks ?? 0)) / seconds,
      ackP50Ms: recent.quantile(0.5),
      ackP99Ms: recent.quantile(0.99),
      totals: this.#totals(),
    };
  }

  /** Waits for outstanding acks and ends all streams. */
  async close(): Promise<void> {
    await Promise.all(this.#mcps.map(({ session }) => session.close()));
  }

  #figuresOf(mcp: Simulated, then: { started: number; ended: number; failed: number } | undefined, seconds: number): McpFigures {
    const ended = mcp.ended - (then?.ended ?? 0);
    const route = this.#weightOf(mcp.character.mcpId);
    return {
      mcpId: mcp.character.mcpId,
      trait: mcp.character.trait,
      state: mcp.session.state.kind,
      weight: route?.weight,
      isWarming: route?.state === "warming",
      requestsPerSecond: (mcp.started - (then?.started ?? 0)) / seconds,
      errorShare: ended === 0 ? 0 : (mcp.failed - (then?.failed ?? 0)) / ended,
    };
  }

  #totals(): FleetTotals {
    const totals = { reported: 0, stored: 0, rejected: 0, unresolved: 0, reconnects: 0 };
    for (const { session } of this.#mcps) {
      const counters = session.counters;
      totals.reported += counters.reported;
      totals.stored += counters.stored + counters.duplicate;
      totals.rejected += counters.rejected;
      totals.unresolved += session.unresolvedCount;
      totals.reconnects += counters.reconnects;
    }
    return { ...totals, interactions: this.#interactions, routeTables: this.#routeTables, skipped: this.#skipped };
  }

  #openSession(character: Character, endpoint: Endpoint): StreamSession {
    return createStreamSession({
      endpoint,
      mcpId: character.mcpId,
      instanceVersion: "demo",
      outbox: outboxBounds,
      closeMaxMs: 3_000,
      onSettled: (settled) => {
        const { learnt, latencyMs } = settled;
        this.#ledger?.settled(settled);
        this.#acks++;
        if (learnt !== "ack") return;
        this.#overall.record(latencyMs);
        this.#recent.at(-1)?.record(latencyMs);
      },
      onRoutes: (routes) => this.#applyRoutes(routes),
    });
  }

  /** All streams are pushed the same table; it counts once. */
  #applyRoutes(routes: ClientRoutes | undefined): void {
    if (routes !== undefined && routes.version === this.#routes?.version) return;
    if (routes !== undefined) this.#routeTables++;
    this.#routes = routes;
  }

  #weightOf(mcpId: string) {
    return this.#routes?.routes.find((route) => route.mcpId === mcpId);
  }

  #due(nowMs: number): Ending | undefined {
    const dueMs = this.#endings.nextDueMs;
    return dueMs !== undefined && dueMs <= nowMs ? this.#endings.pop()?.value : undefined;
  }

  #start(mcp: Simulated, nowMs: number): void {
    const behaviour = mcp.character.at(nowMs);
    const id = mintUuidV7();
    if (!this.#report(mcp, id, { case: "start", value: { requestType: "demo", inputBytes: 1_024n } })) return;
    this.#interactions++;
    mcp.started++;
    const tookMs = processingMs(behaviour, this.#rng);
    this.#endings.push(nowMs + tookMs, { mcp, id, tookMs, isError: this.#rng() < behaviour.errorShare });
  }

  #end({ mcp, id, tookMs, isError }: Ending): void {
    mcp.ended++;
    if (isError) mcp.failed++;
    const processingTime = durationOf(tookMs);
    const error = {
      errorType: "UpstreamError",
      errorCode: "UPSTREAM_FAILED",
      errorMessage: "the model answered 500",
      retryable: true,
      processingTime,
    };
    this.#report(mcp, id, isError ? { case: "error", value: error } : { case: "complete", value: { processingTime, outputBytes: 4_096n } });
  }

  #report(mcp: Simulated, interactionId: string, detail: NonNullable<EventInit["detail"]>): boolean {
    const isOver = mcp.session.state.kind === "closed";
    const eventId = mintUuidV7();
    const event = { eventId, interactionId, occurredAt: timestampOf(this.#clock.nowMs()), detail };
    // Before it can be on its way.
    if (!isOver) this.#ledger?.sent(eventId, mcp.character.mcpId, interactionId, encodeEvent(event));
    if (!isOver && mcp.session.report(event) !== undefined) return true;
    this.#skipped++;
    return false;
  }
}
