import { CoordinatorError } from "../platform/errors.js";
import { limits } from "../platform/limits.js";
import { seededRng } from "../platform/rng.js";
import { createQualityTailLoad } from "./decide/quality-tail-load.js";
import { decisionOf, policyHashOf } from "./decided.js";
import type { Decision, DecisionOutcome, Selection } from "./decision.js";
import { Flights } from "./flights.js";
import { FleetHealth, type HealthChange } from "./health/fleet-health.js";
import { type HealthSettings, healthDefaults } from "./health/settings.js";
import {
  addStream,
  type CountStillOpen,
  dropStream,
  expectInFlight,
  forgetOldReport,
  placesTakenOf,
  strainOf,
  strainStream,
  suspectStream,
  takeReport,
} from "./in-flight.js";
import { LineUp, type Player } from "./line-up.js";
import { type Member, maxConcurrentOf, targetOf, viewOf } from "./member.js";
import { mismatchOf, type Offer, offerOf } from "./offer.js";
import type { Choice } from "./policy.js";
import { Prices } from "./prices.js";
import { classOf, type RouteRequest } from "./request.js";
import { Roster } from "./roster.js";
import type { LearntAudit, Router, RouterDeps, RouterFigures, SelectionSettings } from "./router.js";

/** Those who want to hear of something. */
class Listeners<T> {
  readonly #hearers = new Set<(told: T) => void>();

  readonly add = (hear: (told: T) => void): (() => void) => {
    const own = (told: T): void => hear(told);
    this.#hearers.add(own);
    return () => this.#hearers.delete(own);
  };

  tell(told: T): void {
    for (const hear of this.#hearers) hear(told);
  }
}

/**
 * A router without MCPs. Deterministic: the same calls with the same times, randomness and names give the same decisions.
 * Errors: `not_found` when a policy of the settings has no factory.     Source: decide/SPEC.md, health/SPEC.md.
 */
export function createRouter(deps: RouterDeps, settings: SelectionSettings, health: HealthSettings = healthDefaults): Router {
  const selection = new SelectionDesk(deps, settings, health);
  return selection.router();
}

/** The state behind a Router. */
class SelectionDesk {
  readonly #deps: RouterDeps;
  readonly #settings: SelectionSettings & { readonly health: HealthSettings };
  readonly #decisions = new Listeners<Decision>();
  readonly #outcomes = new Listeners<DecisionOutcome>();
  readonly #foreignAudits = new Listeners<LearntAudit>();
  readonly #healthChanges = new Listeners<HealthChange>();
  readonly #lineUp: LineUp;
  /** Chooses when there is no time for taste: in a panic, whatever policy is in force. */
  readonly #panic: Player;
  readonly #health: FleetHealth;
  readonly #flights: Flights;
  readonly #roster: Roster;
  readonly #prices = new Prices();
  readonly #counts = { decisions: 0, explorations: 0, refusedUnavailable: 0, refusedBusy: 0, panicDecisions: 0 };

  constructor(deps: RouterDeps, settings: SelectionSettings, health: HealthSettings) {
    this.#deps = deps;
    this.#settings = { ...settings, health };
    this.#lineUp = new LineUp(deps.policies, deps.book, settings.policyId, settings.shadowPolicyIds);
    const panic = createQualityTailLoad(deps.book);
    this.#panic = { policy: panic, hash: policyHashOf(panic) };
    this.#health = new FleetHealth(health, deps.rng, (change) => {
      const member = this.#roster.get(change.mcpId);
      if (member !== undefined) member.target = undefined;
      this.#healthChanges.tell(change);
    });
    this.#roster = new Roster((member) => {
      this.#health.forget(member);
      this.#prices.set(member.mcpId, undefined);
    }, settings.priorityDefault ?? 0);
    this.#flights = new Flights({
      book: deps.book,
      lineUp: this.#lineUp,
      health: this.#health,
      slowFactor: health.slowFactor,
      memberOf: (mcpId) => this.#roster.get(mcpId),
      outcome: (outcome) => this.#outcomes.tell(outcome),
      handOver: (audit) => this.#foreignAudits.tell(audit),
    });
  }

  router(): Router {
    const view = (member: Member, nowMs: number) => viewOf(member, this.#settings.maxConcurrentDefault, nowMs, this.#settings.health);
    return {
      select: (request, nowMs) => this.#select(request, nowMs),
      release: (decisionId, mcpId, nowMs) => this.#flights.release(decisionId, mcpId, nowMs),
      settle: (decisionId, mcpId, report, nowMs) => this.#settle(decisionId, mcpId, report, nowMs),
      audit: (decisionId, quality, nowMs) => this.#flights.audit(decisionId, quality, nowMs),
      learnAudit: (audit) => this.#flights.learnAudit(audit),
      configure: (config, nowMs) => this.#configure(config, nowMs),
      streamOpened: (mcpId, sessionId, nowMs) => this.#streamOpened(mcpId, sessionId, nowMs),
      streamClosed: (mcpId, sessionId, how, nowMs) => this.#streamClosed(mcpId, sessionId, how, nowMs),
      suspect: (mcpId, sessionId, isSuspect) => {
        const member = this.#roster.get(mcpId);
        if (member !== undefined) suspectStream(member.load, sessionId, { isSilent: isSuspect });
      },
      reportStrain: (mcpId, sessionId, strain, nowMs) => {
        const member = this.#roster.get(mcpId);
        if (member === undefined) return;
        strainStream(member.load, sessionId, strain, this.#settings.health.unansweredTablesMax);
        this.#health.strained(member, strainOf(member.load), nowMs);
      },
      reportLoad: (mcpId, sessionId, { inFlight, toldAtMs }, nowMs) => {
        const member = this.#roster.get(mcpId);
        if (member === undefined) return;
        takeReport(member.load, sessionId, inFlight, nowMs, toldAtMs);
        this.#expectLoad(member, nowMs);
        member.target = undefined;
      },
      reportHealth: (mcpId, sessionId, told, untilMs, nowMs) => {
        const member = this.#roster.get(mcpId);
        if (member?.load.streams.has(sessionId)) this.#health.told(member, sessionId, told, untilMs, nowMs);
      },
      observe: (events, receivedAtMonoMs) => this.#observe(events, receivedAtMonoMs),
      tick: (nowMs) => this.#tick(nowMs),
      switchPolicy: (policyId) => this.#lineUp.switchTo(policyId),
      setShadows: (policyIds) => this.#lineUp.setShadows(policyIds),
      policy: () => {
        const { policy, hash } = this.#lineUp.inForce;
        return { policyId: policy.id, policyHash: hash, shadowPolicyIds: this.#lineUp.shadowIds };
      },
      mcps: (nowMs) => this.#roster.members.map((member) => view(member, nowMs)),
      mcp: (mcpId, nowMs) => {
        const member = this.#roster.get(mcpId);
        return member && view(member, nowMs);
      },
      maxConcurrentOf: (mcpId) => this.#roster.get(mcpId)?.config.maxConcurrent ?? this.#settings.maxConcurrentDefault,
      costOf: (mcpId) => this.#prices.of(mcpId),
      weightSignals: (nowMs) => this.#deps.book.readWeights(this.#mcpIds(), nowMs),
      figures: () => this.#figures(),
      onDecision: this.#decisions.add,
      onOutcome: this.#outcomes.add,
      onForeignAudit: this.#foreignAudits.add,
      onHealth: this.#healthChanges.add,
    };
  }

  #select(request: RouteRequest, nowMs: number): Selection {
    const seed = Math.floor(this.#deps.rng() * 4_294_967_296);
    for (const member of this.#roster.members) this.#expectLoad(member, nowMs);
    const probed = request.isIdempotent && !request.noExplore ? this.#dueForProbe(request, nowMs) : undefined;
    const offer = probed === undefined ? this.#offer(request, seed, nowMs) : probeOffer(this.#targetOf(probed, nowMs));
    if (offer.targets.length === 0) return { kind: "refused", error: this.#refusal(offer) };
    const player = offer.kind === "panic" ? this.#panic : this.#lineUp.inForce;
    const choice = probed === undefined ? player.policy.choose(request, offer.targets, nowMs, seededRng(seed)) : probeChoice(probed.mcpId);
    const member = this.#roster.get(choice.mcpId);
    if (member === undefined)
      throw new CoordinatorError("broken", "internal error", { reason: "INTERNAL", cause: `${player.policy.id} chose a stranger` });
    const leaseMs = Math.min(limits.leaseMaxMs, Math.max(member.leaseMs, request.deadlineMs ?? 0));
    const decision = decisionOf({
      decisionId: this.#deps.mintDecisionId(),
      atMs: this.#deps.wallMs(),
      atMonoMs: nowMs,
      policyId: player.policy.id,
      policyHash: player.hash,
      request,
      requestClass: classOf(request),
      seed,
      offer,
      choice,
      shadow: this.#lineUp.askShadows(request, offer.targets, offer.tierShare, nowMs, seed),
      leaseMs,
    });
    if (probed !== undefined) this.#health.probeSent(probed, nowMs);
    const how = { isProbe: probed !== undefined, isExploration: choice.isExploration };
    this.#flights.reserve(member, decision.decisionId, request, decision.requestClass, leaseMs, how, nowMs);
    this.#counts.decisions += 1;
    if (choice.isExploration) this.#counts.explorations += 1;
    if (offer.kind === "panic") this.#counts.panicDecisions += 1;
    this.#decisions.tell(decision);
    return { kind: "decided", decision };
  }

  #offer(request: RouteRequest, seed: number, nowMs: number): Offer {
    // The tier has a draw of its own, so that the policy's numbers are the same whether there are tiers or not.
    return offerOf(this.#roster.members, request, this.#settings, nowMs, () => seededRng(seed ^ tierSeedMask)());
  }

  /** Of an MCP at another coordinator ends are heard late: what it has by now is an expectation. */
  #expectLoad(member: Member, nowMs: number): void {
    if (member.load.expected === undefined) return;
    const { stillOpen } = this.#deps.book;
    const countStillOpen: CountStillOpen = (flights, toldAtMs) =>
      stillOpen?.(member.mcpId, flights, toldAtMs, nowMs) ?? { mean: flights.length, variance: 0 };
    const everyMs = Math.max(expectEveryMinMs, member.p50Ms / expectPerMedian);
    if (expectInFlight(member.load, countStillOpen, everyMs, nowMs)) member.target = undefined;
  }

  /** The MCP that has waited longest for a probe. */
  #dueForProbe(request: RouteRequest, nowMs: number): Member | undefined {
    if (this.#health.shutOutCount === 0) return undefined;
    let due: Member | undefined;
    for (const member of this.#roster.members) {
      if (!this.#health.isProbeDue(member, nowMs) || mismatchOf(member, request) !== undefined) continue;
      if (placesTakenOf(member.load) >= maxConcurrentOf(member, this.#settings.maxConcurrentDefault)) continue;
      if (due === undefined || member.standing.probedAtMs < due.standing.probedAtMs) due = member;
    }
    return due;
  }

  #refusal({ kind, excluded }: Offer): CoordinatorError {
    const metadata: Record<string, string> = {};
    for (const { because } of excluded) metadata[because] = String(Number(metadata[because] ?? 0) + 1);
    if (kind === "full") {
      this.#counts.refusedBusy += 1;
      // After a median latency of the fastest half of what is running there has ended.
      let fastest: number = limits.selectRetryMaxMs;
      for (const { member } of excluded) if (member.p50Ms > 0) fastest = Math.min(fastest, member.p50Ms);
      const retryAfterMs = Math.min(limits.selectRetryMaxMs, Math.max(retryMinMs, Math.ceil(fastest)));
      return new CoordinatorError("busy", "every MCP that could serve the request is full", {
        reason: "FLEET_FULL",
        retryAfterMs,
        metadata,
      });
    }
    this.#counts.refusedUnavailable += 1;
    const known = Object.entries(metadata).map(([because, count]) => `${because}: ${count}`);
    const why = known.length === 0 ? "none is known yet" : known.join(", ");
    return new CoordinatorError("unavailable", `no MCP that could serve the request is connected and fit (${why})`, {
      reason: "NO_ELIGIBLE_MCP",
      retryAfterMs: limits.selectRetryMaxMs,
      metadata,
    });
  }

  #settle(...[decisionId, mcpId, report, nowMs]: Parameters<Router["settle"]>): boolean {
    const flight = this.#flights.open(decisionId);
    const member = this.#roster.get(mcpId);
    if (flight === undefined || member === undefined || flight.mcpId !== mcpId) return false;
    if (report.result === "released") return this.#flights.release(decisionId, mcpId, nowMs);
    this.#flights.end(member, flight, { ...report, atMs: nowMs });
    return true;
  }

  #configure(...[config, nowMs]: Parameters<Router["configure"]>): void {
    const member = this.#roster.admit(config.mcpId, config.isExpected, nowMs);
    if (member === undefined) return;
    const wasDraining = member.config.isDraining;
    member.config = config;
    member.target = undefined;
    this.#prices.set(config.mcpId, config.costPerRequest);
    if (config.isDraining && !wasDraining) this.#health.drained(member, nowMs);
    else if (!config.isDraining && wasDraining) this.#health.resumed(member, nowMs);
  }

  #streamOpened(mcpId: string, sessionId: string, nowMs: number): void {
    const member = mcpId === "" ? undefined : this.#roster.admit(mcpId, true, nowMs);
    if (member === undefined) return;
    member.heardAtMs = nowMs;
    const isFirst = member.load.streams.size === 0;
    addStream(member.load, sessionId);
    this.#health.strained(member, strainOf(member.load), nowMs);
    if (!isFirst) return;
    this.#health.opened(member, nowMs);
    if (member.config.isDraining) this.#health.drained(member, nowMs);
  }

  #streamClosed(mcpId: string, sessionId: string, how: "orderly" | "lost", nowMs: number): void {
    const member = this.#roster.get(mcpId);
    if (member === undefined || !member.load.streams.has(sessionId)) return;
    dropStream(member.load, sessionId);
    this.#health.untold(member, sessionId);
    this.#health.strained(member, strainOf(member.load), nowMs);
    member.heardAtMs = nowMs;
    member.target = undefined;
    if (member.load.streams.size === 0) this.#health.closed(member, how, nowMs);
  }

  #observe(...[events, nowMs]: Parameters<Router["observe"]>): void {
    for (const { mcpId, interactionId, facts } of events) {
      const member = this.#roster.get(mcpId) ?? this.#roster.admit(mcpId, false, nowMs);
      if (member === undefined) continue;
      member.heardAtMs = nowMs;
      if (facts.kind === "start") this.#flights.start(member, interactionId, facts, nowMs);
      else if (facts.kind === "terminal") this.#flights.terminal(member, interactionId, facts, nowMs);
    }
  }

  #tick(nowMs: number): void {
    const weights = this.#deps.book.readWeights(this.#mcpIds(), nowMs);
    for (const { mcpId, p50Ms, p99Ms } of weights) {
      const member = this.#roster.get(mcpId);
      if (member === undefined) continue;
      member.p50Ms = p50Ms;
      member.leaseMs = Math.min(limits.leaseMaxMs, Math.max(limits.leaseMinMs, leaseFactor * p99Ms));
    }
    for (const member of this.#roster.members) {
      this.#flights.expire(member, nowMs);
      forgetOldReport(member.load, nowMs);
      member.target = undefined;
      this.#health.tick(member, nowMs);
    }
    this.#roster.tick(nowMs);
    this.#lineUp.tick(nowMs);
    this.#deps.book.tick?.(nowMs);
  }

  #targetOf(member: Member, nowMs: number) {
    return targetOf(member, this.#settings.maxConcurrentDefault, nowMs, this.#settings.health);
  }

  #mcpIds(): readonly string[] {
    return this.#roster.members.map(({ mcpId }) => mcpId);
  }

  #figures(): RouterFigures {
    const { released, expired, lateEnds, openLeases, openInteractions } = this.#flights;
    return { ...this.#counts, released, expired, lateEnds, ejections: this.#health.ejections, openLeases, openInteractions };
  }
}

/** So many times in a median latency, and at most once a millisecond, it is computed anew how many requests still run elsewhere. */
const expectPerMedian = 16;
const expectEveryMinMs = 1;
/** A lease is this many times the p99 of its MCP.     Source: router.md 1.2. */
const leaseFactor = 4;
const retryMinMs = 50;
/** Any odd number: makes another sequence of the same seed. */
const tierSeedMask = 0x9e37_79b9;

function probeOffer(target: Offer["targets"][number]): Offer {
  return { kind: "probe", targets: [target], excluded: [], tierShare: 1 };
}

/** A probe is no matter of policy: it is sent, whatever it is worth. */
function probeChoice(mcpId: string): Choice {
  return { mcpId, propensity: 1, epsilon: 0, regime: "probe", isExploration: false, scored: [] };
}
