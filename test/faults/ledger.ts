import type { EventAck } from "../../gen/mcp/coordinator/v1/events_pb.js";
import { EventStatus } from "../../gen/mcp/coordinator/v1/events_pb.js";
import type { Settled } from "../../src/client/options.js";
import type { PlannedEvent } from "./plan.js";

/** What one event's life looked like from the client's side. */
export type LedgerEntry = {
  readonly planned: PlannedEvent;
  readonly mcpId: string;
  readonly producerId: string;
  /** How often it was reported with its own content, and how many of those have a final verdict. */
  reported: number;
  settled: number;
  /** Wall time of the first success that came as an ack; undefined while there is none. */
  ackedAtMs: number | undefined;
  /** A success was learnt from the resume point only. */
  isResumed: boolean;
  /** Statuses of final verdicts that are no success, in order; the same event must always get the same. */
  readonly refusals: EventStatus[];
};

/** Words of the contract for a status. */
export const statusName = (status: EventStatus): string => EventStatus[status] ?? `status ${status}`;

/** Every event that was given to a session, and what its session said of it. The auditor believes nothing else. */
export class EventLedger {
  readonly entries = new Map<string, LedgerEntry>();
  /** Final verdicts by name, over all rounds. */
  readonly verdicts = new Map<string, number>();
  ackedTotal = 0;
  reportedTotal = 0;

  note(planned: PlannedEvent, mcpId: string, producerId: string): void {
    const known = this.entries.get(planned.eventId);
    if (known !== undefined) known.reported += 1;
    else {
      this.entries.set(planned.eventId, {
        ...{ planned, mcpId, producerId, reported: 1, settled: 0 },
        ...{ ackedAtMs: undefined, isResumed: false, refusals: [] },
      });
      this.reportedTotal += 1;
    }
  }

  /** Books a final verdict. `nowMs` is wall time. */
  settle(settled: Settled, nowMs: number): void {
    this.#count(settled);
    const entry = this.entries.get(settled.eventId);
    if (entry === undefined) return;
    entry.settled += 1;
    if (settled.verdict === "rejected") {
      if (settled.ack?.status !== EventStatus.CONFLICT || entry.planned.rivals === 0)
        entry.refusals.push(settled.ack?.status ?? EventStatus.UNSPECIFIED);
    } else if (settled.learnt === "resume") entry.isResumed = true;
    else if (entry.ackedAtMs === undefined) {
      entry.ackedAtMs = nowMs;
      this.ackedTotal += 1;
    }
  }

  #count({ verdict, learnt, ack }: Settled): void {
    const name = verdict === "rejected" ? statusName(ack?.status ?? EventStatus.UNSPECIFIED) : verdict.toUpperCase();
    this.count(learnt === "resume" ? "RESUMED" : name);
  }

  count(name: string): void {
    this.verdicts.set(name, (this.verdicts.get(name) ?? 0) + 1);
  }

  /** Books a verdict that came without a session: from a unary call or a stream held by hand. */
  settleAck(ack: EventAck, nowMs: number): void {
    const isSuccess = ack.status === EventStatus.STORED || ack.status === EventStatus.DUPLICATE;
    const verdict = isSuccess ? (ack.status === EventStatus.STORED ? "stored" : "duplicate") : "rejected";
    if (!isSuccess && ack.retryable) this.count(statusName(ack.status));
    else this.settle({ eventId: ack.eventId, verdict, learnt: "ack", latencyMs: 0, ack }, nowMs);
  }

  /** Gives the entries away and begins a new page: the round they belong to is over. */
  turnPage(): readonly LedgerEntry[] {
    const page = [...this.entries.values()];
    this.entries.clear();
    return page;
  }
}
