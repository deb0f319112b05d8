import type { Facts } from "../interaction/event.js";
import { limits } from "../platform/limits.js";
import type { RouterSettings } from "./settings.js";

/** A stored event as the router sees it. Duplicates are not stored and so never get here. */
export type Committed = {
  readonly mcpId: string;
  readonly facts: Facts;
  /** When the coordinator received it, on its monotonic clock. */
  readonly receivedAtMonoMs: number;
};

/** What recent events say about one MCP. Times on the coordinator's monotonic clock; `undefined` means never. */
export type McpSignals = {
  readonly mcpId: string;
  /** The last event of any kind. */
  readonly heardAtMs: number | undefined;
  /** The last end of an interaction. */
  readonly endedAtMs: number | undefined;
  /** The first end of an interaction since the signals were empty or had expired: where A58's blackout begins. */
  readonly usableSinceMs: number | undefined;
  /** Interactions ended per second, and those among them that failed. Decayed means. */
  readonly qps: number;
  readonly eps: number;
  /** Mean duration of an interaction; `undefined` without a sample, which never means fast. A failure counts at least as much as the mean success. */
  readonly latencyMs: number | undefined;
};

/** The fold from committed events to signals. */
export type Signals = {
  /** Adds stored events, in any order. */
  readonly observe: (events: readonly Committed[]) => void;
  /** Signals of all MCPs that are remembered, as of `nowMs`. At most `limits.routedMcpMax`. */
  readonly read: (nowMs: number) => ReadonlyMap<string, McpSignals>;
};

/** Decayed sums of one MCP, all as of `atMs`. Mutable on purpose: written once per event at 30k events/s. */
type Tally = {
  atMs: number;
  heardAtMs: number;
  /** When the tally was last moved to the young end of the map. */
  movedAtMs: number;
  firstEndedAtMs: number | undefined;
  usableSinceMs: number | undefined;
  endedAtMs: number | undefined;
  ended: number;
  failed: number;
  okCount: number;
  okMs: number;
  failedCount: number;
  failedMs: number;
};

/** The map's order is the order of silence to within this; finer would mean a delete and a set per event. */
const moveEveryMs = 1_000;
/** Below this much decayed weight (30 half-lives) a mean is rounding noise. */
const sampleMin = 1e-9;
/** Longest duration that counts, one hour: a single absurd claim must not outweigh everything for minutes. */
const durationMaxMs = 3_600_000;
/** A rate over less than this is one event divided by almost nothing. */
const rateSpanMinMs = 1_000;

export type SignalSettings = Pick<RouterSettings, "halfLifeMs" | "weightExpirationPeriodMs">;

/**
 * Empty signals. Exponentially decayed sums: constant memory per MCP, and the result does not depend on the order of events.
 * Bound: `mcpMax` MCPs; the longest silent one is forgotten first, to within a second.     Source: SPEC.md, "Signals".
 */
export function createSignals(settings: SignalSettings, mcpMax: number = limits.routedMcpMax): Signals {
  const tallies = new Map<string, Tally>();

  const tallyOf = (mcpId: string, atMs: number): Tally => {
    const known = tallies.get(mcpId);
    if (known !== undefined) {
      if (atMs - known.movedAtMs >= moveEveryMs) {
        known.movedAtMs = atMs;
        tallies.delete(mcpId);
        tallies.set(mcpId, known);
      }
      return known;
    }
    if (tallies.size >= mcpMax) {
      const silent = tallies.keys().next();
      if (silent.done !== true) tallies.delete(silent.value);
    }
    const fresh = emptyTally(atMs);
    tallies.set(mcpId, fresh);
    return fresh;
  };

  return {
    observe: (events) => {
      for (const { mcpId, facts, receivedAtMonoMs } of events) {
        const tally = tallyOf(mcpId, receivedAtMonoMs);
        if (receivedAtMonoMs > tally.heardAtMs) tally.heardAtMs = receivedAtMonoMs;
        if (facts.kind === "terminal") addEnd(tally, facts.success, facts.durationMs, receivedAtMonoMs, settings);
      }
    },
    read: (nowMs) => {
      const signals = new Map<string, McpSignals>();
      for (const [mcpId, tally] of tallies) signals.set(mcpId, readTally(mcpId, tally, nowMs, settings.halfLifeMs));
      return signals;
    },
  };
}

/** Signals of an MCP of which nothing is known. */
export function noSignals(mcpId: string): McpSignals {
  return { mcpId, heardAtMs: undefined, endedAtMs: undefined, usableSinceMs: undefined, qps: 0, eps: 0, latencyMs: undefined };
}

function emptyTally(atMs: number): Tally {
  return {
    atMs,
    heardAtMs: atMs,
    movedAtMs: atMs,
    firstEndedAtMs: undefined,
    usableSinceMs: undefined,
    endedAtMs: undefined,
    ended: 0,
    failed: 0,
    okCount: 0,
    okMs: 0,
    failedCount: 0,
    failedMs: 0,
  };
}

function addEnd(tally: Tally, success: boolean, durationMs: number | undefined, atMs: number, settings: SignalSettings): void {
  const share = decayTo(tally, atMs, settings.halfLifeMs);
  const silenceMs = tally.endedAtMs === undefined ? Number.POSITIVE_INFINITY : atMs - tally.endedAtMs;
  if (silenceMs >= settings.weightExpirationPeriodMs) tally.usableSinceMs = atMs;
  if (silenceMs > 0) tally.endedAtMs = atMs;
  if (tally.firstEndedAtMs === undefined || atMs < tally.firstEndedAtMs) tally.firstEndedAtMs = atMs;
  tally.ended += share;
  if (!success) tally.failed += share;
  if (durationMs === undefined || !Number.isFinite(durationMs) || durationMs < 0) return;
  const countedMs = share * Math.min(durationMs, durationMaxMs);
  if (success) {
    tally.okCount += share;
    tally.okMs += countedMs;
  } else {
    tally.failedCount += share;
    tally.failedMs += countedMs;
  }
}

/** Brings the sums forward to `atMs` and returns what an event of `atMs` adds: 1, or less when it is older than the sums. */
function decayTo(tally: Tally, atMs: number, halfLifeMs: number): number {
  if (atMs === tally.atMs) return 1;
  if (atMs < tally.atMs) return 2 ** ((atMs - tally.atMs) / halfLifeMs);
  const kept = 2 ** ((tally.atMs - atMs) / halfLifeMs);
  tally.atMs = atMs;
  tally.ended *= kept;
  tally.failed *= kept;
  tally.okCount *= kept;
  tally.okMs *= kept;
  tally.failedCount *= kept;
  tally.failedMs *= kept;
  return 1;
}

function readTally(mcpId: string, tally: Tally, nowMs: number, halfLifeMs: number): McpSignals {
  const kept = 2 ** (Math.min(0, tally.atMs - nowMs) / halfLifeMs);
  const spanMs = tally.firstEndedAtMs === undefined ? 0 : nowMs - tally.firstEndedAtMs;
  const perSecond = kept / spanOf(Math.max(rateSpanMinMs, spanMs), halfLifeMs);
  return {
    mcpId,
    heardAtMs: tally.heardAtMs,
    endedAtMs: tally.endedAtMs,
    usableSinceMs: tally.usableSinceMs,
    qps: tally.ended * perSecond,
    eps: tally.failed * perSecond,
    latencyMs: meanLatencyMs(tally),
  };
}

/** Seconds that a decayed sum covers when it has been growing for `spanMs`: the integral of the decay, so that a steady rate reads true from the start. */
function spanOf(spanMs: number, halfLifeMs: number): number {
  return ((halfLifeMs / Math.LN2) * (1 - 2 ** (-spanMs / halfLifeMs))) / 1_000;
}

/** Failing fast must not look like being fast: failures enter with their own mean or that of the successes, whichever is longer. */
function meanLatencyMs(tally: Tally): number | undefined {
  const ok = tally.okCount > sampleMin ? tally.okMs / tally.okCount : undefined;
  const failed = tally.failedCount > sampleMin ? tally.failedMs / tally.failedCount : undefined;
  if (failed === undefined) return ok;
  if (ok === undefined) return failed;
  return (tally.okCount * ok + tally.failedCount * Math.max(ok, failed)) / (tally.okCount + tally.failedCount);
}
