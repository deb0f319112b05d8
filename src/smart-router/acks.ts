import type { Clock } from "../platform/clock.js";
import { limits } from "../platform/limits.js";
import type { Logger } from "../platform/log.js";
import type { ApplyStatus, RoutingAck } from "./table.js";

/** A routing ack as the store keeps it; the same shape as `AckedRoutes` of store/store.ts, which this room does not import. */
export type AckRow = {
  /** The session id for sessions without a producer. */
  readonly producerId: string;
  readonly mcpId: string;
  readonly status: ApplyStatus;
  readonly term: number;
  readonly version: number;
  readonly digest: string;
  readonly detail: string;
  readonly ackedAtMs: number;
};

/** The row of an ack. Zeros name no table: the client told of none that is in force. */
export function ackRow(producerId: string, mcpId: string, ack: RoutingAck, ackedAtMs: number): AckRow {
  const { term, version, digest } = ack.applied ?? { term: 0, version: 0, digest: "0".repeat(16) };
  return { producerId, mcpId, status: ack.status, term, version, digest, detail: detailOf(ack.rejected), ackedAtMs };
}

export type AckLogDeps = {
  /** Stores up to `limits.routingAckBatchMax` acks. Throws when the store does not answer. */
  readonly record: (acks: readonly AckRow[]) => Promise<void>;
  readonly clock: Clock;
  readonly log: Logger;
};

/** Acks on their way to the store. */
export type AckLog = {
  /** Takes an ack; a newer one of the same producer replaces one that still waits. Never fails, never waits. */
  readonly add: (ack: AckRow) => void;
  /** Stores what waits, now. Resolves when it is stored or lost. */
  readonly flush: () => Promise<void>;
  /** Acks that were neither stored nor replaced by a newer one, since the start. */
  readonly lostCount: () => number;
  /** Stores what waits, for the last time; an ack that comes later is lost. Idempotent. */
  readonly close: () => Promise<void>;
  readonly [Symbol.asyncDispose]: () => Promise<void>;
};

/**
 * An empty log, which stores at most once a second. Losing a row is allowed and counted: acks are evidence for people, the next table brings new ones
 * within 30 s, and they must never hold up events.
 * Bound: `limits.routingAckBufferMax` producers; above it the oldest waiting ack is lost.     Source: SPEC.md, "Acks".
 */
export function createAckLog(deps: AckLogDeps): AckLog {
  const waiting = new Map<string, AckRow>();
  let lost = 0;
  let isClosed = false;
  let cancelTimer: (() => void) | undefined;
  let storing: Promise<void> | undefined;

  const storeAll = async (acks: readonly AckRow[]): Promise<void> => {
    for (let from = 0; from < acks.length; from += limits.routingAckBatchMax) {
      try {
        await deps.record(acks.slice(from, from + limits.routingAckBatchMax));
      } catch (error) {
        // The loop's edge: the failure becomes a count. The rest would meet the same store.
        lost += acks.length - from;
        deps.log.warn({ count: acks.length - from, lost, err: error }, "routing acks were not stored");
        return;
      }
    }
  };

  /** One at a time, so that an older ack of a producer never overtakes a newer one, and nothing piles up behind a slow store but `waiting`. */
  const drain = (): Promise<void> => {
    cancelTimer?.();
    cancelTimer = undefined;
    const acks = [...waiting.values()];
    waiting.clear();
    storing = storeAll(acks).finally(() => {
      storing = undefined;
      if (waiting.size > 0 && !isClosed) schedule();
    });
    return storing;
  };

  const schedule = (): void => {
    if (storing === undefined) cancelTimer ??= deps.clock.after(limits.routingAckFlushMs, () => void drain());
  };

  const flush = async (): Promise<void> => {
    while (storing !== undefined || waiting.size > 0) await (storing ?? drain());
  };

  const close = (): Promise<void> => {
    isClosed = true;
    return flush();
  };

  return {
    add: (ack) => {
      if (isClosed) {
        lost += 1;
        return;
      }
      waiting.delete(ack.producerId);
      if (waiting.size >= limits.routingAckBufferMax) {
        const oldest = waiting.keys().next();
        if (oldest.done !== true) waiting.delete(oldest.value);
        lost += 1;
      }
      waiting.set(ack.producerId, ack);
      schedule();
    },
    flush,
    lostCount: () => lost,
    close,
    [Symbol.asyncDispose]: close,
  };
}

/** Why targets were refused, one after the other, as many as fit as a whole. */
function detailOf(rejected: RoutingAck["rejected"]): string {
  let detail = "";
  for (const { mcpId, reason } of rejected) {
    const verdict = mcpId === "" ? reason : `${mcpId}: ${reason}`;
    const longer = detail === "" ? verdict : `${detail}; ${verdict}`;
    if (longer.length > limits.routingAckDetailMaxChars) return detail;
    detail = longer;
  }
  return detail;
}
