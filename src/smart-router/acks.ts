import type { Clock } from "../platform/clock.js";
import { limits } from "../platform/limits.js";
import type { Logger } from "../platform/log.js";
import type { AppliedRoutes, ApplyStatus, Rejection, RouteVerdict, RoutingAck } from "./table.js";

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
  readonly answered: AppliedRoutes;
  readonly rejection: Rejection | undefined;
  readonly verdicts: readonly RouteVerdict[];
  readonly applyTimeMs: number | undefined;
  readonly ackDelayMs: number | undefined;
};

/** An ack, whose it is, and what it answered. `ackDelayMs`: from publication to the ack; undefined when the table was not new when it was sent. */
export type AckedTable = {
  readonly producerId: string;
  readonly mcpId: string;
  readonly ack: RoutingAck;
  readonly answered: AppliedRoutes;
  readonly ackDelayMs: number | undefined;
};

/** The row of an ack. Zeros name no table: the client told of none that is in force. */
export function ackRow({ producerId, mcpId, ack, answered, ackDelayMs }: AckedTable, ackedAtMs: number): AckRow {
  const { term, version, digest } = ack.applied ?? { term: 0, version: 0, digest: "0".repeat(16) };
  const isRejected = ack.status === "rejected";
  return {
    ...{ producerId, mcpId, status: ack.status, term, version, digest, detail: detailOf(ack.rejected), ackedAtMs },
    answered: { term: answered.term, version: answered.version, digest: answered.digest },
    rejection: isRejected ? ack.rejection : undefined,
    verdicts: isRejected ? ack.rejected : [],
    applyTimeMs: ack.applyTimeMs,
    ackDelayMs,
  };
}

export type AckLogDeps = {
  /** Stores up to `limits.routingAckBatchMax` acks. Throws when the store does not answer. */
  readonly record: (acks: readonly AckRow[]) => Promise<void>;
  readonly clock: Clock;
  readonly log: Logger;
};

/** Acks on their way to the store. */
export type AckLog = {
  /** Takes an ack. Never fails, never waits. */
  readonly add: (ack: AckRow) => void;
  /** Stores what waits, now. Resolves when it is stored or lost. */
  readonly flush: () => Promise<void>;
  /** Acks that were not stored, since the start. */
  readonly lostCount: () => number;
  /** Stores what waits, for the last time; an ack that comes later is lost. Idempotent. */
  readonly close: () => Promise<void>;
  readonly [Symbol.asyncDispose]: () => Promise<void>;
};

/**
 * An empty log, which stores at most once a second, and a rejection for content at once: other coordinators have to know of it. Losing a row is allowed
 * and counted: acks are evidence for people, the next table brings new ones within 30 s, and they must never hold up events.
 * Bound: `limits.routingAckBufferMax` acks; above it the oldest waiting one is lost.     Source: SPEC.md, "Acks".
 */
export function createAckLog(deps: AckLogDeps): AckLog {
  let waiting: AckRow[] = [];
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
    const acks = waiting;
    waiting = [];
    storing = storeAll(acks).finally(() => {
      storing = undefined;
      if (waiting.length > 0 && !isClosed) schedule(waiting.some(isUrgent));
    });
    return storing;
  };

  const schedule = (isAtOnce: boolean): void => {
    if (storing !== undefined) return;
    if (isAtOnce) cancelTimer?.();
    if (isAtOnce) cancelTimer = undefined;
    cancelTimer ??= deps.clock.after(isAtOnce ? 0 : limits.routingAckFlushMs, () => void drain());
  };

  const flush = async (): Promise<void> => {
    while (storing !== undefined || waiting.length > 0) await (storing ?? drain());
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
      if (waiting.length >= limits.routingAckBufferMax) {
        waiting.shift();
        lost += 1;
      }
      waiting.push(ack);
      schedule(isUrgent(ack));
    },
    flush,
    lostCount: () => lost,
    close,
    [Symbol.asyncDispose]: close,
  };
}

function isUrgent(ack: AckRow): boolean {
  return ack.rejection === "content";
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
