import type { RouteRequest } from "../request.js";
import { keptAfter } from "../signals/decay.js";
import type { QualitySettings } from "../signals/settings.js";
import { addDeviation, type ChangeDetector, noChange } from "./change-detector.js";
import { featureCount, writeFeatures } from "./features.js";
import { blend, type LevelSum, noParticular, type Particular, particularAt, priorStrength } from "./hierarchy.js";
import { addQuality, noQuality, type QualitySums, residualSum } from "./residuals.js";
import { Ridge } from "./ridge.js";
import { addReport, biasOf, isConstant, isUsable, type SelfReports, vouchedShare } from "./self-reports.js";
import { addShared, effectsOf, type SharedEffect, type SharedEffects } from "./shared-effect.js";

/** Samples of one MCP in one class, or in a coarser one; by source. */
export type OwnQuality = {
  readonly self: QualitySums;
  readonly audited: QualitySums;
  /** Looked at in the coarsest level only. */
  readonly change: ChangeDetector;
  /** What was last made of these samples and the coarser ones; holds while both versions are the same. */
  readonly memo: {
    reportsVersion: number;
    ridgeVersion: number;
    readonly counted: Particular;
    /** By its own word alone, and how much of that moves its share: 0 when it is counted already, or never. */
    readonly claimed: Particular;
    claimedShare: number;
  };
};

/** What one end or audit told. */
export type Observed = {
  /** The quality that counts. */
  readonly quality: number;
  /** The MCP is no longer what it was: what is remembered of qualities should be forgotten but for `changeKept` samples. */
  readonly isChange: boolean;
};

/** An estimate; one is reused for every reading, so copy what you keep. */
export type QualityEstimate = { quality: number; sigma: number; selfFactor: number };

export function noOwnQuality(): OwnQuality {
  return {
    self: noQuality(),
    audited: noQuality(),
    change: noChange(),
    memo: { reportsVersion: -1, ridgeVersion: -1, counted: noParticular(), claimed: noParticular(), claimedShare: 0 },
  };
}

/**
 * Learned quality: what a request tells (shared regression) plus what is particular to the MCP (shrunk mean of its residuals, class within type within all), with a
 * standard error that grows in silence. What an MCP says of itself moves only its share, by a bounded factor, unless audits vouch for it.
 * Source: SPEC.md, "Quality"; router.md 1.2 and 1.6.
 */
export class Quality {
  readonly #settings: QualitySettings;
  readonly #wallOffsetMs: number;
  readonly ridge: Ridge;
  readonly #features = new Float64Array(featureCount);
  readonly #lnSelfMax: number;
  readonly #estimate: QualityEstimate = { quality: 0, sigma: 0, selfFactor: 1 };
  /** Mean squared residual over the fleet, decayed by count. */
  readonly squaredError = { sum: 0, count: 0 };

  constructor(settings: QualitySettings, wallOffsetMs: number) {
    this.#settings = settings;
    this.#wallOffsetMs = wallOffsetMs;
    this.#lnSelfMax = Math.log(settings.selfFactorMax);
    this.ridge = new Ridge(settings);
  }

  /**
   * Learns from one end or audit. `levels` are the MCP's samples in the class, the type and overall. Returns undefined when there is no quality
   * that can be used. `isAfterwards`: the self-report was learned from before, and now the audit of the same interaction has come.
   */
  observe(
    reports: SelfReports,
    levels: readonly OwnQuality[],
    shared: readonly SharedEffect[],
    request: RouteRequest,
    atMs: number,
    self: number | undefined,
    audited: number | undefined,
    isAfterwards = false,
  ): Observed | undefined {
    if (self !== undefined && !isUsable(self) && !isAfterwards) reports.dropped += 1;
    if (audited !== undefined && !isUsable(audited)) reports.dropped += 1;
    const usableSelf = isUsable(self) ? self : undefined;
    const usableAudit = isUsable(audited) ? audited : undefined;
    addReport(reports, usableSelf, usableAudit, atMs, this.#settings, isAfterwards);
    const isSelf = usableAudit === undefined;
    const quality = usableAudit ?? (isConstant(reports, this.#settings) ? undefined : usableSelf);
    if (quality === undefined) return undefined;
    writeFeatures(request, atMs + this.#wallOffsetMs, this.#features);
    const error = quality - this.ridge.predict(this.#features);
    const isChange = (!isSelf || this.#settings.selfReports === "trusted") && this.#isChange(reports, levels, shared, quality);
    const kept = 1 - 1 / squaredErrorMemory;
    this.squaredError.sum = this.squaredError.sum * kept + error * error;
    this.squaredError.count = this.squaredError.count * kept + 1;
    const isTrusted = this.#settings.selfReports === "trusted";
    const weight = isSelf && !isTrusted ? this.#settings.selfWeight : 1;
    this.ridge.add(this.#features, quality, weight, atMs);
    const effect = this.#share(reports, levels, shared, quality, weight, atMs);
    for (const level of levels) addQuality(isSelf ? level.self : level.audited, this.#features, quality, effect, atMs, this.#settings);
    return { quality, isChange };
  }

  /** Whether a quality that somebody vouches for, with those before it, says that the MCP has changed. Features are those of the request. */
  #isChange(reports: SelfReports, [ofAll]: readonly OwnQuality[], [ofType, ofClass]: readonly SharedEffect[], quality: number): boolean {
    const settings = this.#settings;
    if (ofAll === undefined || ofAll.audited.count + ofAll.self.count < settings.changeCountMin) return false;
    const own = this.#overall(ofAll, vouchedShare(reports, ofAll.self.count, settings), biasOf(reports)).mean;
    const { classEffect } = effectsOf(ofClass, ofType, settings);
    const expected = Math.min(1, Math.max(0, this.ridge.predict(this.#features) + classEffect + own));
    // No value in [0, 1] varies more than by m (1 - m), and who is in the middle varies more than the fleet.
    const variance = Math.max(this.variance(), expected * (1 - expected));
    return addDeviation(ofAll.change, (quality - expected) / Math.sqrt(variance), settings);
  }

  /** Learns what requests like this one have in common, and tells what is known of it now. */
  #share(
    reports: SelfReports,
    [ofAll]: readonly OwnQuality[],
    [ofType, ofClass]: readonly SharedEffect[],
    quality: number,
    weight: number,
    atMs: number,
  ): number {
    const settings = this.#settings;
    const own = ofAll === undefined ? 0 : this.#overall(ofAll, vouchedShare(reports, ofAll.self.count, settings), biasOf(reports)).mean;
    const unexplained = quality - this.ridge.predict(this.#features) - own;
    for (const effect of [ofType, ofClass]) if (effect !== undefined) addShared(effect, unexplained, weight, atMs, settings);
    return effectsOf(ofClass, ofType, settings).classEffect;
  }

  /** What the request alone tells of the quality to expect. Not clamped. */
  expect(request: RouteRequest, nowMs: number): number {
    writeFeatures(request, nowMs + this.#wallOffsetMs, this.#features);
    return this.ridge.predict(this.#features);
  }

  /** Estimate for an MCP of which nothing is known. The answer is overwritten by the next call. */
  estimateUnknown(expected: number, { classEffect }: SharedEffects): QualityEstimate {
    return this.#answer(expected + classEffect, 0, priorStrength(this.#settings), 0);
  }

  /**
   * Estimate for one MCP. `expected` is what the request alone tells, `effects` what requests like it have in common; `own` its samples in the finest level there is
   * (`isOfClass` when that is the request's class), `coarser` and `coarsest` in those above. The answer is overwritten by the next call.
   */
  estimate(
    expected: number,
    effects: SharedEffects,
    reports: SelfReports,
    own: OwnQuality,
    isOfClass: boolean,
    coarser: OwnQuality | undefined,
    coarsest: OwnQuality | undefined,
    nowMs: number,
  ): QualityEstimate {
    const ofAll = coarsest ?? coarser ?? own;
    const lastMs = Math.max(ofAll.audited.atMs, ofAll.self.atMs);
    if (lastMs === Number.NEGATIVE_INFINITY) return this.estimateUnknown(expected, effects);
    const { memo } = own;
    if (memo.reportsVersion !== reports.version || memo.ridgeVersion !== this.ridge.version) {
      const ofType = isOfClass ? coarser : coarser === undefined ? undefined : own;
      this.#remember(reports, own, isOfClass ? own : undefined, ofType, ofAll);
    }
    const silenceMs = Math.max(0, nowMs - lastMs);
    const returned = keptAfter(silenceMs, this.#settings.silenceHalfLifeMs);
    const lnSelfFactor =
      memo.claimedShare === 0 ? 0 : this.#settings.selfFactorSteepness * memo.claimedShare * particularAt(memo.claimed, effects) * returned;
    const residual = particularAt(memo.counted, effects) * returned;
    return this.#answer(expected + effects.classEffect + residual, lnSelfFactor, memo.counted.strength, silenceMs);
  }

  #answer(quality: number, lnSelfFactor: number, strength: number, silenceMs: number): QualityEstimate {
    const { varianceDriftPerMs, varianceMax } = this.#settings;
    const answer = this.#estimate;
    answer.quality = Math.min(1, Math.max(0, quality));
    answer.sigma = Math.sqrt(Math.min(varianceMax, this.variance() / strength + varianceDriftPerMs * silenceMs));
    answer.selfFactor = lnSelfFactor === 0 ? 1 : Math.exp(Math.min(this.#lnSelfMax, Math.max(-this.#lnSelfMax, lnSelfFactor)));
    return answer;
  }

  #remember(
    reports: SelfReports,
    { memo }: OwnQuality,
    ofClass: OwnQuality | undefined,
    ofType: OwnQuality | undefined,
    ofAll: OwnQuality,
  ): void {
    const settings = this.#settings;
    const selfCount = ofAll.self.count;
    const vouched = vouchedShare(reports, selfCount, settings);
    memo.reportsVersion = reports.version;
    memo.ridgeVersion = this.ridge.version;
    this.#blend(ofClass, ofType, ofAll, 1, vouched, biasOf(reports), memo.counted);
    memo.claimedShare = 0;
    if (vouched >= 1 || selfCount === 0 || isConstant(reports, settings)) return;
    memo.claimedShare = 1 - vouched;
    this.#blend(ofClass, ofType, ofAll, 0, 1, 0, memo.claimed);
  }

  /**
   * Estimate over all requests, for a published weight: around `fleetMean`, with self-reports counted in full unless they are constant, because the weight rule caps
   * what they may do. `isSelfReported` is false once audits outnumber them.
   */
  ofWeight(
    fleetMean: number,
    reports: SelfReports,
    ofAll: OwnQuality,
    nowMs: number,
  ): { readonly quality: number; readonly sigma: number; readonly isSelfReported: boolean } {
    const settings = this.#settings;
    const believed = isConstant(reports, settings) ? 0 : 1;
    const lastMs = Math.max(ofAll.audited.atMs, ofAll.self.atMs);
    const silenceMs = lastMs === Number.NEGATIVE_INFINITY ? 0 : Math.max(0, nowMs - lastMs);
    const { mean, strength } = this.#overall(ofAll, believed, biasOf(reports));
    const residual = mean * keptAfter(silenceMs, settings.silenceHalfLifeMs);
    const variance = this.variance() / strength + settings.varianceDriftPerMs * silenceMs;
    return {
      quality: Math.min(1, Math.max(0, fleetMean + residual)),
      sigma: Math.sqrt(Math.min(settings.varianceMax, variance)),
      isSelfReported: reports.audits <= reports.count,
    };
  }

  /** Variance of one sample around its prediction, over the fleet. */
  variance(): number {
    const { variancePrior } = this.#settings;
    return (this.squaredError.sum + variancePriorCount * variancePrior) / (this.squaredError.count + variancePriorCount);
  }

  /** What is particular to the MCP with samples in these levels; `auditShare` of its audits and `selfShare` of its self-reports, less their `bias`, are counted. */
  #blend(
    ofClass: OwnQuality | undefined,
    ofType: OwnQuality | undefined,
    ofAll: OwnQuality,
    auditShare: number,
    selfShare: number,
    bias: number,
    into: Particular,
  ): void {
    this.#sum(ofAll, auditShare, selfShare, bias, allSum);
    allSum.sum -= ofAll.audited.effect * auditShare + ofAll.self.effect * selfShare;
    this.#sum(ofType, auditShare, selfShare, bias, typeSum);
    this.#sum(ofClass, auditShare, selfShare, bias, classSum);
    blend(allSum, typeSum, classSum, this.#settings, into);
  }

  #sum(level: OwnQuality | undefined, auditShare: number, selfShare: number, bias: number, into: LevelSum): void {
    into.count = 0;
    into.sum = 0;
    if (level === undefined) return;
    into.count = level.audited.count * auditShare + level.self.count * selfShare;
    if (auditShare > 0) into.sum += residualSum(level.audited, this.ridge) * auditShare;
    if (selfShare > 0) into.sum += (residualSum(level.self, this.ridge) - bias * level.self.count) * selfShare;
  }

  /** What is particular to an MCP over all requests: its mean residual, drawn towards 0. */
  #overall(ofAll: OwnQuality, selfShare: number, bias: number): { readonly mean: number; readonly strength: number } {
    this.#sum(ofAll, 1, selfShare, bias, allSum);
    const strength = allSum.count + priorStrength(this.#settings);
    return { mean: (allSum.sum - ofAll.audited.effect - ofAll.self.effect * selfShare) / strength, strength };
  }
}

/** Written by `#sum`, read at once. */
const allSum: LevelSum = { count: 0, sum: 0 };
const typeSum: LevelSum = { count: 0, sum: 0 };
const classSum: LevelSum = { count: 0, sum: 0 };

/** Samples that the prior variance is worth. */
const variancePriorCount = 20;

/** Samples over which the fleet's squared error is averaged: a few per MCP of a large fleet. */
const squaredErrorMemory = 1_000;
