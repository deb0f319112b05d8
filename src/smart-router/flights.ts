import type { Facts } from "../interaction/event.js";
import { limits } from "../platform/limits.js";
import { ClassBaselines } from "./class-baselines.js";
import type { DecisionOutcome } from "./decision.js";
import { type End, endedAtOf, endedOf, latencyOf, nothing } from "./flight-end.js";
import type { FleetHealth } from "./health/fleet-health.js";
import { endReported, type Flight, inFlightOf, isElsewhere, leave, noteEarlyEnd, take } from "./in-flight.js";
import type { LineUp } from "./line-up.js";
import type { Member } from "./member.js";
import { NamedFlights } from "./named-flights.js";
import type { Ended } from "./policy.js";
import { classOf, plainRequest, type RouteRequest, startedRequest } from "./request.js";
import type { AuditVerdict, Book, LearntAudit } from "./router.js";

export type FlightDeps = {
  readonly book: Book;
  readonly lineUp: LineUp;
  readonly health: FleetHealth;
  /** `slowFactor` of the health rules. */
  readonly slowFactor: number;
  readonly memberOf: (mcpId: string) => Member | undefined;
  readonly outcome: (outcome: DecisionOutcome) => void;
  /** Takes an audit that the coordinator which holds the MCP's stream has to learn from. */
  readonly handOver: (audit: LearntAudit) => void;
};

/**
 * Every request that is with an MCP, from the decision or the start event to its end: who holds a place, and who is told what came of it.
 * A place is given back exactly once: by the end, by a release, by the end of the lease, or because the MCP says that it does not have the request.
 */
export class Flights {
  readonly #deps: FlightDeps;
  /** Decided ones that run. */
  readonly #decided = new Map<string, Flight>();
  /** Decided ones that have ended or expired, oldest first: for late ends and audits. At most `limits.routedPastMax`. */
  readonly #past = new Map<string, Flight>();
  readonly #pastRing: Flight[] = [];
  #pastAt = 0;
  /** Those of decisions that are not known here. */
  readonly #named = new NamedFlights();
  readonly #baselines: ClassBaselines;
  #plainCount = 0;
  #running = 0;
  released = 0;
  expired = 0;
  lateEnds = 0;

  constructor(deps: FlightDeps) {
    this.#deps = deps;
    this.#baselines = new ClassBaselines(deps.book);
  }

  get openLeases(): number {
    return this.#decided.size;
  }

  get openInteractions(): number {
    return this.#running - this.#decided.size;
  }

  /** Takes a place for a decision. */
  reserve(
    member: Member,
    decisionId: string,
    request: RouteRequest,
    requestClass: string,
    leaseMs: number,
    how: { readonly isProbe: boolean; readonly isExploration: boolean },
    nowMs: number,
  ): Flight {
    const { isProbe, isExploration } = how;
    const made = { decisionId, isDecided: true, isNamed: true, request, requestClass, isProbe, atMs: nowMs, leaseMs };
    const flight = this.#depart(member, made, isExploration);
    this.#decided.set(decisionId, flight);
    return flight;
  }

  /** A start event: confirms its decision, or is a request that nobody asked us about. */
  start(member: Member, interactionId: string, facts: Facts & { readonly kind: "start" }, nowMs: number): void {
    const { load } = member;
    if (load.byInteraction.has(interactionId)) return;
    const early = load.earlyEnds.size > 0 ? load.earlyEnds.get(interactionId) : undefined;
    const decided = facts.routingDecisionId === "" ? undefined : this.#unconfirmed(member, facts.routingDecisionId);
    if (early !== undefined) {
      load.earlyEnds.delete(interactionId);
      if (decided === undefined) return;
      // Its end has counted already, for everything but its place and its decision.
      const isLate = decided.state === "expired";
      decided.interactionId = interactionId;
      this.#close(member, decided, "ended");
      const end: End = { ...nothing, atMs: nowMs };
      if (!isLate) {
        this.#tellUsers(decided, end);
        this.#tellAudit(decided, nowMs);
      }
      this.#tell(decided, early.isOk ? "complete" : "error", "", isLate, end);
      return;
    }
    if (decided === undefined) {
      if (load.running.size >= limits.routedInFlightMax) return;
      const request = startedRequest(facts);
      const requestClass = classOf(request);
      const decisionId = `interaction ${++this.#plainCount}`;
      const flight = this.#depart(member, {
        decisionId,
        isDecided: false,
        isNamed: facts.routingDecisionId !== "",
        request,
        requestClass,
        isProbe: false,
        atMs: nowMs,
        leaseMs: member.leaseMs,
      });
      if (flight.isNamed) this.#named.add(facts.routingDecisionId, flight);
      this.#confirm(member, flight, interactionId, nowMs);
      return;
    }
    if (decided.state === "expired") this.#revive(member, decided, nowMs);
    this.#confirm(member, decided, interactionId, nowMs);
  }

  /** A terminal event. */
  terminal(member: Member, interactionId: string, facts: Facts & { readonly kind: "terminal" }, nowMs: number): void {
    const end: End = {
      result: facts.success ? "ok" : "error",
      durationMs: facts.durationMs,
      quality: facts.qualityScore,
      auditedQuality: undefined,
      cost: undefined,
      errorCode: facts.errorCode,
      atMs: nowMs,
    };
    const flight = member.load.byInteraction.get(interactionId);
    endReported(member.load);
    if (flight !== undefined) this.end(member, flight, end);
    else this.#endUnknown(member, interactionId, end);
  }

  /** A flight ends, in time or after its lease. */
  end(member: Member, flight: Flight, told: End): void {
    const isLate = flight.state === "expired";
    // An audit that came before the end has waited for it, unless the lease ran out meanwhile.
    const end = isLate || flight.audited === undefined ? told : { ...told, auditedQuality: flight.audited };
    flight.audited ??= told.auditedQuality;
    this.#close(member, flight, "ended");
    const ended = endedOf(flight, end);
    const isForHolder = end.auditedQuality !== undefined && isElsewhere(member.load);
    this.#deps.book.ended(isForHolder ? { ...ended, auditedQuality: undefined } : ended);
    if (isForHolder) this.#tellAudit(flight, end.atMs);
    if (isLate) this.lateEnds += 1;
    else {
      this.#deps.lineUp.ended(ended);
      this.#judge(member, flight, ended, end.atMs);
    }
    const state = end.result === "ok" ? "complete" : end.result === "error" ? "error" : "censored";
    this.#tell(flight, state, state === "censored" ? "expired" : "", isLate, end);
  }

  /** The running or expired flight of a decision. */
  open(decisionId: string): Flight | undefined {
    const flight = this.#decided.get(decisionId) ?? this.#past.get(decisionId);
    return flight === undefined || flight.state === "ended" ? undefined : flight;
  }

  /** See Router.audit. What runs is judged when it ends, beside what its MCP says then. */
  audit(decisionId: string, quality: number, nowMs: number): AuditVerdict | undefined {
    const flight = this.#decided.get(decisionId) ?? this.#past.get(decisionId);
    if (flight === undefined || flight.isReleased) return undefined;
    const { mcpId, audited } = flight;
    if (audited !== undefined) return { mcpId, quality: audited, isFirst: false };
    flight.audited = quality;
    if (flight.state !== "running") this.#tellAudit(flight, nowMs);
    return { mcpId, quality, isFirst: true };
  }

  /** See Router.learnAudit. What runs is judged when it ends, as in `audit`. */
  learnAudit({ decisionId, mcpId, request, quality, atMs }: LearntAudit): boolean {
    const flight = this.#named.find(decisionId, mcpId);
    if (flight === undefined) {
      this.#deps.book.audited?.({ decisionId, mcpId, request, atMs, quality });
      return true;
    }
    const isOver = flight.state !== "running";
    if (flight.audited === undefined) {
      flight.audited = quality;
      if (isOver) this.#tellAudit(flight, atMs);
    }
    return isOver;
  }

  /** Gives a place back that was not used. False unless the decision runs, at this MCP, and no start of it was heard. */
  release(decisionId: string, mcpId: string, nowMs: number): boolean {
    const flight = this.#decided.get(decisionId);
    const member = this.#deps.memberOf(mcpId);
    if (flight === undefined || member === undefined || flight.mcpId !== mcpId || flight.startedAtMs !== undefined) return false;
    this.released += 1;
    flight.isReleased = true;
    this.#close(member, flight, "ended");
    const end: End = { ...nothing, result: "released", atMs: nowMs };
    this.#tellUsers(flight, end);
    if (flight.isProbe) this.#deps.health.probeEnded(member, "released", flight.assignedAtMs, nowMs);
    this.#tell(flight, "censored", "released", false, end);
    return true;
  }

  /** Ends the leases of one MCP that have run out. One that no start confirmed is nobody's fault: the caller may never have sent it. */
  expire(member: Member, nowMs: number): void {
    for (const flight of member.load.running) {
      if (flight.expiresAtMs > nowMs) continue;
      // One that was revived by a late start has had its outcome.
      const hasOutcome = flight.state === "expired";
      this.expired += 1;
      this.#close(member, flight, "expired");
      const isConfirmed = flight.startedAtMs !== undefined;
      const end: End = { ...nothing, result: isConfirmed ? "expired" : "released", atMs: nowMs };
      const ended = endedOf(flight, end);
      this.#deps.book.ended(ended);
      if (!hasOutcome) {
        this.#deps.lineUp.ended(ended);
        this.#tellAudit(flight, nowMs);
      }
      if (isConfirmed) this.#judge(member, flight, ended, nowMs);
      else if (flight.isProbe) this.#deps.health.probeEnded(member, "released", flight.assignedAtMs, nowMs);
      if (!hasOutcome) this.#tell(flight, "censored", "expired", false, end);
    }
  }

  #depart(
    member: Member,
    made: Pick<Flight, "decisionId" | "isDecided" | "isNamed" | "request" | "requestClass" | "isProbe"> & {
      readonly atMs: number;
      readonly leaseMs: number;
    },
    isExploration = false,
  ): Flight {
    // Field by field: a spread costs several microseconds, and this runs for every start event.
    const { atMs, leaseMs, decisionId, request } = made;
    const { mcpId } = member;
    const inFlightBefore = inFlightOf(member.load);
    const flight: Flight = {
      decisionId,
      isDecided: made.isDecided,
      isNamed: made.isNamed,
      mcpId,
      request,
      requestClass: made.requestClass,
      isProbe: made.isProbe,
      assignedAtMs: atMs,
      inFlightBefore,
      startedAtMs: undefined,
      interactionId: "",
      expiresAtMs: atMs + leaseMs,
      isCounted: false,
      state: "running",
      audited: undefined,
      isReleased: false,
    };
    take(member.load, flight);
    member.target = undefined;
    this.#running += 1;
    const assigned = { decisionId, mcpId, request, atMs, inFlightBefore, isExploration };
    this.#deps.book.assigned(assigned);
    this.#deps.lineUp.assigned(assigned);
    return flight;
  }

  #unconfirmed(member: Member, decisionId: string): Flight | undefined {
    const flight = this.open(decisionId);
    return flight !== undefined && flight.mcpId === member.mcpId && flight.startedAtMs === undefined ? flight : undefined;
  }

  #confirm({ load }: Member, flight: Flight, interactionId: string, nowMs: number): void {
    flight.startedAtMs = nowMs;
    flight.interactionId = interactionId;
    load.byInteraction.set(interactionId, flight);
  }

  /** A start after the lease: the request holds a place again, as long as a new lease. */
  #revive(member: Member, flight: Flight, nowMs: number): void {
    take(member.load, flight);
    member.target = undefined;
    this.#running += 1;
    flight.expiresAtMs = nowMs + member.leaseMs;
  }

  /** Frees the place, and moves the flight to where its state belongs. */
  #close(member: Member, flight: Flight, state: "ended" | "expired"): void {
    if (member.load.running.has(flight)) this.#running -= 1;
    leave(member.load, flight);
    member.target = undefined;
    flight.state = state;
    if (state === "ended" || !flight.isDecided) member.load.byInteraction.delete(flight.interactionId);
    if (!flight.isDecided) return;
    this.#decided.delete(flight.decisionId);
    if (!this.#past.has(flight.decisionId)) this.#remember(flight);
  }

  /** Puts a decision among the past ones; the oldest makes room. A ring beside the map: a map does not find its oldest key in constant time. */
  #remember(flight: Flight): void {
    const oldest = this.#pastRing[this.#pastAt];
    if (oldest !== undefined) {
      this.#past.delete(oldest.decisionId);
      const load = oldest.state === "expired" ? this.#deps.memberOf(oldest.mcpId)?.load : undefined;
      // One that a late start has revived still runs, and its end must find it.
      const isOver = load?.running.has(oldest) === false;
      if (isOver && load.byInteraction.get(oldest.interactionId) === oldest) load.byInteraction.delete(oldest.interactionId);
    }
    this.#past.set(flight.decisionId, flight);
    this.#pastRing[this.#pastAt] = flight;
    this.#pastAt = (this.#pastAt + 1) % limits.routedPastMax;
  }

  /** An end without a start: counts for what is known of the MCP, and waits for its start. */
  #endUnknown(member: Member, interactionId: string, end: End): void {
    noteEarlyEnd(member.load, interactionId, { atMs: end.atMs, isOk: end.result === "ok" });
    const durationMs = end.durationMs !== undefined && Number.isFinite(end.durationMs) && end.durationMs >= 0 ? end.durationMs : 0;
    const flight = {
      decisionId: `interaction ${++this.#plainCount}`,
      isNamed: false,
      mcpId: member.mcpId,
      request: plainRequest,
      requestClass: plainClass,
      startedAtMs: end.atMs - durationMs,
      assignedAtMs: end.atMs - durationMs,
      inFlightBefore: inFlightOf(member.load),
      isProbe: false,
    };
    const ended = endedOf(flight, end);
    this.#deps.book.ended(ended);
    this.#judge(member, flight, ended, end.atMs);
  }

  #tellUsers(flight: Flight, end: End): Ended {
    const ended = endedOf(flight, end);
    this.#deps.book.ended(ended);
    this.#deps.lineUp.ended(ended);
    return ended;
  }

  /** Tells of an audit that no end has told the book of: the book, or whoever holds the MCP's stream, whose word would take the place of what is learned here. */
  #tellAudit({ decisionId, isDecided, mcpId, request, audited: quality }: Flight, atMs: number): void {
    if (quality === undefined) return;
    const load = this.#deps.memberOf(mcpId)?.load;
    if (load === undefined || !isElsewhere(load)) this.#deps.book.audited?.({ decisionId, mcpId, request, atMs, quality });
    // An audit of another one's decision is told by that one, until somebody has learned from it.
    else if (isDecided) this.#deps.handOver({ decisionId, mcpId, request, atMs, quality });
  }

  /** Tells the health rules. */
  #judge(member: Member, flight: Pick<Flight, "request" | "requestClass" | "isProbe" | "assignedAtMs">, ended: Ended, nowMs: number): void {
    const { result } = ended;
    if (flight.isProbe) this.#deps.health.probeEnded(member, result, flight.assignedAtMs, nowMs);
    if (result === "released") return;
    const baseline = this.#baselines.of(flight.request, flight.requestClass, nowMs);
    const latencyMs = latencyOf(ended);
    const isSlow = latencyMs > this.#deps.slowFactor * baseline.p50Ms;
    const lateAboveMs = flight.request.deadlineMs ?? baseline.lateAboveMs;
    this.#deps.health.ended(member, { result, isSlow, isLate: latencyMs > lateAboveMs, startedAtMs: ended.startedAtMs }, nowMs);
  }

  #tell(
    flight: Flight,
    state: DecisionOutcome["state"],
    censoredBecause: DecisionOutcome["censoredBecause"],
    isLate: boolean,
    end: End,
  ): void {
    if (!flight.isDecided) return;
    this.#deps.outcome({
      decisionId: flight.decisionId,
      mcpId: flight.mcpId,
      interactionId: flight.interactionId,
      state,
      censoredBecause,
      isLate,
      atMonoMs: end.atMs,
      observedMs: endedAtOf(flight, end) - flight.assignedAtMs,
      durationMs: end.durationMs,
      quality: end.quality,
      errorCode: end.errorCode,
    });
  }
}

const plainClass = classOf(plainRequest);
