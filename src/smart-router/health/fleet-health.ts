import type { Rng } from "../../platform/rng.js";
import type { HealthState } from "../policy.js";
import type { HealthSettings } from "./settings.js";
import {
  addTo,
  clearTally,
  createStanding,
  decay,
  isAboveOthers,
  isTooOften,
  type Leave,
  leaveOf,
  type Standing,
  type Strain,
  shareOfOthers,
  shutOutUntilOf,
  slowStartOf,
  type Tally,
} from "./standing.js";
import { type HealthEvent, isChosen, isLive, nextState } from "./states.js";
import type { ToldHealth } from "./told.js";

/** An MCP as far as its health goes. */
export type Patient = { readonly mcpId: string; readonly standing: Standing };

/** An MCP changed its state. */
export type HealthChange = {
  readonly mcpId: string;
  readonly from: HealthState;
  readonly to: HealthState;
  readonly reason: string;
  readonly atMonoMs: number;
};

/** How a request ended, as far as health goes. */
export type Finding = {
  readonly result: "ok" | "error" | "expired";
  /** Took longer than `slowFactor` medians of its class; longer than what still is in time. */
  readonly isSlow: boolean;
  readonly isLate: boolean;
  /** When it was sent; left out, it counts as sent after everything that has ended. */
  readonly startedAtMs?: number;
};

/** Shares of errors and of late answers that are assumed of a fleet of which nothing is known. */
const errorsPrior = 0.01;
const latePrior = 0.1;
/** Fewer decayed observations than this say nothing. */
const countMin = 1;

/**
 * The health of a fleet: applies the table of states.ts to what happens to its MCPs, and limits how many are shut out at once. Cost: O(1) per call; a tick is O(1) per MCP.
 * Times are monotonic ms and do not go back.
 */
export class FleetHealth {
  readonly #settings: HealthSettings;
  readonly #rng: Rng;
  readonly #hear: (change: HealthChange) => void;
  readonly #errors: Tally = { atMs: 0, count: 0, bad: 0 };
  readonly #late: Tally = { atMs: 0, count: 0, bad: 0 };
  #liveCount = 0;
  #shutOutCount = 0;
  #ejections = 0;

  constructor(settings: HealthSettings, rng: Rng, hear: (change: HealthChange) => void) {
    this.#settings = settings;
    this.#rng = rng;
    this.#hear = hear;
  }

  /** Ejections since the start. */
  get ejections(): number {
    return this.#ejections;
  }

  /** MCPs that are ejected or probed now. */
  get shutOutCount(): number {
    return this.#shutOutCount;
  }

  /** Its first stream opened. One that lost too many lately, or whose ejection lasts, is shut out, if the fleet can do without it. */
  opened(mcp: Patient, nowMs: number): void {
    const { standing } = mcp;
    const isNew = standing.state === "joining" || standing.state === "gone";
    const { flapsMax, flapWindowMs } = this.#settings;
    const first = standing.lostAtMs[0];
    const isFlapping = standing.lostAtMs.length >= flapsMax && first !== undefined && nowMs - first <= flapWindowMs;
    const isBarred = nowMs < shutOutUntilOf(standing);
    if ((isFlapping || isBarred) && this.#canLose(1)) {
      if (!isBarred) this.#sentence(standing, nowMs);
      this.#apply(
        mcp,
        "opened_barred",
        isBarred ? "came back while its ejection lasts" : `lost ${flapsMax} streams within ${flapWindowMs / 1_000} s`,
        nowMs,
      );
      if (!isBarred) standing.lostAtMs.length = 0;
      return;
    }
    const leave = leaveOf(standing, nowMs);
    if (leave !== undefined) {
      this.#returned(mcp, leave, nowMs);
      return;
    }
    standing.warmingMs = isNew ? this.#settings.warmingMs : this.#settings.rewarmingMs;
    this.#apply(mcp, "opened", isNew ? "its first stream opened" : "its stream is back", nowMs);
  }

  /** It is what it was; a slow start goes on. */
  #returned(mcp: Patient, { state, sinceMs, warmingOks }: Leave, nowMs: number): void {
    const event = state === "warming" ? "opened" : state === "healthy" ? "returned" : "returned_slow";
    this.#apply(mcp, event, "its stream is back soon after a good-bye", nowMs);
    if (state !== "warming") return;
    mcp.standing.sinceMs = sinceMs;
    mcp.standing.warmingOks = warmingOks;
  }

  /** Its last stream ended. */
  closed(mcp: Patient, how: "orderly" | "lost", nowMs: number): void {
    if (how === "lost") isTooOften(mcp.standing.lostAtMs, nowMs, this.#settings.flapsMax, this.#settings.flapWindowMs);
    const { standing } = mcp;
    standing.isProbeOut = false;
    const { state, sinceMs, warmingOks } = standing;
    const isExpected = how === "orderly" && (state === "healthy" || state === "degraded" || state === "warming");
    standing.leave = isExpected ? { state, sinceMs, warmingOks, untilMs: nowMs + this.#settings.returnMaxMs } : undefined;
    this.#apply(mcp, "closed", how === "lost" ? "its last stream was lost" : "its last stream ended in good order", nowMs);
  }

  drained(mcp: Patient, nowMs: number): void {
    this.#apply(mcp, "drained", "an operator drains it", nowMs);
  }

  resumed(mcp: Patient, nowMs: number): void {
    mcp.standing.warmingMs = this.#settings.rewarmingMs;
    this.#apply(mcp, "resumed", "it is no longer drained", nowMs);
  }

  /**
   * The coordinator that holds its stream `by` says how it is, which counts until `untilMs`. Whoever is shut out there is shut out here, if the fleet can do without
   * it, and as long as the word is renewed; what this coordinator found by itself stands beside that. Whoever has started there need not start here again, unless this
   * coordinator has ejected it.
   */
  told(mcp: Patient, by: string, health: ToldHealth, untilMs: number, nowMs: number): void {
    const { standing } = mcp;
    const isOld = nowMs >= untilMs;
    standing.told = isOld ? undefined : { by, health, untilMs };
    if (isOld) return;
    if (health === "shut_out") {
      if (!isShutOut(standing.state) && !(isChosen(standing.state) && this.#canLose(1))) return;
      standing.barredUntilMs = untilMs;
      if (standing.state === "ejected") return;
      this.#wipe(standing, nowMs);
      this.#apply(mcp, "told_shut_out", `shut out by its coordinator (${by})`, nowMs);
      return;
    }
    const wasBarred = nowMs < standing.barredUntilMs;
    standing.barredUntilMs = Number.NEGATIVE_INFINITY;
    if (standing.state === "ejected" && wasBarred && nowMs >= standing.ejectedUntilMs) {
      standing.warmingMs = this.#settings.warmingMs;
      this.#apply(mcp, "told_well", `no longer shut out by its coordinator (${by})`, nowMs);
      return;
    }
    if (health !== "starting" && standing.ejectionCount === 0)
      this.#apply(mcp, "warmed", `it has started at its coordinator (${by})`, nowMs);
    this.#judgeAtWork(mcp, nowMs);
  }

  /** The stream `by` of which somebody told is over, and the word with it. */
  untold({ standing }: Patient, by: string): void {
    if (standing.told?.by === by) standing.told = undefined;
  }

  /** How its client keeps up with its sessions, whenever that changes. */
  strained(mcp: Patient, strain: Strain, nowMs: number): void {
    const { unansweredTables, heartbeatJitter } = mcp.standing.strain;
    if (strain.unansweredTables === unansweredTables && strain.heartbeatJitter === heartbeatJitter) return;
    mcp.standing.strain = strain;
    this.#judgeAtWork(mcp, nowMs);
  }

  /** A request ended. What was sent before an ejection says nothing any more. */
  ended(mcp: Patient, finding: Finding, nowMs: number): void {
    const { standing } = mcp;
    const { halfLifeMs } = this.#settings;
    if (!isChosen(standing.state)) return;
    const isOk = finding.result === "ok";
    addTo(standing.errors, !isOk, nowMs, halfLifeMs);
    addTo(this.#errors, !isOk, nowMs, halfLifeMs);
    if (isOk) {
      addTo(standing.slow, finding.isSlow, nowMs, halfLifeMs);
      addTo(standing.late, finding.isLate, nowMs, halfLifeMs);
      addTo(this.#late, finding.isLate, nowMs, halfLifeMs);
      // What was sent before the first failure of a row says nothing about what has failed since.
      if (finding.startedAtMs === undefined || finding.startedAtMs > standing.failingSinceMs) standing.consecutiveErrors = 0;
      if (standing.state === "warming") {
        standing.warmingOks += 1;
        if (standing.warmingOks >= this.#settings.warmingOks) this.#apply(mcp, "warmed", `${standing.warmingOks} successes`, nowMs);
      }
      return;
    }
    if (standing.consecutiveErrors === 0) standing.failingSinceMs = nowMs;
    standing.consecutiveErrors += 1;
    const why = this.#whyFailing(standing, finding.result === "expired", nowMs);
    if (why !== undefined && this.#canLose(1)) this.#eject(mcp, "failing", why, nowMs);
  }

  /** Whether the next request that may be repeated should go to it. */
  isProbeDue({ standing }: Patient, nowMs: number): boolean {
    return standing.state === "probing" && !standing.isProbeOut && nowMs - standing.probedAtMs >= this.#settings.probeEveryMs;
  }

  probeSent({ standing }: Patient, nowMs: number): void {
    standing.isProbeOut = true;
    standing.probedAtMs = nowMs;
  }

  /** "released": the request was never sent; another one will be. A probe that was sent before the probing that goes on tells nothing of it. */
  probeEnded(mcp: Patient, result: "ok" | "error" | "expired" | "released", sentAtMs: number, nowMs: number): void {
    const { standing } = mcp;
    if (sentAtMs < Math.max(standing.sinceMs, standing.probedAtMs)) return;
    standing.isProbeOut = false;
    if (standing.state !== "probing" || result === "released") return;
    if (result !== "ok") {
      this.#eject(mcp, "probe_failed", "a probe failed", nowMs);
      return;
    }
    standing.probesPassed += 1;
    if (standing.probesPassed < this.#settings.probesMax) return;
    standing.warmingMs = this.#settings.warmingMs;
    this.#apply(mcp, "probed", `${standing.probesPassed} probes succeeded`, nowMs);
  }

  /** Time passes for one MCP. */
  tick(mcp: Patient, nowMs: number): void {
    const { standing } = mcp;
    const settings = this.#settings;
    const forgivenMs = nowMs - Math.max(standing.forgivenAtMs, standing.ejectedUntilMs);
    if (isChosen(standing.state) && standing.ejectionCount > 0 && forgivenMs >= settings.forgiveEveryMs) {
      standing.ejectionCount -= 1;
      standing.forgivenAtMs = nowMs;
    }
    switch (standing.state) {
      case "warming":
        if (slowStartOf(standing, nowMs, settings) >= 1) this.#apply(mcp, "warmed", "its slow start is over", nowMs);
        return;
      case "healthy":
      case "degraded":
        this.#judgeAtWork(mcp, nowMs);
        return;
      case "ejected":
        if (nowMs >= shutOutUntilOf(standing)) this.#apply(mcp, "served", "its ejection is over", nowMs);
        return;
      case "probing":
        if (!standing.isProbeOut && nowMs - Math.max(standing.sinceMs, standing.probedAtMs) >= settings.unprobedMaxMs) {
          standing.warmingMs = settings.warmingMs;
          this.#apply(mcp, "unprobed", "no request came that may be repeated", nowMs);
        }
        return;
      case "disconnected":
        if (nowMs - standing.sinceMs >= settings.goneAfterMs) this.#apply(mcp, "forgotten", "no stream for too long", nowMs);
        return;
      default:
        return;
    }
  }

  /** It is taken out of the fleet. */
  forget(mcp: Patient): void {
    if (isLive(mcp.standing.state)) this.#liveCount -= 1;
    if (isShutOut(mcp.standing.state)) this.#shutOutCount -= 1;
    this.#takeBack(mcp.standing, mcp.standing.errors.atMs);
  }

  /** Whether `more` MCPs may be shut out besides those that are. */
  #canLose(more: number): boolean {
    const allowed = Math.max(1, Math.floor(this.#settings.ejectedMaxShare * this.#liveCount));
    const shutOut = this.#shutOutCount + more;
    return shutOut <= allowed && this.#liveCount - shutOut >= 1;
  }

  #whyFailing(standing: Standing, isExpired: boolean, nowMs: number): string | undefined {
    const settings = this.#settings;
    if (isExpired && isTooOften(standing.expiredAtMs, nowMs, settings.expiriesMax, settings.expiryWindowMs)) {
      return `${settings.expiriesMax} requests without an end within ${settings.expiryWindowMs / 1_000} s`;
    }
    if (standing.consecutiveErrors >= settings.consecutiveErrorsMax) return `${standing.consecutiveErrors} errors in a row`;
    if (standing.errors.count < settings.outcomesMin) return undefined;
    const others = shareOfOthers(this.#errors, standing.errors, errorsPrior);
    if (!isAboveOthers(standing.errors, others, settings)) return undefined;
    const { bad, count } = standing.errors;
    return `${bad.toFixed(1)} of ${count.toFixed(1)} requests failed, ${(others * 100).toFixed(1)} % of the others'`;
  }

  /** Of one that is neither starting nor shut out: whether it is degraded, and why. */
  #judgeAtWork(mcp: Patient, nowMs: number): void {
    const { standing } = mcp;
    if (standing.state !== "healthy" && standing.state !== "degraded") return;
    const isDegraded = standing.state === "degraded";
    const why = this.#whySlow(standing, isDegraded, nowMs) ?? whyElsewhere(standing, nowMs) ?? this.#whyStrained(standing, isDegraded);
    if (why === undefined) this.#apply(mcp, "recovered", "it answers like the others", nowMs);
    else this.#apply(mcp, "slowed", why, nowMs);
  }

  /** What its answers say; where it was slow already, less is enough. */
  #whySlow(standing: Standing, wasSlow: boolean, nowMs: number): string | undefined {
    const settings = this.#settings;
    for (const tally of [standing.slow, standing.late, this.#late]) decay(tally, nowMs, settings.halfLifeMs);
    const { slow, late } = standing;
    const slowShare = slow.count < countMin ? 0 : slow.bad / slow.count;
    const isSlow = wasSlow
      ? slowShare >= settings.slowShareEnd
      : slow.count >= settings.slowOutcomesMin && slowShare > settings.slowShareBegin;
    if (isSlow) return `${(slowShare * 100).toFixed(0)} % of its answers take ${settings.slowFactor} times the median`;
    const isLate = late.count >= settings.lateOutcomesMin && isAboveOthers(late, shareOfOthers(this.#late, late, latePrior), settings);
    return isLate ? `${late.bad.toFixed(1)} of ${late.count.toFixed(1)} answers are late` : undefined;
  }

  #whyStrained({ strain }: Standing, wasStrained: boolean): string | undefined {
    const { unansweredTablesBegin, jitterBegin, jitterEnd } = this.#settings;
    const { unansweredTables, heartbeatJitter } = strain;
    if (unansweredTables >= unansweredTablesBegin) return `${unansweredTables} routing tables in a row without an answer`;
    const isUneven = wasStrained ? heartbeatJitter >= jitterEnd : heartbeatJitter > jitterBegin;
    return isUneven ? `its heartbeats are ${(heartbeatJitter * 100).toFixed(0)} % of their interval off` : undefined;
  }

  #eject(mcp: Patient, event: "failing" | "probe_failed", why: string, nowMs: number): void {
    // A failed probe has cost one request: the next one is as far away as the last, not farther.
    if (event === "probe_failed") mcp.standing.ejectionCount = Math.max(0, mcp.standing.ejectionCount - 1);
    this.#sentence(mcp.standing, nowMs);
    this.#apply(mcp, event, why, nowMs);
  }

  /** Counts an ejection and says how long it lasts; what led to it does not count again. */
  #sentence(standing: Standing, nowMs: number): void {
    const { ejectionMs, ejectionMaxMs, ejectionJitter } = this.#settings;
    this.#ejections += 1;
    standing.ejectionCount += 1;
    const lengthMs = Math.min(ejectionMs * standing.ejectionCount, ejectionMaxMs) * (1 + ejectionJitter * this.#rng());
    standing.ejectedUntilMs = nowMs + lengthMs;
    standing.forgivenAtMs = standing.ejectedUntilMs;
    this.#wipe(standing, nowMs);
  }

  /** What led to an ejection, here or elsewhere, is forgotten. */
  #wipe(standing: Standing, nowMs: number): void {
    const { halfLifeMs } = this.#settings;
    decay(standing.errors, nowMs, halfLifeMs);
    this.#takeBack(standing, nowMs);
    for (const tally of [standing.errors, standing.late, standing.slow]) clearTally(tally);
    standing.consecutiveErrors = 0;
    standing.expiredAtMs.length = 0;
  }

  /** The fleet's share of errors is that of the MCPs that are in it. */
  #takeBack(standing: Standing, nowMs: number): void {
    decay(this.#errors, nowMs, this.#settings.halfLifeMs);
    this.#errors.count = Math.max(0, this.#errors.count - standing.errors.count);
    this.#errors.bad = Math.max(0, this.#errors.bad - standing.errors.bad);
  }

  #apply(mcp: Patient, event: HealthEvent, reason: string, nowMs: number): void {
    const { standing } = mcp;
    const from = standing.state;
    const to = nextState(from, event);
    if (to === undefined) return;
    this.#liveCount += Number(isLive(to)) - Number(isLive(from));
    this.#shutOutCount += Number(isShutOut(to)) - Number(isShutOut(from));
    standing.state = to;
    standing.sinceMs = nowMs;
    standing.reason = reason;
    if (to === "warming") standing.warmingOks = 0;
    if (to === "probing") {
      standing.probesPassed = 0;
      standing.isProbeOut = false;
      standing.probedAtMs = Number.NEGATIVE_INFINITY;
    }
    this.#hear({ mcpId: mcp.mcpId, from, to, reason, atMonoMs: nowMs });
  }
}

/** What the coordinator that holds its stream says. */
function whyElsewhere({ told }: Standing, nowMs: number): string | undefined {
  return told?.health === "degraded" && nowMs < told.untilMs ? `degraded at its coordinator (${told.by})` : undefined;
}

/** Ejected, or on probation. */
function isShutOut(state: HealthState): boolean {
  return state === "ejected" || state === "probing";
}

/** A new MCP, not yet connected. */
export function createPatient(mcpId: string, nowMs: number): Patient {
  return { mcpId, standing: createStanding(nowMs) };
}
