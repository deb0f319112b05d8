import type postgres from "postgres";
import type { Settled } from "../../src/client/options.js";
import type { ClientRoutes } from "../../src/client/routes.js";
import { describeClose } from "../../src/client/session.js";
import { createStreamSession, type StreamSession } from "../../src/client/stream-session.js";
import { parseMcpId } from "../../src/interaction/event.js";
import { type Rng, seededRng } from "../../src/platform/rng.js";
import { type Audit, addAudits, audit, claim, emptyAudit, type Violation } from "./audit.js";
import { EventLedger } from "./ledger.js";
import { type PlannedReport, type PlanShares, planInteraction, unruly } from "./plan.js";
import { readPage } from "./read-store.js";
import { sleep } from "./site.js";

export type LoadOptions = {
  readonly target: string;
  readonly sessions: number;
  /** Reports per second over all sessions; what the windows do not take waits. */
  readonly perSecond: number;
  readonly seed: number;
  /** Names of MCPs and producers begin with it: loads on one database must not share it. */
  readonly name: string;
  readonly shares?: PlanShares;
  readonly key?: string;
  /** Of each so many acks, one is checked at once through another connection: is the row there now? */
  readonly witnessEvery?: number;
  readonly admin?: postgres.Sql;
};

/** One loss of a connection, as its session lived it: from the loss, and from the attempt that succeeded, to the next ack. Milliseconds. */
export type Gap = { readonly lossToAckMs: number; readonly reconnectToAckMs: number };

/** Reports that a session keeps on their way; above it the load waits for it. */
const heldMax = 3_000;
const tickMs = 20;
/** At 2 000 reports/s and more, one acks in this number is read back at once. */
const witnessDefault = 500;

/** One MCP of the load. */
type Reporter = {
  readonly session: StreamSession;
  readonly mcpId: string;
  readonly rng: Rng;
  queue: PlannedReport[];
  interactions: number;
  lostAtMs: number | undefined;
  connectingAtMs: number;
  routes: ClientRoutes | undefined;
};

/**
 * A fleet of real sessions that report planned events until they are told to stop, and a ledger of what they were told. What is reported follows from the
 * seed; when, and in which commit it lands, does not.
 */
export class Load implements AsyncDisposable {
  readonly ledger = new EventLedger();
  readonly gaps: Gap[] = [];
  readonly violations: Violation[] = [];
  /** Latencies of acks since the last `takeLatencies`, at most 100 000.     Units: ms. */
  #latencies: number[] = [];
  readonly #options: LoadOptions;
  readonly #reporters: Reporter[];
  readonly #timer: NodeJS.Timeout;
  #isReporting = false;
  #round = 0;
  #budget = 0;
  #turn = 0;
  #lastTickMs = performance.now();
  #rowsSeen = 0;
  #witnessed = 0;
  readonly #witnesses = new Set<Promise<void>>();

  constructor(options: LoadOptions) {
    this.#options = options;
    const seeds = seededRng(options.seed);
    this.#reporters = Array.from({ length: options.sessions }, (_, index) =>
      this.#openReporter(index, seededRng(Math.floor(seeds() * 2 ** 32))),
    );
    this.#timer = setInterval(() => this.#tick(), tickMs);
  }

  get mcpIds(): readonly string[] {
    return this.#reporters.map((reporter) => reporter.mcpId);
  }
  get sessionCount(): number {
    return this.#reporters.length;
  }
  get unresolvedCount(): number {
    return this.#reporters.reduce((sum, { session }) => sum + session.unresolvedCount, 0);
  }
  get reconnects(): number {
    return this.#reporters.reduce((sum, { session }) => sum + session.counters.reconnects, 0);
  }

  /** Begins a round: a fresh page of the ledger, and interactions of its own. */
  start(): void {
    this.#round += 1;
    this.#isReporting = true;
    this.#lastTickMs = performance.now();
  }

  /** Stops reporting and waits until nothing is unresolved. False when that took too long, which breaks I8. */
  async settle(maxMs: number): Promise<boolean> {
    this.#isReporting = false;
    // What is left of interactions is not reported: the ledger's page holds what was.
    for (const reporter of this.#reporters) reporter.queue = [];
    const untilMs = performance.now() + maxMs;
    while (this.unresolvedCount > 0 && performance.now() < untilMs) await sleep(20);
    await Promise.all(this.#witnesses);
    return this.unresolvedCount === 0;
  }

  /** Ack latencies since the last call, in ms, unsorted. */
  takeLatencies(): number[] {
    const taken = this.#latencies;
    this.#latencies = [];
    return taken;
  }

  /** Audits the round's page against the store and turns it. Call when settled. */
  async auditRound(sql: postgres.Sql, hasCommitTimes: boolean, isSettled: boolean): Promise<Audit> {
    const prefix = this.#prefix();
    const page = this.ledger.turnPage();
    const { rows, interactions } = await readPage(sql, this.mcpIds, prefix, hasCommitTimes);
    this.#rowsSeen += rows.length;
    let found = audit(page, rows, interactions);
    const unsettled = isSettled
      ? undefined
      : `${this.unresolvedCount} events have no verdict long after the fault: ${this.#describeStuck()}`;
    found = addAudits(found, claim("I8", unsettled, this.#reporters.length));
    found = addAudits(found, { ...emptyAudit, checked: { I3: this.#witnessed }, violations: this.violations.splice(0) });
    this.#witnessed = 0;
    return found;
  }

  /** At the end of all rounds: no row of ours may be there that no round has seen. */
  async auditTotal(sql: postgres.Sql): Promise<Audit> {
    const [row] = await sql<
      { count: number }[]
    >`SELECT count(*)::int AS count FROM interaction_event WHERE mcp_id IN ${sql([...this.mcpIds])}`;
    const count = row?.count ?? 0;
    return claim("I2", count === this.#rowsSeen ? undefined : `${count} rows in all, and the rounds saw ${this.#rowsSeen}`);
  }

  /** Drops what the rounds have audited, so that long runs keep to a bounded disk. Only while nothing is unresolved. */
  async forgetRows(sql: postgres.Sql): Promise<void> {
    await sql`TRUNCATE interaction_event, interaction`;
    this.#rowsSeen = 0;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#timer);
    await Promise.all(this.#reporters.map(({ session }) => session.close()));
  }

  #prefix(): string {
    return `r${String(this.#round).padStart(6, "0")}-`;
  }

  #openReporter(index: number, rng: Rng): Reporter {
    const mcpId = parseMcpId(`${this.#options.name}-${index}`);
    const session = createStreamSession({
      endpoint: { target: this.#options.target, key: this.#options.key },
      mcpId,
      producerId: `${mcpId}-producer`,
      batchEvents: index % 2 === 0 ? 64 : 8,
      ackMode: index % 5 === 4 ? "each" : "coalesced",
      closeMaxMs: 2_000,
      rng,
      onSettled: (settled) => this.#settled(reporter, settled),
      onRoutes: (routes) => this.#checkRoutes(reporter, routes),
      onState: (state) => {
        if (state.kind === "connecting") reporter.connectingAtMs = performance.now();
        if (state.kind === "disconnected" || state.kind === "draining") reporter.lostAtMs ??= performance.now();
        if (state.kind === "closed" && state.why.kind !== "done" && state.why.kind !== "abandoned")
          this.violations.push({ invariant: "I8", what: `the session of ${mcpId} ended for good: ${describeClose(state.why)}` });
      },
    });
    const reporter: Reporter = {
      session,
      mcpId,
      rng,
      queue: [],
      interactions: 0,
      lostAtMs: undefined,
      connectingAtMs: 0,
      routes: undefined,
    };
    return reporter;
  }

  #settled(reporter: Reporter, settled: Settled): void {
    this.ledger.settle(settled, Date.now());
    if (settled.learnt !== "ack") return;
    if (this.#latencies.length < 100_000) this.#latencies.push(settled.latencyMs);
    if (reporter.lostAtMs !== undefined) {
      const nowMs = performance.now();
      this.gaps.push({ lossToAckMs: nowMs - reporter.lostAtMs, reconnectToAckMs: nowMs - reporter.connectingAtMs });
      reporter.lostAtMs = undefined;
    }
    const isDue = this.ledger.ackedTotal % (this.#options.witnessEvery ?? witnessDefault) === 0;
    if (isDue && settled.verdict === "stored" && this.#options.admin !== undefined)
      this.#witness(this.#options.admin, reporter.mcpId, settled.eventId);
  }

  /** I3: what is acknowledged is visible to another connection at once. */
  #witness(sql: postgres.Sql, mcpId: string, eventId: string): void {
    const looking: Promise<void> = (async () => {
      try {
        const rows = await sql`SELECT 1 FROM interaction_event WHERE event_id = ${eventId}::uuid AND mcp_id = ${mcpId}`;
        this.#witnessed += 1;
        if (rows.length === 0)
          this.violations.push({ invariant: "I3", what: `${eventId} was acknowledged and another connection does not see it` });
      } catch {
        // The loop's edge: the server is down by intent. The audit of the round looks at the same event again.
      }
    })();
    this.#witnesses.add(looking);
    void looking.then(() => this.#witnesses.delete(looking));
  }

  /** I9: a table that comes into force is never older than the one before. */
  #checkRoutes(reporter: Reporter, routes: ClientRoutes | undefined): void {
    const before = reporter.routes;
    if (
      routes !== undefined &&
      before !== undefined &&
      (routes.term < before.term || (routes.term === before.term && routes.version < before.version))
    )
      this.violations.push({
        invariant: "I9",
        what: `${reporter.mcpId} went from ${before.term}/${before.version} to ${routes.term}/${routes.version}`,
      });
    if (routes !== undefined) reporter.routes = routes;
  }

  #tick(): void {
    const nowMs = performance.now();
    const passedMs = Math.min(1_000, nowMs - this.#lastTickMs);
    this.#lastTickMs = nowMs;
    if (!this.#isReporting) return;
    this.#budget = Math.min(this.#options.perSecond, this.#budget + (this.#options.perSecond * passedMs) / 1_000);
    for (let idle = 0; this.#budget >= 1 && idle < this.#reporters.length; ) {
      const reporter = this.#reporters[this.#turn++ % this.#reporters.length];
      if (reporter === undefined || !this.#reportSome(reporter, Math.min(16, this.#budget))) idle += 1;
      else this.#budget -= 16;
    }
  }

  #reportSome(reporter: Reporter, count: number): boolean {
    const { session, mcpId } = reporter;
    if (session.state.kind === "closed" || session.unresolvedCount > heldMax) return false;
    for (let left = count; left > 0; left -= 1) {
      const next = reporter.queue.shift() ?? this.#planNext(reporter);
      if (session.report(next.init) === undefined) {
        reporter.queue.unshift(next);
        return false;
      }
      if (!next.isRival) this.ledger.note(next.planned, mcpId, session.producerId);
    }
    return true;
  }

  #planNext(reporter: Reporter): PlannedReport {
    const interactionId = `${this.#prefix()}${reporter.interactions++}`;
    const [first, ...others] = planInteraction(reporter.rng, interactionId, Date.now(), this.#options.shares ?? unruly);
    if (first === undefined) throw new Error("an interaction has an end at least");
    reporter.queue.push(...others);
    return first;
  }

  #describeStuck(): string {
    const stuck = this.#reporters.filter(({ session }) => session.unresolvedCount > 0).slice(0, 3);
    return stuck
      .map(
        ({ mcpId, session }) =>
          `${mcpId} ${session.state.kind} ${session.unresolvedCount} (${session.lastFailure?.details ?? "no failure"})`,
      )
      .join("; ");
  }
}
