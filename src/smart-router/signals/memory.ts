import { limits } from "../../platform/limits.js";
import { noOwnQuality, type OwnQuality } from "../learn/quality.js";
import { noReports, type SelfReports } from "../learn/self-reports.js";
import { noSharedEffect, type SharedEffect } from "../learn/shared-effect.js";
import { type Completions, noCompletions } from "./completions.js";
import { emptyHistogram, type LogHistogram } from "./log-histogram.js";
import type { OpenStarts } from "./open-starts.js";

/** Load buckets of a tail: requests in flight over capacity, in quarters; the last one is open. */
export const loadBucketCount = 4;

/** A class of requests, a request type, or everything: what the fleet did in it. Sums are those of `Decay`. Mutable. */
export type Level = {
  readonly key: string;
  /** Latency of successes only: the penalty of a failure is made of it, and must not feed on itself. */
  readonly latency: LogHistogram;
  ended: number;
  failed: number;
  quality: number;
  qualityCount: number;
  cost: number;
  costCount: number;
  /** What its requests have in common in quality. Unused for everything. */
  readonly shared: SharedEffect;
  readonly cells: Map<string, Cell>;
  movedAtMs: number;
};

/** One MCP in one level. Mutable. */
export type Cell = {
  readonly mcp: Mcp;
  readonly level: Level;
  /** The same MCP in the next coarser level. */
  coarser: Cell | undefined;
  readonly completions: Completions;
  /** Latencies, failures with their penalty: all, and by load bucket (made when first needed). */
  readonly latency: LogHistogram;
  readonly latencyByLoad: (LogHistogram | undefined)[];
  /** What this cell has added to its level, so that it can be taken out again: latencies of successes, and quality of either source. */
  readonly ok: LogHistogram;
  judged: number;
  judgedCount: number;
  ended: number;
  failed: number;
  cost: number;
  costCount: number;
  readonly quality: OwnQuality;
  /** Open requests that were assigned here, and those that the coordinator with the MCP's stream told of. */
  readonly open: OpenStarts;
  readonly toldOpen: OpenStarts;
  movedAtMs: number;
};

/** Where signals of an MCP come from that has its stream elsewhere: a run of a coordinator, the revision there, and when it was so. */
export type Told = { readonly source: string; readonly revision: number; readonly atMs: number };

/** One MCP. Mutable. */
export class Mcp {
  readonly mcpId: string;
  readonly all: Cell;
  /** Its cells of classes and types, the longest untouched first. */
  readonly cells = new Set<Cell>();
  recent = 0;
  recentAtMs: number;
  heardAtMs: number | undefined = undefined;
  endedAtMs: number | undefined = undefined;
  /** The cell that was read last; one of `cells`. */
  lastRead: Cell | undefined = undefined;
  readonly reports: SelfReports = noReports();
  movedAtMs: number;
  /** Grows with everything that is folded. */
  revision = 0;
  /** Whose word this is, when another coordinator holds the MCP's stream. */
  told: Told | undefined = undefined;

  constructor(mcpId: string, all: Level, atMs: number) {
    this.mcpId = mcpId;
    this.recentAtMs = atMs;
    this.movedAtMs = atMs;
    this.all = emptyCell(this, all, undefined, atMs);
  }
}

export type MemoryBounds = {
  readonly mcps: number;
  readonly levels: number;
  readonly cells: number;
  readonly cellsPerMcp: number;
};

const memoryBounds: MemoryBounds = {
  mcps: limits.routedMcpMax,
  levels: limits.signalClassesMax,
  cells: limits.signalCellsMax,
  cellsPerMcp: limits.signalCellsPerMcpMax,
};

/** Orders of silence are kept to within this; finer would mean a delete and a set per event. */
const moveEveryMs = 1_000;

/** Who and what is remembered. Each map is bounded; of what does not fit, that goes which was untouched for longest; of levels first those without cells. */
export class Memory {
  readonly #bounds: MemoryBounds;
  readonly #mcps = new Map<string, Mcp>();
  readonly #levels = new Map<string, Level>();
  /** Levels without cells: these go first, so that one MCP, whose cells are bounded, pushes nobody else's classes out with names that it makes up. */
  readonly #vacant = new Set<Level>();
  readonly #cells = new Set<Cell>();
  readonly all: Level = emptyLevel("", 0);
  /** Grows when a level comes or goes: whoever keeps one compares it. */
  levelsVersion = 0;

  constructor(bounds: Partial<MemoryBounds> = {}) {
    this.#bounds = { ...memoryBounds, ...bounds };
  }

  findMcp(mcpId: string): Mcp | undefined {
    return this.#mcps.get(mcpId);
  }

  findLevel(key: string): Level | undefined {
    return this.#levels.get(key);
  }

  mcps(): IterableIterator<Mcp> {
    return this.#mcps.values();
  }

  *levels(): Iterable<Level> {
    yield this.all;
    yield* this.#levels.values();
  }

  *cells(): Iterable<Cell> {
    for (const mcp of this.#mcps.values()) {
      yield mcp.all;
      yield* mcp.cells;
    }
  }

  mcpOf(mcpId: string, atMs: number): Mcp {
    const known = this.#mcps.get(mcpId);
    if (known !== undefined) {
      if (atMs - known.movedAtMs >= moveEveryMs) {
        known.movedAtMs = atMs;
        this.#mcps.delete(mcpId);
        this.#mcps.set(mcpId, known);
      }
      return known;
    }
    if (this.#mcps.size >= this.#bounds.mcps) {
      for (const silent of this.#mcps.values()) {
        this.forget(silent);
        break;
      }
    }
    const fresh = new Mcp(mcpId, this.all, atMs);
    this.#mcps.set(mcpId, fresh);
    this.all.cells.set(mcpId, fresh.all);
    return fresh;
  }

  levelOf(key: string, atMs: number): Level {
    const known = this.#levels.get(key);
    if (known !== undefined) {
      if (atMs - known.movedAtMs >= moveEveryMs) {
        known.movedAtMs = atMs;
        this.#levels.delete(key);
        this.#levels.set(key, known);
      }
      return known;
    }
    if (this.#levels.size >= this.#bounds.levels) this.#forgetOneLevel();
    const fresh = emptyLevel(key, atMs);
    this.#levels.set(key, fresh);
    this.#vacant.add(fresh);
    this.levelsVersion += 1;
    return fresh;
  }

  /** The one that has been without cells for longest, else the longest untouched. */
  #forgetOneLevel(): void {
    const [silent] = this.#vacant.size > 0 ? this.#vacant : this.#levels.values();
    if (silent === undefined) return;
    for (const cell of silent.cells.values()) this.#forgetCell(cell);
    this.#vacant.delete(silent);
    this.#levels.delete(silent.key);
  }

  cellOf(mcp: Mcp, level: Level, coarser: Cell, atMs: number): Cell {
    const known = level.cells.get(mcp.mcpId);
    if (known !== undefined) {
      known.coarser = coarser;
      if (atMs - known.movedAtMs >= moveEveryMs) {
        known.movedAtMs = atMs;
        for (const order of [this.#cells, mcp.cells]) {
          order.delete(known);
          order.add(known);
        }
      }
      return known;
    }
    if (mcp.cells.size >= this.#bounds.cellsPerMcp) this.#forgetFirst(mcp.cells);
    if (this.#cells.size >= this.#bounds.cells) this.#forgetFirst(this.#cells);
    const fresh = emptyCell(mcp, level, coarser, atMs);
    level.cells.set(mcp.mcpId, fresh);
    this.#vacant.delete(level);
    mcp.cells.add(fresh);
    this.#cells.add(fresh);
    return fresh;
  }

  forget(mcp: Mcp): void {
    for (const cell of mcp.cells) this.#forgetCell(cell);
    this.all.cells.delete(mcp.mcpId);
    this.#mcps.delete(mcp.mcpId);
  }

  #forgetFirst(cells: Set<Cell>): void {
    for (const cell of cells) {
      this.#forgetCell(cell);
      return;
    }
  }

  #forgetCell(cell: Cell): void {
    const { level } = cell;
    level.cells.delete(cell.mcp.mcpId);
    if (level.cells.size === 0) this.#vacant.add(level);
    cell.mcp.cells.delete(cell);
    if (cell.mcp.lastRead === cell) cell.mcp.lastRead = undefined;
    this.#cells.delete(cell);
  }
}

function emptyLevel(key: string, atMs: number): Level {
  return {
    key,
    latency: emptyHistogram(),
    ended: 0,
    failed: 0,
    quality: 0,
    qualityCount: 0,
    cost: 0,
    costCount: 0,
    shared: noSharedEffect(),
    cells: new Map(),
    movedAtMs: atMs,
  };
}

function emptyCell(mcp: Mcp, level: Level, coarser: Cell | undefined, atMs: number): Cell {
  return {
    mcp,
    level,
    coarser,
    completions: noCompletions(),
    latency: emptyHistogram(),
    latencyByLoad: Array.from({ length: loadBucketCount }, () => undefined),
    ok: emptyHistogram(),
    judged: 0,
    judgedCount: 0,
    ended: 0,
    failed: 0,
    cost: 0,
    costCount: 0,
    quality: noOwnQuality(),
    open: [],
    toldOpen: [],
    movedAtMs: atMs,
  };
}
