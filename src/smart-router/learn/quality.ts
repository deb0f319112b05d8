import type { RouteRequest } from "../request.js";
import { keptAfter } from "../signals/decay.js";
import type { QualitySettings } from "../signals/settings.js";
import { featureCount, writeFeatures } from "./features.js";
import { addQuality, noQuality, type QualitySums, residualSum } from "./residuals.js";
import { Ridge } from "./ridge.js";
import { addReport, biasOf, isConstant, isUsable, type SelfReports, vouchedShare } from "./self-reports.js";

/** Samples of one MCP in one class, or in a coarser one; by source. */
export type OwnQuality = {
  readonly self: QualitySums;
  readonly audited: QualitySums;
  /** What was last made of these samples and the coarser ones; holds while both versions are the same. */
  readonly memo: { reportsVersion: number; ridgeVersion: number; residual: number; lnSelfFactor: number; count: number };
};

/** An estimate; one is reused for every reading, so copy what you keep. */
export type QualityEstimate = { quality: number; sigma: number; selfFactor: number };

export function noOwnQuality(): OwnQuality {
  return {
    self: noQuality(),
    audited: noQuality(),
    memo: { reportsVersion: -1, ridgeVersion: -1, residual: 0, lnSelfFactor: 0, count: 0 },
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
   * Learns from one end or audit. `levels` are the MCP's samples in the class, the type and overall. Returns the quality that counts, undefined when there is none
   * that can be used. `isAfterwards`: the self-report was learned from before, and now the audit of the same interaction has come.
   */
  observe(
    reports: SelfReports,
    levels: readonly OwnQuality[],
    request: RouteRequest,
    atMs: number,
    self: number | undefined,
    audited: number | undefined,
    isAfterwards = false,
  ): number | undefined {
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
    const kept = 1 - 1 / squaredErrorMemory;
    this.squaredError.sum = this.squaredError.sum * kept + error * error;
    this.squaredError.count = this.squaredError.count * kept + 1;
    const isTrusted = this.#settings.selfReports === "trusted";
    this.ridge.add(this.#features, quality, isSelf && !isTrusted ? this.#settings.selfWeight : 1, atMs);
    for (const level of levels) addQuality(isSelf ? level.self : level.audited, this.#features, quality, atMs, this.#settings);
    return quality;
  }

  /** What the request alone tells of the quality to expect. Not clamped. */
  expect(request: RouteRequest, nowMs: number): number {
    writeFeatures(request, nowMs + this.#wallOffsetMs, this.#features);
    return this.ridge.predict(this.#features);
  }

  /** Estimate for an MCP of which nothing is known. The answer is overwritten by the next call. */
  estimateUnknown(expected: number): QualityEstimate {
    return this.#answer(expected, 0, 0, 0, 0);
  }

  /**
   * Estimate for one MCP. `expected` is what the request alone tells; `own` its samples in the finest level there is (`isOfClass` when that is the request's class),
   * `coarser` and `coarsest` in those above. The answer is overwritten by the next call.
   */
  estimate(
    expected: number,
    reports: SelfReports,
    own: OwnQuality,
    isOfClass: boolean,
    coarser: OwnQuality | undefined,
    coarsest: OwnQuality | undefined,
    nowMs: number,
  ): QualityEstimate {
    const ofAll = coarsest ?? coarser ?? own;
    const lastMs = Math.max(ofAll.audited.atMs, ofAll.self.atMs);
    if (lastMs === Number.NEGATIVE_INFINITY) return this.estimateUnknown(expected);
    const { memo } = own;
    if (memo.reportsVersion !== reports.version || memo.ridgeVersion !== this.ridge.version)
      this.#remember(reports, own, coarser, coarsest);
    const silenceMs = Math.max(0, nowMs - lastMs);
    const returned = keptAfter(silenceMs, this.#settings.silenceHalfLifeMs);
    return this.#answer(expected, memo.residual * returned, memo.lnSelfFactor * returned, isOfClass ? memo.count : 0, silenceMs);
  }

  #answer(expected: number, residual: number, lnSelfFactor: number, count: number, silenceMs: number): QualityEstimate {
    const { shrinkage, varianceDriftPerMs, varianceMax } = this.#settings;
    const answer = this.#estimate;
    answer.quality = Math.min(1, Math.max(0, expected + residual));
    answer.sigma = Math.sqrt(Math.min(varianceMax, this.variance() / (shrinkage + count) + varianceDriftPerMs * silenceMs));
    answer.selfFactor = lnSelfFactor === 0 ? 1 : Math.exp(Math.min(this.#lnSelfMax, Math.max(-this.#lnSelfMax, lnSelfFactor)));
    return answer;
  }

  #remember(reports: SelfReports, own: OwnQuality, coarser: OwnQuality | undefined, coarsest: OwnQuality | undefined): void {
    const settings = this.#settings;
    const { memo } = own;
    const selfCount = (coarsest ?? coarser ?? own).self.count;
    const vouched = vouchedShare(reports, selfCount, settings);
    memo.reportsVersion = reports.version;
    memo.ridgeVersion = this.ridge.version;
    memo.residual = this.#chain(own, coarser, coarsest, 1, vouched, biasOf(reports));
    memo.count = own.audited.count + vouched * own.self.count;
    memo.lnSelfFactor = 0;
    if (vouched >= 1 || selfCount === 0 || isConstant(reports, settings)) return;
    memo.lnSelfFactor = settings.selfFactorSteepness * this.#chain(own, coarser, coarsest, 0, 1, 0) * (1 - vouched);
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
    const residual =
      this.#chain(ofAll, undefined, undefined, 1, believed, biasOf(reports)) * keptAfter(silenceMs, settings.silenceHalfLifeMs);
    const count = ofAll.audited.count + believed * ofAll.self.count;
    const variance = this.variance() / (settings.shrinkage + count) + settings.varianceDriftPerMs * silenceMs;
    return {
      quality: Math.min(1, Math.max(0, fleetMean + residual)),
      sigma: Math.sqrt(Math.min(settings.varianceMax, variance)),
      isSelfReported: reports.audits <= reports.count,
    };
  }

  /** Variance of one sample around its prediction, over the fleet. */
  variance(): number {
    const { shrinkage, variancePrior } = this.#settings;
    return (this.squaredError.sum + shrinkage * variancePrior) / (this.squaredError.count + shrinkage);
  }

  /**
   * Mean residual of the class, shrunk to that of the type, shrunk to that of everything, shrunk to 0. A coarser level counts only as far as it knows more than the finer
   * one: with one class, this is Σ residual / (shrinkage + count).
   */
  #chain(
    own: OwnQuality,
    coarser: OwnQuality | undefined,
    coarsest: OwnQuality | undefined,
    auditShare: number,
    selfShare: number,
    bias: number,
  ): number {
    const { shrinkage } = this.#settings;
    let mean = 0;
    let known = 0;
    for (const level of [coarsest, coarser, own]) {
      if (level === undefined) continue;
      const selfCount = level.self.count * selfShare;
      const count = level.audited.count * auditShare + selfCount;
      if (count === 0) continue;
      const self = selfCount === 0 ? 0 : (residualSum(level.self, this.ridge) - bias * level.self.count) * selfShare;
      const audited = auditShare === 0 ? 0 : residualSum(level.audited, this.ridge) * auditShare;
      const more = known === 0 ? 0 : Math.max(0, 1 - count / known);
      mean = (self + audited + shrinkage * more * mean) / (shrinkage + count);
      known = count;
    }
    return mean;
  }
}

/** Samples over which the fleet's squared error is averaged: a few per MCP of a large fleet. */
const squaredErrorMemory = 1_000;
