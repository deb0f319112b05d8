import { Quality } from "../learn/quality.js";
import { isUsable } from "../learn/self-reports.js";
import type { Assigned, Ended } from "../policy.js";
import type { RouteRequest } from "../request.js";
import type { SignalBook } from "../signal-book.js";
import { addCompletion } from "./completions.js";
import { Decay, keptAfter } from "./decay.js";
import { addToHistogram, emptyHistogram, scaleHistogram } from "./log-histogram.js";
import { type Cell, type Level, type Mcp, Memory, type MemoryBounds } from "./memory.js";
import { OpenRequests } from "./open-requests.js";
import { type Estimators, loadBucketOf, readTarget } from "./read-target.js";
import { readWeights } from "./read-weights.js";
import { type SignalBookSettings, signalDefaults } from "./settings.js";
import { classKey, Situations, typeKey } from "./situation.js";

/** An independent judgement of a request that has ended, or is about to. */
export type Audit = {
  readonly decisionId: string;
  readonly mcpId: string;
  readonly request: RouteRequest;
  readonly atMs: number;
  /** 0 to 1; anything else is dropped and counted. */
  readonly quality: number;
};

/** The book, and what only its owner needs. */
export type LocalSignalBook = SignalBook & {
  /** An audit that came by itself, after the end or before it. */
  readonly audited: (audit: Audit) => void;
  /** An MCP gave a sign of life that is no end of a request. */
  readonly heard: (mcpId: string, atMs: number) => void;
  /** Solves what waits for it; about once a second. */
  readonly tick: (nowMs: number) => void;
  /** Reports of quality that were no number in [0, 1], of the MCPs that are remembered. */
  readonly droppedReports: () => number;
};

export type SignalOptions = {
  /** Requests that an MCP may have at once; the load buckets of its tail are quarters of it. 10 when left out. */
  readonly capacityOf?: (mcpId: string) => number;
  readonly bounds?: Partial<MemoryBounds>;
};

/** Longest latency that counts: a single absurd claim must not outweigh everything. */
const latencyMaxMs = 3_600_000;

/** An empty book. Pure state: reading changes nothing that a later reading would notice.     Source: SPEC.md; router.md 1.2. */
export function createSignalBook(settings: SignalBookSettings = signalDefaults, options: SignalOptions = {}): LocalSignalBook {
  return new Book(settings, options).signals();
}

class Book {
  readonly #settings: SignalBookSettings;
  readonly #memory: Memory;
  readonly #open = new OpenRequests();
  /** Two speeds: failures, and everything that takes minutes to know. */
  readonly #errors: Decay;
  readonly #slow: Decay;
  readonly #quality: Quality;
  readonly #by: Estimators;
  readonly #situations: Situations;
  #version = 0;

  constructor(settings: SignalBookSettings, options: SignalOptions) {
    this.#settings = settings;
    this.#memory = new Memory(options.bounds);
    this.#errors = new Decay(settings.errorHalfLifeMs);
    this.#slow = new Decay(settings.histogramHalfLifeMs);
    this.#quality = new Quality(settings.quality, settings.wallOffsetMs);
    const capacityOf = options.capacityOf ?? (() => capacityDefault);
    this.#by = { settings, errors: this.#errors, slow: this.#slow, quality: this.#quality, capacityOf };
    this.#situations = new Situations(this.#memory, this.#errors, this.#slow, this.#quality, settings);
  }

  signals(): LocalSignalBook {
    return {
      assigned: (assigned) => this.#assigned(assigned),
      ended: (ended) => this.#ended(ended),
      audited: (audit) => this.#audited(audit),
      heard: (mcpId, atMs) => {
        const mcp = this.#memory.findMcp(mcpId);
        if (mcp !== undefined) hear(mcp, atMs);
      },
      read: (mcpId, request, inFlight, nowMs) => {
        const situation = this.#situations.of(request, nowMs, this.#version);
        return readTarget(this.#by, situation, mcpId, this.#memory.findMcp(mcpId), inFlight, nowMs);
      },
      readClass: (request, nowMs) => this.#situations.of(request, nowMs, this.#version).signals,
      readWeights: (mcpIds, nowMs) => readWeights(this.#by, this.#memory, mcpIds, nowMs),
      tick: (nowMs) => {
        if (!Number.isFinite(nowMs)) return;
        this.#quality.ridge.solve(nowMs);
        this.#version += 1;
      },
      droppedReports: () => [...this.#memory.mcps()].reduce((sum, mcp) => sum + mcp.reports.dropped, 0),
    };
  }

  #assigned({ decisionId, mcpId, request, atMs }: Assigned): void {
    if (!Number.isFinite(atMs) || this.#open.isKnown(decisionId)) return;
    const mcp = this.#memory.mcpOf(mcpId, atMs);
    const { recentHalfLifeMs } = this.#settings;
    if (atMs >= mcp.recentAtMs) {
      mcp.recent = mcp.recent * keptAfter(atMs - mcp.recentAtMs, recentHalfLifeMs) + 1;
      mcp.recentAtMs = atMs;
    } else mcp.recent += keptAfter(mcp.recentAtMs - atMs, recentHalfLifeMs);
    const starts = this.#cellsOf(mcp, request, atMs).map((cell) => cell.open);
    this.#open.open(decisionId, mcpId, atMs, starts);
  }

  #ended(ended: Ended): void {
    const { decisionId, mcpId, request, startedAtMs, endedAtMs, result } = ended;
    if (result === "released") {
      this.#open.cancel(decisionId);
      return;
    }
    const before = this.#open.pastOf(decisionId);
    const isLate = before?.isExpired === true && result !== "expired";
    if (before !== undefined && !isLate) return;
    const self = isUsable(ended.quality) ? ended.quality : undefined;
    this.#open.end(decisionId, { mcpId, self, isExpired: result === "expired" });
    if (!Number.isFinite(startedAtMs) || !Number.isFinite(endedAtMs)) return;
    this.#rebase(endedAtMs);
    const mcp = this.#memory.mcpOf(mcpId, endedAtMs);
    hear(mcp, endedAtMs);
    if (mcp.endedAtMs === undefined || endedAtMs > mcp.endedAtMs) mcp.endedAtMs = endedAtMs;
    const cells = this.#cellsOf(mcp, request, endedAtMs);
    // Before anything is added: a failure is measured by what was known when it happened.
    const latencyMs = this.#latencyOf(ended);
    // The failure of a lease that ran out stands; its answer, when it comes after all, is a latency like any other.
    if (!isLate) this.#addResult(cells, ended);
    if (!(isLate && result === "error")) this.#addLatency(cells, ended, latencyMs);
    this.#addQuality(mcp, cells, request, endedAtMs, ended.quality, ended.auditedQuality, false);
    this.#version += 1;
  }

  #audited({ decisionId, mcpId, request, atMs, quality }: Audit): void {
    if (!Number.isFinite(atMs)) return;
    this.#rebase(atMs);
    const past = this.#open.pastOf(decisionId);
    const mcp = this.#memory.mcpOf(mcpId, atMs);
    const self = past?.mcpId === mcpId ? past.self : undefined;
    this.#addQuality(mcp, this.#cellsOf(mcp, request, atMs), request, atMs, self, quality, true);
    this.#version += 1;
  }

  /** Everything, the type, the class: of one MCP, each told its coarser one. */
  #cellsOf(mcp: Mcp, request: RouteRequest, atMs: number): readonly Cell[] {
    const ofType = this.#memory.cellOf(mcp, this.#memory.levelOf(typeKey(request), atMs), mcp.all, atMs);
    const ofClass = this.#memory.cellOf(mcp, this.#memory.levelOf(classKey(request), atMs), ofType, atMs);
    return [mcp.all, ofType, ofClass];
  }

  /** The MCP's own measure, unless ours says clearly otherwise: then the longer one. A failure counts as at least a multiple of the class and the penalty. */
  #latencyOf({ request, startedAtMs, endedAtMs, durationMs, result }: Ended): number {
    const { durationToleranceMs, durationToleranceShare, failureP95Factor, failurePenaltyMs } = this.#settings;
    const elapsedMs = Math.max(0, endedAtMs - startedAtMs);
    let latencyMs = elapsedMs;
    if (durationMs !== undefined && durationMs >= 0 && Number.isFinite(durationMs)) {
      const longer = Math.max(durationMs, elapsedMs);
      const tolerated = Math.max(durationToleranceMs, longer * durationToleranceShare);
      latencyMs = Math.abs(durationMs - elapsedMs) > tolerated ? longer : durationMs;
    }
    if (result !== "ok") {
      const { p95Ms } = this.#situations.of(request, endedAtMs, this.#version).signals;
      latencyMs = Math.max(latencyMs, failureP95Factor * p95Ms, failurePenaltyMs);
    }
    return Math.min(latencyMaxMs, latencyMs);
  }

  #addResult(cells: readonly Cell[], { endedAtMs, result, cost }: Ended): void {
    const weight = this.#errors.weightAt(endedAtMs);
    const slowWeight = this.#slow.weightAt(endedAtMs);
    const isPriced = cost !== undefined && Number.isFinite(cost) && cost >= 0;
    for (const cell of cells) {
      for (const sums of [cell, cell.level]) {
        sums.ended += weight;
        if (result !== "ok") sums.failed += weight;
        if (!isPriced) continue;
        sums.cost += slowWeight * cost;
        sums.costCount += slowWeight;
      }
    }
  }

  #addLatency(cells: readonly Cell[], { mcpId, endedAtMs, inFlightBefore, result }: Ended, latencyMs: number): void {
    const weight = this.#slow.weightAt(endedAtMs);
    const inFlight = Number.isFinite(inFlightBefore) ? Math.max(0, inFlightBefore) : 0;
    const bucket = loadBucketOf(inFlight, this.#by.capacityOf(mcpId));
    for (const cell of cells) {
      addCompletion(cell.completions, latencyMs, inFlight, endedAtMs, this.#settings.peakDecayMs);
      addToHistogram(cell.latency, latencyMs, weight);
      const atLoad = cell.latencyByLoad[bucket] ?? emptyHistogram();
      cell.latencyByLoad[bucket] = atLoad;
      addToHistogram(atLoad, latencyMs, weight);
      if (result === "ok") addToHistogram(cell.level.latency, latencyMs, weight);
    }
  }

  #addQuality(
    mcp: Mcp,
    cells: readonly Cell[],
    request: RouteRequest,
    atMs: number,
    self: number | undefined,
    audited: number | undefined,
    isAfterwards: boolean,
  ): void {
    const levels = cells.map((cell) => cell.quality);
    const quality = this.#quality.observe(mcp.reports, levels, request, atMs, self, audited, isAfterwards);
    if (quality === undefined) return;
    const weight = this.#slow.weightAt(atMs);
    for (const { level } of cells) {
      level.quality += weight * quality;
      level.qualityCount += weight;
    }
  }

  /** Keeps sums in the range of numbers: once in hours, each is brought to a new zero. */
  #rebase(atMs: number): void {
    const errors = this.#errors.rebase(atMs);
    const slow = this.#slow.rebase(atMs);
    if (errors === 1 && slow === 1) return;
    for (const level of this.#memory.levels()) {
      scale(level, errors, slow);
      level.quality *= slow;
      level.qualityCount *= slow;
    }
    for (const cell of this.#memory.cells()) {
      scale(cell, errors, slow);
      for (const histogram of cell.latencyByLoad) if (histogram !== undefined) scaleHistogram(histogram, slow);
    }
  }
}

/** An MCP of which nobody said how much it can do at once. */
const capacityDefault = 10;

function scale(sums: Cell | Level, errors: number, slow: number): void {
  sums.ended *= errors;
  sums.failed *= errors;
  sums.cost *= slow;
  sums.costCount *= slow;
  scaleHistogram(sums.latency, slow);
}

function hear(mcp: Mcp, atMs: number): void {
  if (Number.isFinite(atMs) && (mcp.heardAtMs === undefined || atMs > mcp.heardAtMs)) mcp.heardAtMs = atMs;
}
