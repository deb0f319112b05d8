import type { Assigned, Choice, Ended, Policy, Scored, Target } from "../policy.js";
import type { ClassSignals, SignalBook, TargetSignals } from "../signal-book.js";
import { createRanking, type Situation } from "./rank.js";
import { type Drawn, draw, explain } from "./rule.js";
import { type RuleSettings, ruleDefaults } from "./settings.js";
import { addEnd, effectOf, type LoadEffect, noUsualLoad, type UsualLoad } from "./usual-load.js";

export const qualityTailLoadId = "quality-tail-load/1";

/** The last request that an MCP got for the sake of learning. `decisionId` is undefined once it has ended. */
type Trial = { atMs: number; decisionId: string | undefined };

/** What is known of how one MCP bears its load: what it had in flight after the last assignment, at `assignedAtMs`, and the ends heard since. `effect` is made anew with every end. */
type Bearing = { present: number; assignedAtMs: number; readonly usual: UsualLoad; effect: LoadEffect | undefined };

/** What the policy itself keeps of one MCP. */
type Acquaintance = { trial: Trial | undefined; bearing: Bearing | undefined };

/** A trial that ended this long ago is forgotten: its MCP may be tried out either way. So is the load of an MCP that ended nothing since. */
const forgetAfterMs = 600_000;

/**
 * The rule of SPEC.md as a policy: quality, tail and latency decide among those that are not loaded more than others; load decides among equals.
 * `book` is fed by whoever runs the policy; the policy only reads it.
 */
export function createQualityTailLoad(
  book: Pick<SignalBook, "read" | "readClass">,
  changed: Partial<RuleSettings> = {},
  id: string = qualityTailLoadId,
): Policy {
  const settings: RuleSettings = { ...ruleDefaults, ...changed };
  /** One map, because every decision looks up every target. */
  const acquaintances = new Map<string, Acquaintance>();
  const scratch = createRanking();

  const acquaintanceOf = (mcpId: string): Acquaintance => {
    const known = acquaintances.get(mcpId);
    if (known !== undefined) return known;
    const fresh = { trial: undefined, bearing: undefined };
    acquaintances.set(mcpId, fresh);
    return fresh;
  };

  const mayExplore = ({ state }: Target, trial: Trial | undefined, latencyMs: number, nowMs: number): boolean => {
    if (trial === undefined) return true;
    if (trial.decisionId !== undefined) return false;
    const everyMs = state === "degraded" ? settings.exploreDegradedEveryMs : settings.exploreEveryMs;
    return nowMs - trial.atMs >= Math.max(everyMs, settings.exploreLatencies * latencyMs);
  };

  /** Failures say how long it takes to fail, so only answers are learned from. */
  const learnLoad = ({ mcpId, startedAtMs, endedAtMs, inFlightBefore, result }: Ended): void => {
    const known = acquaintances.get(mcpId)?.bearing;
    if (known === undefined && result !== "ok") return;
    const bearing = known ?? { present: 1, assignedAtMs: Number.NEGATIVE_INFINITY, usual: noUsualLoad(), effect: undefined };
    if (known === undefined) acquaintanceOf(mcpId).bearing = bearing;
    bearing.present = Math.max(0, bearing.present - 1);
    if (result !== "ok") return;
    // Of an end that another coordinator heard first, only what was in flight at the beginning is known.
    const inFlightAfter = endedAtMs < bearing.assignedAtMs ? inFlightBefore : bearing.present;
    addEnd(bearing.usual, endedAtMs - startedAtMs, (inFlightBefore + inFlightAfter) / 2, endedAtMs, settings.loadMemory);
    bearing.effect = effectOf(bearing.usual, settings.loadEndsMin, settings.loadSigmas);
  };

  return {
    id,
    parameters: settings,
    choose: (request, targets, nowMs, rng) => {
      const classSignals = book.readClass(request, nowMs);
      const signals: TargetSignals[] = [];
      const explorable: boolean[] = [];
      for (const target of targets) {
        const own = acquaintances.get(target.mcpId);
        const known = book.read(target.mcpId, request, target.inFlight, nowMs);
        known.load = own?.bearing?.effect;
        signals.push(known);
        explorable.push(!request.noExplore && mayExplore(target, own?.trial, known.latencyMs, nowMs));
      }
      const situation = { targets, signals, explorable, deadlineMs: request.deadlineMs ?? classSignals.deadlineMs };
      return new Ruling(situation, classSignals, settings, draw(situation, settings, rng, scratch));
    },
    assigned: ({ mcpId, decisionId, atMs, isExploration, inFlightBefore }: Assigned) => {
      if (isExploration === true) acquaintanceOf(mcpId).trial = { atMs, decisionId };
      const bearing = acquaintances.get(mcpId)?.bearing;
      if (bearing === undefined) return;
      bearing.present = inFlightBefore + 1;
      bearing.assignedAtMs = atMs;
    },
    ended: (ended: Ended) => {
      const trial = acquaintances.get(ended.mcpId)?.trial;
      if (trial?.decisionId === ended.decisionId) trial.decisionId = undefined;
      learnLoad(ended);
    },
    tick: (nowMs) => {
      for (const [mcpId, own] of acquaintances) {
        const { trial, bearing } = own;
        if (trial !== undefined && trial.decisionId === undefined && nowMs - trial.atMs > forgetAfterMs) own.trial = undefined;
        if (bearing !== undefined && nowMs - bearing.usual.atMs > forgetAfterMs) own.bearing = undefined;
        if (own.trial === undefined && own.bearing === undefined) acquaintances.delete(mcpId);
      }
    },
  };
}

/** A choice that computes its explanation when it is asked for it. */
class Ruling implements Choice {
  readonly mcpId: string;
  readonly propensity: number;
  readonly epsilon: number;
  readonly regime: Choice["regime"];
  readonly isExploration: boolean;
  readonly classSignals: ClassSignals;
  readonly #situation: Situation;
  readonly #settings: RuleSettings;
  #scored: readonly Scored[] | undefined;

  constructor(situation: Situation, classSignals: ClassSignals, settings: RuleSettings, drawn: Drawn) {
    this.mcpId = situation.targets[drawn.at]?.mcpId ?? "";
    this.propensity = drawn.propensity;
    this.epsilon = drawn.epsilon;
    this.regime = drawn.regime;
    this.isExploration = drawn.isExploration;
    this.classSignals = classSignals;
    this.#situation = situation;
    this.#settings = settings;
  }

  get scored(): readonly Scored[] {
    this.#scored ??= explain(this.#situation, this.#settings);
    return this.#scored;
  }
}

/** The rule without one of its parts, to measure what that part is worth. The one without open ages is a matter of the signals. */
export const ablations: Readonly<Record<string, Partial<RuleSettings>>> = {
  "quality-tail-load/1-no-quality": { usesQuality: false },
  "quality-tail-load/1-no-tail": { usesTail: false },
  "quality-tail-load/1-no-tie-set": { usesTieSet: false },
  "quality-tail-load/1-no-recent": { usesRecent: false },
};
