import type { HealthWord } from "../health/told.js";
import { featureCount } from "../learn/features.js";
import type { QualitySums } from "../learn/residuals.js";
import { addCompletion, type Completions, clearCompletions, completionsKept } from "./completions.js";
import type { Decay } from "./decay.js";
import { addToHistogram, bucketCount, edgeOf, emptyHistogram, type LogHistogram } from "./log-histogram.js";
import { type Cell, type Level, loadBucketCount, type Mcp, type Memory } from "./memory.js";
import { addStart } from "./open-starts.js";

/** Bucket and weight by turns, empty buckets left out. */
export type SparseHistogram = readonly number[];

/** One MCP in one level: "" is everything, "t…" a request type, "c…" a class. Weights are as of the digest. */
export type CellDigest = {
  readonly key: string;
  /** Ends and failures; cost and how many told one; quality of either source and how many. */
  readonly sums: readonly [ended: number, failed: number, cost: number, costCount: number, judged: number, judgedCount: number];
  /** Latencies by load bucket, failures with their penalty; and those of successes. */
  readonly byLoad: readonly SparseHistogram[];
  readonly ok: SparseHistogram;
  /** The newest completions, the oldest of them first: latency, requests in flight, age in ms, by turns. */
  readonly near: readonly number[];
  /** Mean that follows peaks, its load, its age in ms; empty without one. */
  readonly peak: readonly number[];
  /** Ages of open requests. */
  readonly open: SparseHistogram;
  /** Count, Σ quality, Σ effect, age in ms, Σ features; empty without samples. */
  readonly self: readonly number[];
  readonly audited: readonly number[];
};

/** What is known of one MCP, for a coordinator that does not hold its stream and for the time after a restart. Plain JSON; ages in ms, so no clock is shared. */
export type McpDigest = HealthWord & {
  readonly mcpId: string;
  readonly revision: number;
  /** Requests in flight at the coordinator that holds the stream. */
  readonly inFlight: number;
  readonly heardAgeMs: number;
  /** -1 when nothing has ended. */
  readonly endedAgeMs: number;
  /** `SelfReports` in the order of its fields, with the age in ms last. */
  readonly reports: readonly number[];
  /** Everything first, then the classes and types that were used last. */
  readonly cells: readonly CellDigest[];
};

/** Completions that travel: enough for a median of nine at a load near the present one. */
const nearSent = 18;

type Decays = { readonly errors: Decay; readonly slow: Decay };

/** Four decimals: a ten-thousandth of a request decides nothing, and short numbers make short rows. */
const short = (value: number): number => Math.round(value * 10_000) / 10_000;
const whole = (value: number): number => Math.round(value);

/** Digest of `mcp` with at most `cellsMax` cells besides that of everything. */
export function digestMcp(mcp: Mcp, cellsMax: number, decays: Decays, nowMs: number): McpDigest {
  const { reports } = mcp;
  const used = cellsMax > 0 ? [...mcp.cells].slice(-cellsMax) : [];
  const reportsAgeMs = reports.atMs === Number.NEGATIVE_INFINITY ? -1 : whole(nowMs - reports.atMs);
  return {
    mcpId: mcp.mcpId,
    revision: mcp.revision,
    inFlight: mcp.all.open.length,
    heardAgeMs: mcp.heardAtMs === undefined ? -1 : whole(nowMs - mcp.heardAtMs),
    endedAgeMs: mcp.endedAtMs === undefined ? -1 : whole(nowMs - mcp.endedAtMs),
    reports: [
      ...[reports.count, reports.sum, reports.squares, reports.pairs, reports.excess, reports.audits, reports.dropped].map(
        (value) => Math.round(value * 1e9) / 1e9,
      ),
      reportsAgeMs,
    ],
    cells: [mcp.all, ...used].map((cell) => digestCell(cell, decays, nowMs)),
  };
}

function digestCell(cell: Cell, { errors, slow }: Decays, nowMs: number): CellDigest {
  const error = errors.keptAt(nowMs);
  const kept = slow.keptAt(nowMs);
  const { completions } = cell;
  const count = Math.min(completions.added, nearSent);
  const near: number[] = [];
  for (let back = count; back > 0; back -= 1) {
    const slot = (completions.added - back) % completionsKept;
    near.push(
      short(completions.latencyMs[slot] ?? 0),
      completions.inFlight[slot] ?? 0,
      Math.max(0, whole(nowMs - (completions.atMs[slot] ?? 0))),
    );
  }
  const ages = emptyHistogram();
  for (const startedAtMs of cell.open) addToHistogram(ages, nowMs - startedAtMs, 1);
  return {
    key: cell.level.key,
    sums: [
      short(cell.ended * error),
      short(cell.failed * error),
      short(cell.cost * kept),
      short(cell.costCount * kept),
      short(cell.judged * kept),
      short(cell.judgedCount * kept),
    ],
    byLoad: cell.latencyByLoad.map((histogram) => (histogram === undefined ? [] : sparse(histogram, kept))),
    ok: sparse(cell.ok, kept),
    near,
    peak:
      completions.added === 0
        ? []
        : [short(completions.peakMs), short(completions.peakInFlight), Math.max(0, whole(nowMs - completions.peakAtMs))],
    open: sparse(ages, 1),
    self: digestQuality(cell.quality.self, nowMs),
    audited: digestQuality(cell.quality.audited, nowMs),
  };
}

function digestQuality(sums: QualitySums, nowMs: number): readonly number[] {
  if (sums.count === 0) return [];
  return [short(sums.count), short(sums.quality), short(sums.effect), whole(nowMs - sums.atMs), ...Array.from(sums.features, short)];
}

function sparse(histogram: LogHistogram, kept: number): SparseHistogram {
  const pairs: number[] = [];
  for (let bucket = 0; bucket < bucketCount; bucket += 1) {
    const weight = short(((histogram[bucket] ?? 0) - (histogram[bucket + 1] ?? 0)) * kept);
    if (weight > 0) pairs.push(bucket, weight);
  }
  return pairs;
}

/**
 * Makes `mcp` what a digest of `atMs` says, and its levels with it: what its cells had added there goes, what the digest says comes. Open requests assigned here stay.
 * With `isRestored` only what outlives a restart is taken: nothing that is open.
 */
export function adoptDigest(memory: Memory, mcp: Mcp, digest: McpDigest, decays: Decays, atMs: number, isRestored: boolean): void {
  for (const cell of [mcp.all, ...mcp.cells]) takeOut(cell);
  for (const cellDigest of digest.cells) {
    const cell = cellFor(memory, mcp, cellDigest.key, atMs);
    if (cell !== undefined) fill(cell, cellDigest, decays, atMs, isRestored);
  }
  for (const cell of mcp.cells) {
    const type = cell.level.key.startsWith("c") ? `t${cell.level.key.slice(1, cell.level.key.lastIndexOf("/"))}` : undefined;
    cell.coarser = (type === undefined ? undefined : memory.findLevel(type)?.cells.get(mcp.mcpId)) ?? mcp.all;
  }
  const { reports } = mcp;
  [reports.count, reports.sum, reports.squares, reports.pairs, reports.excess, reports.audits, reports.dropped] = [
    digest.reports[0] ?? 0,
    digest.reports[1] ?? 0,
    digest.reports[2] ?? 0,
    digest.reports[3] ?? 0,
    digest.reports[4] ?? 0,
    digest.reports[5] ?? 0,
    digest.reports[6] ?? 0,
  ];
  const reportsAgeMs = digest.reports[7] ?? -1;
  reports.atMs = reportsAgeMs < 0 ? Number.NEGATIVE_INFINITY : atMs - reportsAgeMs;
  reports.version += 1;
  mcp.heardAtMs = digest.heardAgeMs < 0 ? undefined : atMs - digest.heardAgeMs;
  mcp.endedAtMs = digest.endedAgeMs < 0 ? undefined : atMs - digest.endedAgeMs;
  mcp.revision += 1;
}

function cellFor(memory: Memory, mcp: Mcp, key: string, atMs: number): Cell | undefined {
  if (key === "") return mcp.all;
  return memory.cellOf(mcp, memory.levelOf(key, atMs), mcp.all, atMs);
}

function takeOut(cell: Cell): void {
  const { level } = cell;
  level.ended = Math.max(0, level.ended - cell.ended);
  level.failed = Math.max(0, level.failed - cell.failed);
  level.cost = Math.max(0, level.cost - cell.cost);
  level.costCount = Math.max(0, level.costCount - cell.costCount);
  level.quality = Math.max(0, level.quality - cell.judged);
  level.qualityCount = Math.max(0, level.qualityCount - cell.judgedCount);
  for (let bucket = 0; bucket < bucketCount; bucket += 1) {
    level.latency[bucket] = Math.max(0, (level.latency[bucket] ?? 0) - (cell.ok[bucket] ?? 0));
  }
  Object.assign(cell, { ended: 0, failed: 0, cost: 0, costCount: 0, judged: 0, judgedCount: 0 });
  cell.ok.fill(0);
  cell.latency.fill(0);
  for (const histogram of cell.latencyByLoad) histogram?.fill(0);
  clearCompletions(cell.completions);
  clearQuality(cell.quality.self);
  clearQuality(cell.quality.audited);
  cell.toldOpen.length = 0;
}

function fill(cell: Cell, digest: CellDigest, { errors, slow }: Decays, atMs: number, isRestored: boolean): void {
  const error = errors.weightAt(atMs);
  const weight = slow.weightAt(atMs);
  const [ended, failed, cost, costCount, judged, judgedCount] = digest.sums;
  const { level } = cell;
  cell.ended += ended * error;
  cell.failed += failed * error;
  cell.cost += cost * weight;
  cell.costCount += costCount * weight;
  cell.judged += judged * weight;
  cell.judgedCount += judgedCount * weight;
  addCellTo(level, cell);
  for (let load = 0; load < loadBucketCount; load += 1) {
    const pairs = digest.byLoad[load] ?? [];
    if (pairs.length === 0) continue;
    const histogram = cell.latencyByLoad[load] ?? emptyHistogram();
    cell.latencyByLoad[load] = histogram;
    addSparse(histogram, pairs, weight);
    addSparse(cell.latency, pairs, weight);
  }
  addSparse(cell.ok, digest.ok, weight);
  addSparse(level.latency, digest.ok, weight);
  fillCompletions(cell.completions, digest, atMs);
  fillQuality(cell.quality.self, digest.self, atMs);
  fillQuality(cell.quality.audited, digest.audited, atMs);
  if (isRestored) return;
  eachPair(digest.open, (bucket, count) => {
    const ageMs = (edgeOf(bucket) + edgeOf(bucket + 1)) / 2;
    for (let one = 0; one < Math.min(count, openPerBucketMax); one += 1) addStart(cell.toldOpen, atMs - ageMs);
  });
}

/** Of one bucket of ages no more than this many are kept apart: a median needs no more. */
const openPerBucketMax = 64;

function addCellTo(level: Level, cell: Cell): void {
  level.ended += cell.ended;
  level.failed += cell.failed;
  level.cost += cell.cost;
  level.costCount += cell.costCount;
  level.quality += cell.judged;
  level.qualityCount += cell.judgedCount;
}

function fillCompletions(completions: Completions, { near, peak }: CellDigest, atMs: number): void {
  for (let index = 0; index + 2 < near.length; index += 3) {
    addCompletion(completions, near[index] ?? 0, near[index + 1] ?? 0, atMs - (near[index + 2] ?? 0), 1);
  }
  if (peak.length < 3) return;
  if (completions.added === 0) addCompletion(completions, peak[0] ?? 0, peak[1] ?? 0, atMs - (peak[2] ?? 0), 1);
  completions.peakMs = peak[0] ?? 0;
  completions.peakInFlight = peak[1] ?? 0;
  completions.peakAtMs = atMs - (peak[2] ?? 0);
}

function fillQuality(sums: QualitySums, digest: readonly number[], atMs: number): void {
  if (digest.length !== featureCount + 4) return;
  sums.count = digest[0] ?? 0;
  sums.quality = digest[1] ?? 0;
  sums.effect = digest[2] ?? 0;
  sums.atMs = atMs - (digest[3] ?? 0);
  for (let index = 0; index < featureCount; index += 1) sums.features[index] = digest[index + 4] ?? 0;
  sums.solvedWith = -1;
}

function clearQuality(sums: QualitySums): void {
  sums.count = 0;
  sums.quality = 0;
  sums.effect = 0;
  sums.atMs = Number.NEGATIVE_INFINITY;
  sums.features.fill(0);
  sums.solvedWith = -1;
}

function addSparse(histogram: LogHistogram, pairs: SparseHistogram, weight: number): void {
  eachPair(pairs, (bucket, count) => {
    for (let below = bucket; below >= 0; below -= 1) histogram[below] = (histogram[below] ?? 0) + count * weight;
  });
}

function eachPair(pairs: SparseHistogram, take: (bucket: number, count: number) => void): void {
  for (let index = 0; index + 1 < pairs.length; index += 2) {
    const bucket = pairs[index] ?? 0;
    const count = pairs[index + 1] ?? 0;
    if (bucket >= 0 && bucket < bucketCount && count > 0) take(bucket, count);
  }
}
