import { assert } from "../../platform/assert.js";
import { seededRng } from "../../platform/rng.js";
import type { DecisionRecord } from "../log/decision-record.js";
import type { OutcomeRow } from "../log/outcome-row.js";
import type { Choice, Policy } from "../policy.js";
import type { PolicyFactory } from "../router.js";
import type { ClassSignals, TargetSignals } from "../signal-book.js";
import { asItWas, type NotRecomputed, situationOf, type WhatIf } from "./recompute.js";

/** A logged decision with what became of it. */
export type ReplayedRow = { readonly record: DecisionRecord; readonly outcome: OutcomeRow | undefined };

/**
 * Asks a policy what it would have chosen, decision by decision. It reads the signals that were logged, and is told what really was assigned and how it ended, each at its
 * time: what it would have learnt from its own choices cannot be known.
 * The log must come in the order of time. Decisions without candidates are not asked about, but learnt from.
 */
export class PolicyReplay {
  readonly #policy: Policy;
  #signals: ReadonlyMap<string, TargetSignals> = new Map();
  #classSignals: ClassSignals | undefined;
  /** Ends to come, soonest first. */
  #ends: { readonly atMs: number; readonly tell: () => void }[] = [];
  #tickedAtMs = Number.NEGATIVE_INFINITY;

  readonly #whatIf: WhatIf;

  constructor(factory: PolicyFactory, whatIf: WhatIf = asItWas) {
    this.#whatIf = whatIf;
    this.#policy = factory({
      read: (mcpId) => {
        const signals = this.#signals.get(mcpId);
        assert(signals !== undefined, "a policy asks about its targets only");
        return signals;
      },
      readClass: () => {
        assert(this.#classSignals !== undefined, "a decision with candidates has signals of its class");
        return this.#classSignals;
      },
    });
  }

  /** What the policy would have chosen, or why it cannot be asked. */
  ask({ record, outcome }: ReplayedRow): Choice | NotRecomputed {
    const nowMs = record.decidedAtMs;
    this.#passTime(nowMs);
    const choice = this.#choose(record, nowMs);
    this.#learn(record, outcome);
    return choice;
  }

  #choose(record: DecisionRecord, nowMs: number): Choice | NotRecomputed {
    if (record.regime === "probe") return "probe";
    const situation = situationOf(record, this.#whatIf);
    if (situation === undefined) return "no_candidates";
    if (situation.targets.length === 0) return "nobody_left";
    this.#signals = new Map(situation.signals.map((signals) => [signals.mcpId, signals]));
    this.#classSignals = record.classSignals;
    return this.#policy.choose(record.request, situation.targets, nowMs, seededRng(record.seed));
  }

  #learn({ decisionId, chosen, request, decidedAtMs, candidates }: DecisionRecord, outcome: OutcomeRow | undefined): void {
    const inFlightBefore = candidates?.find(({ mcpId }) => mcpId === chosen)?.inFlight ?? 0;
    const common = { decisionId, mcpId: chosen, request, inFlightBefore };
    this.#policy.assigned({ ...common, atMs: decidedAtMs });
    const observedMs = outcome?.observedMs ?? outcome?.durationMs;
    if (outcome?.state === undefined || observedMs === undefined) return;
    const endedAtMs = decidedAtMs + observedMs;
    const result = outcome.state === "complete" ? "ok" : outcome.state === "error" ? "error" : "expired";
    // An audit came later than the end, as a rule: the log does not say when.
    const { durationMs, quality, auditedQuality } = outcome;
    const ended = {
      ...common,
      startedAtMs: decidedAtMs,
      endedAtMs,
      result,
      durationMs,
      quality,
      auditedQuality,
      cost: undefined,
    } as const;
    const place = this.#ends.findIndex(({ atMs }) => atMs > endedAtMs);
    this.#ends.splice(place < 0 ? this.#ends.length : place, 0, { atMs: endedAtMs, tell: () => this.#policy.ended(ended) });
  }

  #passTime(nowMs: number): void {
    while (this.#ends[0] !== undefined && this.#ends[0].atMs <= nowMs) this.#ends.shift()?.tell();
    if (nowMs - this.#tickedAtMs < 1_000) return;
    this.#tickedAtMs = nowMs;
    this.#policy.tick(nowMs);
  }
}
