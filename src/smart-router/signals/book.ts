import { Quality } from "../learn/quality.js";
import { forgetQuality } from "../learn/residuals.js";
import { isUsable } from "../learn/self-reports.js";
import { byMcpId } from "../order.js";
import type { Assigned, Ended } from "../policy.js";
import type { RouteRequest } from "../request.js";
import type { SignalBook } from "../signal-book.js";
import { addCompletion } from "./completions.js";
import { Decay, keptAfter } from "./decay.js";
import { adoptDigest, digestMcp, type McpDigest } from "./digests.js";
import { addToBucket, bucketOf, emptyHistogram, scaleHistogram } from "./log-histogram.js";
import { type Cell, type Level, type Mcp, Memory, type MemoryBounds } from "./memory.js";
import { OpenRequests } from "./open-requests.js";
import { type Estimators, loadBucketOf, readTarget } from "./read-target.js";
import { readWeights } from "./read-weights.js";
import { type SignalBookSettings, signalDefaults } from "./settings.js";
import { adoptEffects, effectsIn, restoreEffects, type SharedKnowledge } from "./shared-knowledge.js";
import { classKey, Situations, typeKey } from "./situation.js";
import { countStillOpen, type StillOpen, type Unheard } from "./still-open.js";

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
  /**
   * How many of `unheard`, requests at one MCP, still run: the mean and the variance of that number. What ended before `toldAtMs` would have been told. Holds until the next call.
   */
  readonly stillOpen: (mcpId: string, unheard: Iterable<Unheard>, toldAtMs: number, nowMs: number) => Readonly<StillOpen>;
  /** Solves what waits for it; about once a second. */
  readonly tick: (nowMs: number) => void;
  /**
   * Digests of those of `mcpIds` that are known, ascending by mcpId: for other coordinators, and for the time after a restart. At most `cellsMax` classes and types
   * of each, those used last.
   */
  readonly digestOf: (mcpIds: readonly string[], nowMs: number, cellsMax: number) => readonly McpDigest[];
  /**
   * Takes over what the coordinator that holds an MCP's stream says of it, `ageMs` ago: instead of what was known, and until `claim`. `source` names a run of that
   * coordinator. A digest that was taken over before only grows younger.
   */
  readonly adopt: (digest: McpDigest, source: string, ageMs: number, nowMs: number) => void;
  /** Takes over what was known before a restart, `ageMs` ago: nothing that is open, and only of an MCP of which nothing is known yet. */
  readonly restore: (digest: McpDigest, ageMs: number, nowMs: number) => void;
  /** The MCP's stream is here now: its signals are folded here. */
  readonly claim: (mcpId: string) => void;
  /** MCPs whose signals are folded here, ascending. */
  readonly ownMcpIds: () => readonly string[];
  /**
   * What is known of requests whoever serves them, as folded here, with the effects of at most `levelsMax` classes and types; and that of the other coordinators, as of
   * `nowMs`. `restoreShared` replaces our own.
   */
  readonly sharedSums: (nowMs: number, levelsMax?: number) => SharedKnowledge;
  readonly adoptShared: (others: readonly SharedKnowledge[], nowMs: number) => void;
  readonly restoreShared: (own: SharedKnowledge, nowMs: number) => void;
  /** Puts other latency objectives in force, by request type, in ms: what was observed stays and is judged by them from the next reading on. */
  readonly setObjectives: (objectiveMs: ReadonlyMap<string, number>) => void;
  /** Reports of quality that were no number in [0, 1], of the MCPs that are remembered. */
  readonly droppedReports: () => number;
};

export type SignalOptions = {
  /** Requests that an MCP may have at once; the load buckets of its tail are quarters of it. 10 when left out. */
  readonly capacityOf?: (mcpId: string) => number;
  /** What a request costs at an MCP as operators say; undefined where they say nothing, and then what was reported counts. */
  readonly costOf?: (mcpId: string) => number | undefined;
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
    const costOf = options.costOf ?? (() => undefined);
    this.#by = { settings, errors: this.#errors, slow: this.#slow, quality: this.#quality, capacityOf, costOf };
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
      stillOpen: (mcpId, unheard, toldAtMs, nowMs) => {
        const by = { countMin: this.#settings.samplesMin, kept: this.#slow.keptAt(nowMs), toldAtMs, nowMs };
        return countStillOpen(this.#memory, this.#memory.findMcp(mcpId), unheard, by);
      },
      tick: (nowMs) => {
        if (!Number.isFinite(nowMs)) return;
        this.#quality.ridge.solve(nowMs);
        this.#version += 1;
      },
      digestOf: (mcpIds, nowMs, cellsMax) => this.#digestOf(mcpIds, nowMs, cellsMax),
      adopt: (digest, source, ageMs, nowMs) => this.#adopt(digest, source, ageMs, nowMs),
      restore: (digest, ageMs, nowMs) => this.#restore(digest, ageMs, nowMs),
      claim: (mcpId) => this.#claim(mcpId),
      ownMcpIds: () => byMcpId([...this.#memory.mcps()].filter(({ told }) => told === undefined)).map(({ mcpId }) => mcpId),
      sharedSums: (nowMs, levelsMax = Number.POSITIVE_INFINITY) => ({
        ...this.#quality.ridge.sums(nowMs),
        effects: effectsIn(this.#memory, nowMs, levelsMax),
      }),
      adoptShared: (others, nowMs) => {
        this.#quality.ridge.setOthers(others, nowMs);
        adoptEffects(this.#memory, others, nowMs);
        this.#version += 1;
      },
      restoreShared: (own, nowMs) => {
        this.#quality.ridge.restore(own, nowMs);
        restoreEffects(this.#memory, own.effects, nowMs);
        this.#version += 1;
      },
      setObjectives: (objectiveMs) => {
        this.#situations.setObjectives(objectiveMs);
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
    mcp.revision += 1;
    const starts = this.#cellsOf(mcp, request, atMs).map((cell) => cell.open);
    this.#open.open(decisionId, atMs, starts);
  }

  #ended(ended: Ended): void {
    const { decisionId, mcpId, request, startedAtMs, endedAtMs, result, isUnnamed } = ended;
    if (result === "released") {
      this.#open.cancel(decisionId);
      return;
    }
    const before = isUnnamed === true ? undefined : this.#open.pastOf(decisionId);
    const isLate = before?.isExpired === true && result !== "expired";
    if (before !== undefined && !isLate) return;
    const self = isUsable(ended.quality) ? ended.quality : undefined;
    this.#open.end(decisionId, isUnnamed === true ? undefined : { mcpId, self, isExpired: result === "expired" });
    if (!Number.isFinite(startedAtMs) || !Number.isFinite(endedAtMs)) return;
    this.#rebase(endedAtMs);
    const mcp = this.#memory.mcpOf(mcpId, endedAtMs);
    mcp.revision += 1;
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
    mcp.revision += 1;
    const self = past?.mcpId === mcpId ? past.self : undefined;
    this.#addQuality(mcp, this.#cellsOf(mcp, request, atMs), request, atMs, self, quality, true);
    this.#version += 1;
  }

  #digestOf(mcpIds: readonly string[], nowMs: number, cellsMax: number): readonly McpDigest[] {
    const known = mcpIds.map((mcpId) => this.#memory.findMcp(mcpId)).filter((mcp) => mcp !== undefined);
    return byMcpId(known).map((mcp) => digestMcp(mcp, cellsMax, { errors: this.#errors, slow: this.#slow }, nowMs));
  }

  #adopt(digest: McpDigest, source: string, ageMs: number, nowMs: number): void {
    const atMs = nowMs - Math.max(0, ageMs);
    const mcp = this.#memory.mcpOf(digest.mcpId, nowMs);
    const isKnown = mcp.told?.source === source && mcp.told.revision === digest.revision;
    mcp.told = { source, revision: digest.revision, atMs };
    if (isKnown) return;
    this.#take(mcp, digest, atMs, false);
  }

  #restore(digest: McpDigest, ageMs: number, nowMs: number): void {
    if (this.#memory.findMcp(digest.mcpId) !== undefined) return;
    this.#take(this.#memory.mcpOf(digest.mcpId, nowMs), digest, nowMs - Math.max(0, ageMs), true);
  }

  #take(mcp: Mcp, digest: McpDigest, atMs: number, isRestored: boolean): void {
    this.#rebase(atMs);
    adoptDigest(this.#memory, mcp, digest, { errors: this.#errors, slow: this.#slow }, atMs, isRestored);
    this.#version += 1;
  }

  #claim(mcpId: string): void {
    const mcp = this.#memory.findMcp(mcpId);
    if (mcp?.told === undefined) return;
    mcp.told = undefined;
    for (const cell of [mcp.all, ...mcp.cells]) cell.toldOpen.length = 0;
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
    const loadBucket = loadBucketOf(inFlight, this.#by.capacityOf(mcpId));
    const bucket = bucketOf(latencyMs);
    for (const cell of cells) {
      addCompletion(cell.completions, latencyMs, inFlight, endedAtMs, this.#settings.peakDecayMs);
      addToBucket(cell.latency, bucket, weight);
      let atLoad = cell.latencyByLoad[loadBucket];
      if (atLoad === undefined) {
        atLoad = emptyHistogram();
        cell.latencyByLoad[loadBucket] = atLoad;
      }
      addToBucket(atLoad, bucket, weight);
      if (result !== "ok") continue;
      addToBucket(cell.ok, bucket, weight);
      addToBucket(cell.level.latency, bucket, weight);
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
    const shared = cells.slice(1).map((cell) => cell.level.shared);
    const observed = this.#quality.observe(mcp.reports, levels, shared, request, atMs, self, audited, isAfterwards);
    if (observed === undefined) return;
    const { quality, isChange } = observed;
    if (isChange) this.#forgetQualities();
    const weight = this.#slow.weightAt(atMs);
    for (const cell of cells) {
      cell.judged += weight * quality;
      cell.judgedCount += weight;
      cell.level.quality += weight * quality;
      cell.level.qualityCount += weight;
    }
  }

  /**
   * One MCP is no longer what it was. Who was compared with it was tried out too seldom to know whether it is the only one: of all, only a hint is kept, and the next
   * requests tell.
   */
  #forgetQualities(): void {
    const { changeKept } = this.#settings.quality;
    for (const { mcp, quality } of this.#memory.cells()) {
      forgetQuality(quality.self, changeKept);
      forgetQuality(quality.audited, changeKept);
      mcp.reports.version += 1;
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
      scaleHistogram(cell.ok, slow);
      cell.judged *= slow;
      cell.judgedCount *= slow;
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
