import { keptAfter } from "../signals/decay.js";
import type { QualitySettings } from "../signals/settings.js";

/** What is known of how far an MCP can be believed. Decayed sums as of `atMs`; `dropped` is a plain count. */
export type SelfReports = {
  count: number;
  sum: number;
  squares: number;
  /** Audits of interactions of which the MCP itself had said something, and Σ (self − audited) over them. */
  pairs: number;
  excess: number;
  audits: number;
  /** Reports that are no number in [0, 1]. */
  dropped: number;
  atMs: number;
  /** Grows with each report and audit. */
  version: number;
};

export function noReports(): SelfReports {
  return { count: 0, sum: 0, squares: 0, pairs: 0, excess: 0, audits: 0, dropped: 0, atMs: Number.NEGATIVE_INFINITY, version: 0 };
}

/** A quality that can be used: a number in [0, 1]. */
export function isUsable(quality: number | undefined): quality is number {
  return quality !== undefined && quality >= 0 && quality <= 1;
}

/** Adds what one interaction tells: `self` and `audited` are usable or undefined. `isAfterwards`: `self` was added before. */
export function addReport(
  reports: SelfReports,
  self: number | undefined,
  audited: number | undefined,
  atMs: number,
  settings: QualitySettings,
  isAfterwards: boolean,
): void {
  reports.version += 1;
  if (atMs > reports.atMs) {
    const kept = reports.atMs === Number.NEGATIVE_INFINITY ? 1 : keptAfter(atMs - reports.atMs, settings.ownHalfLifeMs);
    reports.count *= kept;
    reports.sum *= kept;
    reports.squares *= kept;
    reports.pairs *= kept;
    reports.excess *= kept;
    reports.audits *= kept;
    reports.atMs = atMs;
  }
  const weight = keptAfter(reports.atMs - atMs, settings.ownHalfLifeMs);
  if (self !== undefined && !isAfterwards) {
    // Around 1/2, so that rounding cannot make a constant look varied.
    reports.count += weight;
    reports.sum += weight * (self - 0.5);
    reports.squares += weight * (self - 0.5) ** 2;
  }
  if (audited === undefined) return;
  reports.audits += weight;
  if (self === undefined) return;
  reports.pairs += weight;
  reports.excess += weight * (self - audited);
}

/** Many reports that never differ are a constant in a program, not a measurement. */
export function isConstant(reports: SelfReports, settings: QualitySettings): boolean {
  if (reports.count <= settings.constantCount) return false;
  const mean = reports.sum / reports.count;
  return reports.squares / reports.count - mean * mean < settings.constantVarianceMax;
}

/** By how much the MCP rates itself too high; 0 without audits, and shrunk by one sample towards it. */
export function biasOf(reports: SelfReports): number {
  return reports.excess / (reports.pairs + 1);
}

/** Share of `selfCount` self-reports that counts as evidence: all of a trusted MCP, otherwise as many as its audits vouch for, and none of a constant. */
export function vouchedShare(reports: SelfReports, selfCount: number, settings: QualitySettings): number {
  if (selfCount <= 0 || isConstant(reports, settings)) return 0;
  if (settings.selfReports === "trusted") return 1;
  return Math.min(1, (settings.vouchedPerAudit * reports.pairs) / selfCount);
}
