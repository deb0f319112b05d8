import { assert, unreachable } from "../platform/assert.js";
import type { Cancel, Clock } from "../platform/clock.js";
import type { Logger } from "../platform/log.js";
import { tableDigest } from "./digest.js";
import { type Lead, type LeadEffect, type LeadEvent, stepLead } from "./lead.js";
import { membersOf } from "./members.js";
import { type Candidate, changeRule, confirm, isDue, look, owe, type Plan, startPlan } from "./plan.js";
import { fromStored, isNewer, type StoredPublication, toStored } from "./publication.js";
import { type Seat, type Seating, seatAll } from "./seats.js";
import type { RouterSettings } from "./settings.js";
import type { SignalBook } from "./signal-book.js";
import { type McpSignals, noSignals, type Signals } from "./signals.js";
import { isSharing, plainStanding, type Standing } from "./standing.js";
import type { PublishedRoutes, RouteBook } from "./table.js";
import type { RawWeight, WeightRule } from "./weigh.js";

export type PublisherDeps = {
  /** Takes a new fencing term; gives it with the last version there is. Throws when the store does not answer, like the next two. */
  readonly acquireTerm: () => Promise<{ readonly term: number; readonly version: number }>;
  /** Commits a publication; false, and nothing stored, when a newer term exists. */
  readonly store: (publication: StoredPublication) => Promise<boolean>;
  readonly readNewest: () => Promise<StoredPublication | undefined>;
  /** MCPs with a live session. */
  readonly liveMcpIds: () => ReadonlySet<string>;
  readonly signals: Pick<Signals, "read">;
  readonly estimates: Pick<SignalBook, "readWeights">;
  /** Health and terms of the MCPs that are known; "gone" takes one out of the table, "joining" puts none into it. Of others nothing is known but that they are there. */
  readonly standings: (nowMs: number) => ReadonlyMap<string, Standing>;
  /** The rule in force; may be another one each time. */
  readonly rule: () => WeightRule;
  readonly clock: Clock;
  readonly log: Logger;
  /** Whether nobody else may publish now, so that a term can be taken at once: this process holds the publisher's lock, or is alone with its store. */
  readonly holdsLead: () => Promise<boolean>;
};

/** The newest table, and the loop that keeps it new. */
export type Publisher = RouteBook & {
  /** Reads what is in force, publishes if it may, then goes on by itself until `close`. A store that does not answer is tried again later. */
  readonly start: () => Promise<void>;
  /** Something has happened to an MCP: looks at once, or as soon as publications may follow each other, instead of at the next round. Cheap; call it for every news. */
  readonly wake: () => void;
  /** Does what is due now; joins the round that is under way. For tests and for the loop itself. Throws only on a bug of ours. */
  readonly tick: () => Promise<void>;
  readonly role: () => "leader" | "follower";
  /** Ends the loop after the round that is under way. Idempotent. */
  readonly close: () => Promise<void>;
  readonly [Symbol.asyncDispose]: () => Promise<void>;
};

/** A publisher that has not started. Everyone gets a table only after it is stored.     Source: SPEC.md. */
export function createPublisher(deps: PublisherDeps, settings: RouterSettings): Publisher {
  const loop = new PublishLoop(deps, settings);
  return {
    current: () => loop.current,
    subscribe: (seen) => loop.subscribe(seen),
    start: () => loop.run(),
    wake: () => loop.wake(),
    tick: () => loop.tick(),
    role: () => (loop.lead.kind === "leading" ? "leader" : "follower"),
    close: () => loop.close(),
    [Symbol.asyncDispose]: () => loop.close(),
  };
}

class PublishLoop {
  current: PublishedRoutes | undefined;
  lead: Lead = { kind: "starting" };
  readonly #deps: PublisherDeps;
  readonly #settings: RouterSettings;
  readonly #seen = new Set<(routes: PublishedRoutes) => void>();
  /** The newest publication that is known, in force here or not. */
  #newest: { readonly term: number; readonly version: number } | undefined;
  #plan: Plan;
  #ruleId = "";
  #round: Promise<void> | undefined;
  #isStoreFailing = false;
  #isAlone = false;
  #cancelNext: Cancel = () => {};
  #isRunning = false;
  #isWoken = false;

  constructor(deps: PublisherDeps, settings: RouterSettings) {
    this.#deps = deps;
    this.#settings = settings;
    this.#plan = startPlan([], deps.clock.monotonicMs(), settings);
  }

  subscribe(seen: (routes: PublishedRoutes) => void): () => void {
    // A wrapper per call, so that one function may subscribe twice and each ends alone.
    const entry = (routes: PublishedRoutes): void => seen(routes);
    this.#seen.add(entry);
    return () => this.#seen.delete(entry);
  }

  /** One round now, the next ones by the clock. The loop's edge: a failure that a round did not foresee is logged, and the next round runs all the same. */
  async run(): Promise<void> {
    this.#isRunning = true;
    this.#isWoken = false;
    try {
      await this.tick();
    } catch (error) {
      this.#deps.log.error({ err: error }, "publishing weights failed; the last table stays in force");
    }
    this.#isRunning = false;
    if (this.lead.kind === "closed") return;
    const isLively = this.lead.kind === "leading" && !this.#isStoreFailing;
    const delayMs = isLively ? this.#settings.publishIntervalMinMs : this.#settings.followPeriodMs;
    this.#schedule(isLively && this.#isWoken ? Math.min(delayMs, this.#untilFree) : delayMs);
  }

  wake(): void {
    this.#isWoken = true;
    if (this.#isRunning || this.lead.kind !== "leading" || this.#isStoreFailing) return;
    this.#schedule(this.#untilFree);
  }

  /** Until the next publication may follow the last. */
  get #untilFree(): number {
    const { publishIntervalMinMs } = this.#settings;
    return Math.min(publishIntervalMinMs, Math.max(0, this.#plan.published.atMs + publishIntervalMinMs - this.#deps.clock.monotonicMs()));
  }

  #schedule(delayMs: number): void {
    this.#cancelNext();
    this.#cancelNext = this.#deps.clock.after(delayMs, () => void this.run());
  }

  tick(): Promise<void> {
    this.#round ??= this.#playRound().finally(() => {
      this.#round = undefined;
    });
    return this.#round;
  }

  async close(): Promise<void> {
    this.#step({ kind: "close" });
    this.#cancelNext();
    await this.#round?.catch(() => {}); // whoever ticked hears of it
  }

  async #playRound(): Promise<void> {
    if (this.lead.kind === "starting" || this.lead.kind === "following") this.#isAlone = await this.#asksForLead();
    let effect = this.#step({ kind: "tick" });
    while (effect !== "none") effect = this.#step(await this.#perform(effect));
  }

  /** A store that does not answer gives no lead; the read that follows in this round tells of it. */
  async #asksForLead(): Promise<boolean> {
    try {
      return await this.#deps.holdsLead();
    } catch {
      return false;
    }
  }

  #step(event: LeadEvent): LeadEffect {
    const before = this.lead;
    const { next, effect } = stepLead(before, event, this.#deps.clock.monotonicMs(), { ...this.#settings, isAlone: this.#isAlone });
    this.lead = next;
    if (before.kind === next.kind) return effect;
    if (next.kind === "leading") {
      this.#plan = startPlan(this.current?.table ?? [], this.#deps.clock.monotonicMs(), this.#settings);
      this.#deps.log.info({ term: next.term }, "this coordinator publishes the weights");
    } else if (next.kind === "following") {
      this.#deps.log.info({ term: this.current?.term }, "another coordinator publishes the weights");
    }
    return effect;
  }

  async #perform(effect: Exclude<LeadEffect, "none">): Promise<LeadEvent> {
    switch (effect) {
      case "read": {
        const answer = await this.#ask(this.#deps.readNewest);
        return answer.kind === "failed" ? answer : this.#adopt(answer.value);
      }
      case "claim": {
        const answer = await this.#ask(this.#deps.acquireTerm);
        return answer.kind === "failed" ? answer : { kind: "claimed", term: answer.value.term, version: answer.value.version };
      }
      case "look": {
        const candidate = this.#look();
        return candidate === undefined ? { kind: "unchanged" } : this.#publish(candidate);
      }
      default:
        return unreachable(effect);
    }
  }

  /** Asks the store; that it does not answer becomes a value, logged once per outage. */
  async #ask<T>(question: () => Promise<T>): Promise<{ readonly kind: "answered"; readonly value: T } | { readonly kind: "failed" }> {
    try {
      const value = await question();
      if (this.#isStoreFailing) this.#deps.log.info("the store answers the publisher again");
      this.#isStoreFailing = false;
      return { kind: "answered", value };
    } catch (error) {
      if (!this.#isStoreFailing)
        this.#deps.log.warn({ err: error }, "the store does not answer the publisher; the last table stays in force");
      this.#isStoreFailing = true;
      return { kind: "failed" };
    }
  }

  /**
   * Takes over a table of someone else, or of ourselves before a restart. What is found at the start may be long out of date and is then only counted
   * on from; what arrives while following is fresh, whatever the clocks of two machines say.
   */
  #adopt(stored: StoredPublication | undefined): LeadEvent {
    if (stored === undefined) return { kind: "read", ageMs: undefined, isNewer: false };
    const ageMs = this.#deps.clock.nowMs() - stored.publishedAtMs;
    if (this.lead.kind === "closed" || !isNewer(stored, this.#newest)) return { kind: "read", ageMs, isNewer: false };
    this.#newest = { term: stored.term, version: stored.version };
    const routes = fromStored(stored, this.#settings.validForMs);
    if (routes === undefined) {
      this.#deps.log.error({ term: stored.term, version: stored.version }, "a stored table does not match its digest; it is ignored");
    } else if (this.lead.kind !== "starting" || ageMs < this.#settings.validForMs) {
      this.#enforce(routes);
    }
    return { kind: "read", ageMs, isNewer: true };
  }

  /** A table that is due and worth publishing, and the rule that made it. */
  #look(): (Candidate & { readonly policyId: string }) | undefined {
    const nowMs = this.#deps.clock.monotonicMs();
    const known = this.#deps.signals.read(nowMs);
    const seating = this.#seat(known, nowMs);
    if (!isDue(this.#plan, seating.seats, nowMs, this.#settings)) return undefined;
    const rule = this.#deps.rule();
    if (rule.id !== this.#ruleId) this.#plan = changeRule(this.#plan);
    this.#ruleId = rule.id;
    const { next, candidate } = look(this.#plan, this.#weigh(rule, seating.seats, known, nowMs), seating, nowMs, this.#settings);
    this.#plan = next;
    return candidate && { ...candidate, policyId: rule.id };
  }

  #seat(known: ReadonlyMap<string, McpSignals>, nowMs: number): Seating {
    const { held, heldUntilMs } = this.#plan.smoothing;
    const standings = this.#deps.standings(nowMs);
    const present = new Set(this.#deps.liveMcpIds());
    for (const [mcpId, { state }] of standings) if (state !== "gone" && state !== "joining") present.add(mcpId);
    const members = membersOf(known, present, nowMs < heldUntilMs ? held : new Set(), nowMs, this.#settings);
    const plain = plainStanding(this.#settings.maxConcurrentDefault, this.#settings.priorityDefault);
    const stayed = members.filter((mcpId) => standings.get(mcpId)?.state !== "gone");
    return seatAll(stayed, (mcpId) => standings.get(mcpId) ?? plain);
  }

  #weigh(rule: WeightRule, seats: readonly Seat[], known: ReadonlyMap<string, McpSignals>, nowMs: number): readonly RawWeight[] {
    const sharing = seats.filter((seat) => seat.hasShare);
    const estimates = this.#deps.estimates.readWeights(
      sharing.map((seat) => seat.mcpId),
      nowMs,
    );
    const byId = new Map(estimates.map((one) => [one.mcpId, one]));
    const fleet = sharing.flatMap(({ mcpId, state, standing }) => {
      const estimate = byId.get(mcpId);
      assert(estimate !== undefined && isSharing(state), "the signal book answers for everyone it is asked about");
      return [{ mcpId, state, standing, signals: known.get(mcpId) ?? noSignals(mcpId), estimates: estimate }];
    });
    return rule.weigh(fleet, nowMs);
  }

  /** Stores first, then puts in force: nobody sees a table that a restart would not find. */
  async #publish(candidate: Candidate & { readonly policyId: string }): Promise<LeadEvent> {
    assert(this.lead.kind === "leading", "only a leader looks");
    const routes: PublishedRoutes = {
      term: this.lead.term,
      version: this.lead.version + 1,
      digest: tableDigest(candidate.table),
      table: candidate.table,
      policyId: candidate.policyId,
      reason: candidate.reason,
      publishedAtMs: this.#deps.clock.nowMs(),
      validForMs: this.#settings.validForMs,
    };
    const answer = await this.#ask(() => this.#deps.store(toStored(routes)));
    if (answer.kind === "failed") {
      this.#plan = owe(this.#plan);
      return answer;
    }
    if (!answer.value) return { kind: "refused" };
    this.#plan = confirm(this.#plan, candidate, this.#deps.clock.monotonicMs());
    this.#newest = routes;
    this.#enforce(routes);
    return { kind: "stored" };
  }

  #enforce(routes: PublishedRoutes): void {
    this.current = routes;
    for (const seen of this.#seen) seen(routes);
  }
}
