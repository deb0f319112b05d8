import type { Quality, QualityEstimate } from "../learn/quality.js";
import type { TargetSignals } from "../signal-book.js";
import { lateOfNewest, nearMedian, peakAt } from "./completions.js";
import { type Decay, keptAfter } from "./decay.js";
import { latencyMinMs, placeThreshold, type Threshold, totalOf, weightAbove } from "./log-histogram.js";
import { type Cell, loadBucketCount, type Mcp } from "./memory.js";
import { medianAge, openLonger } from "./open-starts.js";
import type { SignalBookSettings } from "./settings.js";
import { type Situation, sampleMin } from "./situation.js";

/** What estimates of one MCP are made with. */
export type Estimators = {
  readonly settings: SignalBookSettings;
  readonly errors: Decay;
  readonly slow: Decay;
  readonly quality: Quality;
  /** Requests that the MCP may have at once. */
  readonly capacityOf: (mcpId: string) => number;
  /** What a request costs there as operators say; undefined where they say nothing. */
  readonly costOf: (mcpId: string) => number | undefined;
};

/** Estimates for one MCP; `mcp` is undefined when nothing is known of it. */
export function readTarget(
  by: Estimators,
  situation: Situation,
  mcpId: string,
  mcp: Mcp | undefined,
  inFlight: number,
  nowMs: number,
): TargetSignals {
  const cell = mcp === undefined ? undefined : finest(situation, mcp);
  answer.ms = situation.priorMs;
  answer.from = "prior";
  answer.samples = 0;
  answerLatency(by, situation, cell, inFlight, nowMs);
  const quality = qualityOf(by, situation, cell, nowMs);
  return {
    mcpId,
    latencyMs: answer.ms,
    latencyFrom: answer.from,
    tail: cell === undefined ? situation.fleetTail : tailOf(by, situation, cell, inFlight, nowMs),
    errorRate: cell === undefined ? situation.signals.errorRate : errorRateOf(by, situation, cell, nowMs),
    quality: quality.quality,
    qualitySigma: quality.sigma,
    selfFactor: quality.selfFactor,
    cost: by.costOf(mcpId) ?? (cell === undefined ? situation.cost : reportedCost(by, situation, cell, nowMs)),
    recent: mcp === undefined || mcp.recent === 0 ? 0 : mcp.recent * keptAfter(nowMs - mcp.recentAtMs, by.settings.recentHalfLifeMs),
    samples: answer.samples,
    ageMs: mcp?.told === undefined ? undefined : Math.max(0, nowMs - mcp.told.atMs),
    load: undefined,
  };
}

/** The cell of the class, of the type, or of everything: the first that exists. */
function finest(situation: Situation, mcp: Mcp): Cell {
  const { ofClass } = situation;
  if (ofClass !== undefined) {
    // Many decisions in a row are about one class.
    if (mcp.lastRead?.level === ofClass) return mcp.lastRead;
    const cell = ofClass.cells.get(mcp.mcpId);
    if (cell !== undefined) {
      mcp.lastRead = cell;
      return cell;
    }
  }
  return situation.ofType?.cells.get(mcp.mcpId) ?? mcp.all;
}

function scaleOf(situation: Situation, cell: Cell): number {
  if (cell.level === situation.ofClass) return 1;
  return cell.level === situation.ofType ? situation.typeScale : situation.allScale;
}

/** What is expected, where it comes from, and how many ends stand behind it. One is reused for every reading. */
const answer: { ms: number; from: TargetSignals["latencyFrom"]; samples: number } = { ms: 0, from: "prior", samples: 0 };

/**
 * Writes to `answer`: the median of completions near the present load, in the finest level with enough of them; else the mean that follows peaks, in the finest level
 * with one; else the prior. Never below the median age of what is open in the class, or in the level that answered.
 */
function answerLatency(by: Estimators, situation: Situation, finestCell: Cell | undefined, inFlight: number, nowMs: number): void {
  const answering = finestCell === undefined ? undefined : answerFrom(by, situation, finestCell, inFlight, nowMs);
  if (finestCell !== undefined && by.settings.countsOpenAge) {
    const ownAgeMs = ageOf(by, finestCell, nowMs);
    const ageMs =
      answering === undefined || answering === finestCell
        ? ownAgeMs
        : Math.max(ownAgeMs, ageOf(by, answering, nowMs) * scaleOf(situation, answering));
    if (ageMs > answer.ms) {
      answer.ms = ageMs;
      answer.from = "open_age";
    }
  }
  if (!(answer.ms >= latencyMinMs)) answer.ms = latencyMinMs;
}

/** Median age of what is open: as assigned here, or as told by the coordinator that sees all of it. */
function ageOf(by: Estimators, cell: Cell, nowMs: number): number {
  const ageMs = medianAge(cell.open, nowMs);
  return isTold(by, cell, nowMs) ? Math.max(ageMs, medianAge(cell.toldOpen, nowMs)) : ageMs;
}

function isTold(by: Estimators, cell: Cell, nowMs: number): boolean {
  const { told } = cell.mcp;
  return told !== undefined && nowMs - told.atMs <= by.settings.toldMaxAgeMs;
}

/** Returns the cell that told; the coarsest, when none could. */
function answerFrom(by: Estimators, situation: Situation, finestCell: Cell, inFlight: number, nowMs: number): Cell {
  let coarsest = finestCell;
  for (let cell: Cell | undefined = finestCell; cell !== undefined; cell = cell.coarser) {
    const ms = nearMedian(cell.completions, inFlight, nowMs, by.settings);
    if (ms > 0) return tell(by, situation, cell, ms, "near", nowMs);
    coarsest = cell;
  }
  for (let cell: Cell | undefined = finestCell; cell !== undefined; cell = cell.coarser) {
    if (cell.completions.added > 0) return tell(by, situation, cell, peakAt(cell.completions, inFlight), "peak_ewma", nowMs);
  }
  return coarsest;
}

function tell(by: Estimators, situation: Situation, cell: Cell, ms: number, from: TargetSignals["latencyFrom"], nowMs: number): Cell {
  const samples = totalOf(cell.latency) * by.slow.keptAt(nowMs);
  answer.ms = ms * scaleOf(situation, cell);
  answer.from = from;
  answer.samples = samples > sampleMin ? samples : 0;
  return cell;
}

/**
 * P(later than the deadline): that of the newest answers, shrunk to that at the present load, to that at any load, to the fleet's. What is open beyond the deadline is
 * late already.
 */
function tailOf(by: Estimators, situation: Situation, finestCell: Cell, inFlight: number, nowMs: number): number {
  const { samplesMin, tailShrinkage } = by.settings;
  const kept = by.slow.keptAt(nowMs);
  let cell = finestCell;
  while (totalOf(cell.latency) * kept < samplesMin && cell.coarser !== undefined) cell = cell.coarser;
  const scale = scaleOf(situation, cell);
  let threshold = situation.threshold;
  if (scale !== 1) {
    placeThreshold(situation.deadlineMs / scale, scaledThreshold);
    threshold = scaledThreshold;
  }
  const all = totalOf(cell.latency) * kept;
  const pooled = (weightAbove(cell.latency, threshold) * kept + tailShrinkage * situation.fleetTail) / (all + tailShrinkage);
  const atLoad = cell.latencyByLoad[inFlight > 0 ? loadBucketOf(inFlight, by.capacityOf(cell.mcp.mcpId)) : 0];
  const count = atLoad === undefined ? 0 : totalOf(atLoad) * kept;
  const above = atLoad === undefined ? 0 : weightAbove(atLoad, threshold) * kept;
  const here = openLonger(finestCell.open, situation.deadlineMs, nowMs);
  const told = isTold(by, finestCell, nowMs) ? Math.max(here, openLonger(finestCell.toldOpen, situation.deadlineMs, nowMs)) : here;
  const late = by.settings.countsOpenAge ? told : 0;
  const settled = (above + tailShrinkage * pooled) / (count + tailShrinkage);
  // Minutes of answers say what is usual; the last few, and who waits beyond the deadline, say whether it still is.
  const { recentTailCount, recentTailShrinkage, nearMaxAgeMs } = by.settings;
  const recent = lateOfNewest(cell.completions, situation.deadlineMs / scale, recentTailCount, nowMs - nearMaxAgeMs);
  return Math.min(1, (recent.late + recentTailShrinkage * settled + late) / (recent.count + recentTailShrinkage + late));
}

const scaledThreshold: Threshold = { bucket: 0, share: 0 };

export function loadBucketOf(inFlight: number, capacity: number): number {
  const load = (inFlight / Math.max(1, capacity)) * loadBucketCount;
  return load > 0 ? Math.min(loadBucketCount - 1, Math.floor(load)) : 0;
}

/** (F + 2ē) / (S + F + 2), in the finest level with enough ends. */
function errorRateOf(by: Estimators, situation: Situation, finestCell: Cell, nowMs: number): number {
  const { samplesMin, errorShrinkage } = by.settings;
  const kept = by.errors.keptAt(nowMs);
  let cell = finestCell;
  while (cell.ended * kept < samplesMin && cell.coarser !== undefined) cell = cell.coarser;
  return (cell.failed * kept + errorShrinkage * situation.signals.errorRate) / (cell.ended * kept + errorShrinkage);
}

/** Mean cost, shrunk to the fleet's by one sample: who tells no cost is not taken for free. */
function reportedCost(by: Estimators, situation: Situation, finestCell: Cell, nowMs: number): number {
  const kept = by.slow.keptAt(nowMs);
  let cell = finestCell;
  while (cell.costCount * kept < by.settings.samplesMin && cell.coarser !== undefined) cell = cell.coarser;
  return (cell.cost * kept + situation.cost) / (cell.costCount * kept + 1);
}

function qualityOf(by: Estimators, situation: Situation, finestCell: Cell | undefined, nowMs: number): QualityEstimate {
  if (finestCell === undefined) return by.quality.estimateUnknown(situation.expected, situation);
  const { mcp, coarser } = finestCell;
  const isOfClass = finestCell.level === situation.ofClass;
  return by.quality.estimate(
    situation.expected,
    situation,
    mcp.reports,
    finestCell.quality,
    isOfClass,
    coarser?.quality,
    coarser?.coarser?.quality,
    nowMs,
  );
}
