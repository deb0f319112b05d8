import type { Clock } from "../../platform/clock.js";
import { limits } from "../../platform/limits.js";
import type { Logger } from "../../platform/log.js";
import type { Candidate, Decision, DecisionOutcome } from "../decision.js";
import { type DecisionContext, type DecisionRecord, type DecisionRow, recordOf, rowOf } from "./decision-record.js";
import { Fifo } from "./fifo.js";
import { auditRow, mergeOutcomes, type OutcomeRow, outcomeRow, startRow } from "./outcome-row.js";

export type DecisionLogDeps = {
  /** Stores up to `limits.decisionBatchMax` decisions; storing one twice is harmless. Throws when the store does not answer or does not take them. */
  readonly recordDecisions: (rows: readonly DecisionRow[]) => Promise<void>;
  /** The same for ends, each decision and MCP once. */
  readonly recordOutcomes: (rows: readonly OutcomeRow[]) => Promise<void>;
  /** Whether trying the same rows again is hopeless. */
  readonly isHopeless: (thrown: unknown) => boolean;
  readonly clock: Clock;
  readonly log: Logger;
};

/** What became of the log since the start. */
export type DecisionLogFigures = {
  readonly waiting: number;
  readonly stored: number;
  /** Logged, but without the candidates that should have been kept. */
  readonly thinned: number;
  readonly lost: number;
  readonly outcomesLost: number;
};

/** Decisions on their way to the store, behind the answers. Nothing here fails or waits for the store. */
export type DecisionLog = {
  /**
   * Takes a decision. Its candidates are kept when it explored, when `keepsCandidates` says so, and of one in `limits.decisionSampleEvery` of the others.
   */
  readonly add: (decision: Decision, context: DecisionContext, keepsCandidates: boolean) => void;
  /** An MCP said that it began with what a decision sent it. */
  readonly started: (decisionId: string, mcpId: string, interactionId: string) => void;
  readonly ended: (outcome: DecisionOutcome) => void;
  /** The audit that counts. */
  readonly audited: (decisionId: string, mcpId: string, quality: number, auditor: string) => void;
  /** A decision of the last `limits.recentDecisionsMax`, with all candidates, stored or not. */
  readonly recent: (decisionId: string) => DecisionRecord | undefined;
  /** What waits of the end of a decision. */
  readonly waitingOutcome: (decisionId: string, mcpId: string) => OutcomeRow | undefined;
  readonly figures: () => DecisionLogFigures;
  /** Stores what waits, now. Resolves when it is stored, lost, or the store has refused it once. */
  readonly flush: () => Promise<void>;
  /** Stores what waits, for the last time. Idempotent. */
  readonly close: () => Promise<void>;
};

/** A decision that waits. Without `candidates` only the choice is kept. */
type Waiting = { readonly record: DecisionRecord; candidates: readonly Candidate[] | undefined; isWaiting: boolean };

/**
 * An empty log. Writes at most once every `limits.decisionFlushMs`, in batches, and holds what the store does not take.
 * Bound: `limits.candidateBufferMax` candidates, above which the oldest waiting decisions lose theirs; then `limits.decisionBufferMax` decisions and
 * `limits.outcomeBufferMax` outcomes, above which the oldest are lost. Both are counted.     Source: SPEC.md.
 */
export function createDecisionLog(deps: DecisionLogDeps): DecisionLog {
  const waiting = new Fifo<Waiting>();
  /** Those that wait with candidates; and some that wait no more. */
  const full = new Fifo<Waiting>();
  const outcomes = new Map<string, OutcomeRow>();
  const recent = new Map<string, { readonly decision: Decision; readonly context: DecisionContext; readonly keptShare: number }>();
  let waitingCandidates = 0;
  const counts = { stored: 0, thinned: 0, lost: 0, outcomesLost: 0 };
  let isClosed = false;
  let isFailing = false;
  let cancelTimer: (() => void) | undefined;
  let writing: Promise<void> | undefined;

  const shiftOldest = (): void => {
    const oldest = waiting.shift();
    if (oldest === undefined) return;
    oldest.isWaiting = false;
    waitingCandidates -= oldest.candidates?.length ?? 0;
    while (full.peek()?.isWaiting === false) full.shift();
  };

  const makeRoom = (): void => {
    while (waitingCandidates > limits.candidateBufferMax) {
      const oldest = full.shift();
      if (oldest === undefined) break;
      if (!oldest.isWaiting) continue;
      waitingCandidates -= oldest.candidates?.length ?? 0;
      oldest.candidates = undefined;
      counts.thinned += 1;
    }
    if (waiting.size <= limits.decisionBufferMax) return;
    shiftOldest();
    counts.lost += 1;
  };

  /** A tenth at once, because a map walks over what was deleted from its front. */
  const dropOldestOutcomes = (): void => {
    for (const key of [...outcomes.keys()].slice(0, limits.outcomeBufferMax / 10)) {
      outcomes.delete(key);
      counts.outcomesLost += 1;
    }
  };

  const addOutcome = (row: OutcomeRow): void => {
    if (isClosed) {
      counts.outcomesLost += 1;
      return;
    }
    const key = keyOf(row.decisionId, row.mcpId);
    const before = outcomes.get(key);
    if (before === undefined && outcomes.size >= limits.outcomeBufferMax) dropOldestOutcomes();
    outcomes.set(key, before === undefined ? row : mergeOutcomes(before, row));
    schedule();
  };

  /** Writes one batch and takes what is settled out of its map; false when the store did not answer. */
  const write = async (store: () => Promise<void>, settled: (isStored: boolean) => void): Promise<boolean> => {
    try {
      await store();
      isFailing = false;
      settled(true);
      return true;
    } catch (error) {
      // The loop's edge: the failure becomes state. What may pass later stays and waits.
      const isHopeless = deps.isHopeless(error);
      if (isHopeless || !isFailing) deps.log.warn({ err: error, isHopeless }, "decisions were not logged");
      isFailing = !isHopeless;
      if (isHopeless) settled(false);
      return isHopeless;
    }
  };

  const writeDecisions = async (): Promise<boolean> => {
    const batch = batchOf(waiting);
    const rows = batch.map(({ record, candidates }) => rowOf({ ...record, candidates }));
    return write(
      () => deps.recordDecisions(rows),
      (isStored) => {
        // What lost its place meanwhile is counted as lost already.
        for (const one of batch) {
          if (!one.isWaiting) continue;
          shiftOldest();
          if (isStored) counts.stored += 1;
          else counts.lost += 1;
        }
      },
    );
  };

  const writeOutcomes = async (): Promise<boolean> => {
    const batch = [...outcomes].slice(0, limits.decisionBatchMax);
    return write(
      () => deps.recordOutcomes(batch.map(([, row]) => row)),
      (isStored) => {
        for (const [key, row] of batch) {
          // What came meanwhile is written with the next batch.
          if (outcomes.get(key) !== row) continue;
          outcomes.delete(key);
          if (!isStored) counts.outcomesLost += 1;
        }
      },
    );
  };

  /** One at a time; what comes while a statement runs waits for the next round. */
  const drain = (): Promise<void> => {
    cancelTimer?.();
    cancelTimer = undefined;
    writing ??= (async () => {
      let isAnswering = true;
      while (isAnswering && waiting.size + outcomes.size > 0) {
        if (waiting.size > 0) isAnswering = await writeDecisions();
        if (isAnswering && outcomes.size > 0) isAnswering = await writeOutcomes();
      }
    })().finally(() => {
      writing = undefined;
      if (waiting.size + outcomes.size > 0 && !isClosed) schedule();
    });
    return writing;
  };

  const schedule = (): void => {
    if (writing === undefined) cancelTimer ??= deps.clock.after(limits.decisionFlushMs, () => void drain());
  };

  return {
    add: (decision, context, keepsCandidates) => {
      const { decisionId } = decision;
      const isCertain = keepsCandidates || decision.isExploration;
      recent.set(decisionId, { decision, context, keptShare: keptShareOf(isCertain) });
      if (recent.size > limits.recentDecisionsMax) deleteOldest(recent);
      if (isClosed) {
        counts.lost += 1;
        return;
      }
      const isKept = isCertain || isSampled(decisionId);
      const candidates = isKept ? decision.candidates() : undefined;
      const one: Waiting = { record: recordOf(decision, context, undefined, keptShareOf(isCertain)), candidates, isWaiting: true };
      waiting.push(one);
      if (candidates !== undefined) full.push(one);
      waitingCandidates += candidates?.length ?? 0;
      makeRoom();
      schedule();
    },
    started: (decisionId, mcpId, interactionId) => addOutcome(startRow(decisionId, mcpId, interactionId)),
    ended: (outcome) => addOutcome(outcomeRow(outcome)),
    audited: (decisionId, mcpId, quality, auditor) => addOutcome(auditRow(decisionId, mcpId, quality, auditor)),
    recent: (decisionId) => {
      const found = recent.get(decisionId);
      return found === undefined ? undefined : recordOf(found.decision, found.context, found.decision.candidates(), found.keptShare);
    },
    waitingOutcome: (decisionId, mcpId) => outcomes.get(keyOf(decisionId, mcpId)),
    figures: () => ({ waiting: waiting.size, ...counts }),
    flush: async () => {
      await writing;
      await drain();
    },
    close: async () => {
      isClosed = true;
      await writing;
      await drain();
      cancelTimer?.();
      counts.lost += waiting.size;
      counts.outcomesLost += outcomes.size;
      while (waiting.size > 0) shiftOldest();
      outcomes.clear();
    },
  };
}

/** The oldest that wait, as many as one statement takes. */
function batchOf(waiting: Fifo<Waiting>): readonly Waiting[] {
  const oldest = waiting.oldest(limits.decisionBatchMax);
  let candidates = 0;
  const end = oldest.findIndex((one, at) => {
    candidates += one.candidates?.length ?? 0;
    return at > 0 && candidates > limits.candidateBatchMax;
  });
  return end < 0 ? oldest : oldest.slice(0, end);
}

/** Probability with which candidates are kept: of explorations and of what was asked for always. */
function keptShareOf(isCertain: boolean): number {
  return isCertain ? 1 : 1 / limits.decisionSampleEvery;
}

/** One in `limits.decisionSampleEvery`, by the random bits of the id: not by the seed, which decides the choice. */
function isSampled(decisionId: string): boolean {
  return Number.parseInt(decisionId.slice(-8), 16) % limits.decisionSampleEvery === 0;
}

function keyOf(decisionId: string, mcpId: string): string {
  return `${decisionId} ${mcpId}`;
}

function deleteOldest(map: Map<string, unknown>): void {
  const oldest = map.keys().next();
  if (oldest.done !== true) map.delete(oldest.value);
}
