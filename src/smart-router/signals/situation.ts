import { limits } from "../../platform/limits.js";
import type { Quality } from "../learn/quality.js";
import { effectsOf } from "../learn/shared-effect.js";
import { classOf, type RouteRequest } from "../request.js";
import type { ClassSignals } from "../signal-book.js";
import type { Decay } from "./decay.js";
import { placeThreshold, quantileOf, type Threshold, totalOf, weightAbove } from "./log-histogram.js";
import type { Level, Memory } from "./memory.js";
import type { SignalBookSettings } from "./settings.js";

/** Names of levels: a class and a type may have the same text. */
export const classKey = (request: RouteRequest): string => classKeys(classOf(request));
export const typeKey = (request: RouteRequest): string => typeKeys(request.requestType);

const classKeys = prefixing("c");
const typeKeys = prefixing("t");

/** Puts `prefix` before a text: the same text again and again, whose hash is known. Bound: `limits.signalClassesMax`. */
function prefixing(prefix: string): (text: string) => string {
  const made = new Map<string, string>();
  return (text) => {
    const known = made.get(text);
    if (known !== undefined) return known;
    if (made.size >= limits.signalClassesMax) made.clear();
    const fresh = `${prefix}${text}`;
    made.set(text, fresh);
    return fresh;
  };
}

/** What is the same for all MCPs of one decision. Mutable: one is reused, and filled anew when request, time or signals differ. */
export type Situation = {
  ofClass: Level | undefined;
  ofType: Level | undefined;
  signals: ClassSignals;
  /** Expected latency of an MCP of which nothing is known. Unit: ms. */
  priorMs: number;
  /** Expected quality by the request alone. */
  expected: number;
  /** What requests of the type, and of the class, have in common beyond that. */
  typeEffect: number;
  classEffect: number;
  /** Mean cost in the class; 0 when nobody tells any. */
  cost: number;
  deadlineMs: number;
  threshold: Threshold;
  /** Tail probability over the fleet. */
  fleetTail: number;
  /** By what a latency of the type, or of everything, is multiplied to be one of the class. */
  typeScale: number;
  allScale: number;
};

/** Bounds of a scale: beyond, two classes have too little in common for one to tell of the other. */
const scaleMax = 32;

export class Situations {
  readonly #memory: Memory;
  readonly #errors: Decay;
  readonly #slow: Decay;
  readonly #quality: Quality;
  readonly #settings: SignalBookSettings;
  #objectiveMs: ReadonlyMap<string, number>;
  #request: RouteRequest | undefined;
  #nowMs = Number.NaN;
  #version = -1;
  #levelsVersion = -1;
  readonly #situation: Situation;

  constructor(memory: Memory, errors: Decay, slow: Decay, quality: Quality, settings: SignalBookSettings) {
    this.#memory = memory;
    this.#errors = errors;
    this.#slow = slow;
    this.#quality = quality;
    this.#settings = settings;
    this.#objectiveMs = settings.objectiveMs;
    this.#situation = {
      ofClass: undefined,
      ofType: undefined,
      signals: noClassSignals,
      priorMs: 0,
      expected: 0,
      typeEffect: 0,
      classEffect: 0,
      cost: 0,
      deadlineMs: 0,
      threshold: { bucket: 0, share: 0 },
      fleetTail: 0,
      typeScale: 1,
      allScale: 1,
    };
  }

  /** Takes other objectives. The caller gives the next situation another version. */
  setObjectives(objectiveMs: ReadonlyMap<string, number>): void {
    this.#objectiveMs = objectiveMs;
  }

  /** `version` is that of all sums: a situation holds for one request at one time with one state of knowledge. Overwritten by the next call. */
  of(request: RouteRequest, nowMs: number, version: number): Situation {
    const situation = this.#situation;
    if (request !== this.#request || this.#levelsVersion !== this.#memory.levelsVersion) {
      situation.ofClass = this.#memory.findLevel(classKey(request));
      situation.ofType = this.#memory.findLevel(typeKey(request));
    } else if (nowMs === this.#nowMs && version === this.#version) return situation;
    this.#request = request;
    this.#levelsVersion = this.#memory.levelsVersion;
    this.#nowMs = nowMs;
    this.#version = version;
    this.#fill(request, nowMs);
    return situation;
  }

  #fill(request: RouteRequest, nowMs: number): void {
    const { samplesMin, tailShrinkage, tailPrior } = this.#settings;
    const situation = this.#situation;
    const { all } = this.#memory;
    const kept = this.#slow.keptAt(nowMs);
    const timed = this.#pick(situation, (level) => totalOf(level.latency) * kept >= samplesMin);
    const p50Ms = quantileOf(timed.latency, 0.5) ?? noClassSignals.p50Ms;
    const p90Ms = quantileOf(timed.latency, 0.9) ?? noClassSignals.p90Ms;
    const p95Ms = quantileOf(timed.latency, 0.95) ?? noClassSignals.p95Ms;
    const judged = this.#pick(situation, (level) => level.qualityCount * kept >= samplesMin);
    const objective = this.#objectiveMs.get(request.requestType);
    situation.signals = {
      p50Ms,
      p90Ms,
      p95Ms,
      errorRate: this.#errorRate(situation, nowMs),
      quality: judged.qualityCount * kept > sampleMin ? judged.quality / judged.qualityCount : this.#settings.quality.prior,
      deadlineMs: objective ?? p90Ms,
    };
    const { latencyPriorFactor, latencyPriorMs } = this.#settings;
    situation.priorMs = totalOf(timed.latency) * kept > sampleMin ? p50Ms * latencyPriorFactor : latencyPriorMs;
    situation.expected = this.#quality.expect(request, nowMs);
    const effects = effectsOf(situation.ofClass?.shared, situation.ofType?.shared, this.#settings.quality);
    situation.typeEffect = effects.typeEffect;
    situation.classEffect = effects.classEffect;
    const priced = this.#pick(situation, (level) => level.costCount * kept >= samplesMin);
    situation.cost = priced.costCount * kept > sampleMin ? priced.cost / priced.costCount : 0;
    situation.deadlineMs = request.deadlineMs ?? situation.signals.deadlineMs;
    placeThreshold(situation.deadlineMs, situation.threshold);
    const count = totalOf(timed.latency) * kept;
    const above = weightAbove(timed.latency, situation.threshold) * kept;
    situation.fleetTail = (above + tailShrinkage * tailPrior) / (count + tailShrinkage);
    const typeP50Ms = situation.ofType === undefined ? undefined : quantileOf(situation.ofType.latency, 0.5);
    situation.typeScale = scaleOf(p50Ms, typeP50Ms);
    situation.allScale = scaleOf(p50Ms, quantileOf(all.latency, 0.5));
  }

  #errorRate(situation: Situation, nowMs: number): number {
    const { samplesMin, errorShrinkage, errorPrior } = this.#settings;
    const kept = this.#errors.keptAt(nowMs);
    const level = this.#pick(situation, (one) => one.ended * kept >= samplesMin);
    return (level.failed * kept + errorShrinkage * errorPrior) / (level.ended * kept + errorShrinkage);
  }

  /** The finest level of which enough is known, otherwise everything. */
  #pick(situation: Situation, isEnough: (level: Level) => boolean): Level {
    if (situation.ofClass !== undefined && isEnough(situation.ofClass)) return situation.ofClass;
    if (situation.ofType !== undefined && isEnough(situation.ofType)) return situation.ofType;
    return this.#memory.all;
  }
}

/** Below this much decayed weight a mean is rounding noise. */
export const sampleMin = 1e-9;

/** A class of which nothing is known. The p95 is half of the penalty of a failure. */
const noClassSignals: ClassSignals = { p50Ms: 1_000, p90Ms: 2_500, p95Ms: 2_500, errorRate: 0.05, quality: 0.5, deadlineMs: 2_500 };

function scaleOf(classMs: number, levelMs: number | undefined): number {
  if (levelMs === undefined) return 1;
  return Math.min(scaleMax, Math.max(1 / scaleMax, classMs / levelMs));
}
