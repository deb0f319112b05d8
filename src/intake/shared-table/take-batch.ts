import { bisect, type CommitEvents, decide, poisonOf, toFault } from "../../ingest/decide.js";
import type { Ingest } from "../../ingest/ingest.js";
import type { Pending } from "../../ingest/pending.js";
import type { Verdict } from "../../ingest/verdict.js";
import type { NewEvent, Outcome } from "../../interaction/event.js";
import { unreachable } from "../../platform/assert.js";
import type { Clock } from "../../platform/clock.js";
import type { ReportFate, SharedTableStore, TakeBounds, TakenRange, TakenReports, WaitingReport } from "../../store/waiting-reports.js";
import type { ReadReport } from "../../wire/report-body.js";
import { type JudgedReport, judgeReport, reasonOf } from "./judge-report.js";

export type BatchDeps = {
  readonly store: Pick<SharedTableStore, "takeReports">;
  readonly ingest: Pick<Ingest, "judge" | "settle" | "countRefused">;
  readonly read: (value: unknown) => ReadReport;
  readonly clock: Clock;
};

/** What one committed transaction did with the rows that it took. */
export type TakenBatch = TakenRange & {
  readonly resolved: number;
  /** Refused by the front door or the store, and unreadable ones: all are dead letters now. */
  readonly refused: number;
  readonly unreadable: number;
  /** Left for later. */
  readonly stayed: number;
};

/**
 * Takes one batch out of the shared table. Events, dead letters and the removal of the rows are one transaction; whoever follows the ingest hears of the events
 * once, after the COMMIT. Errors: StoreFault, and then the rows are where they were, or all of it was committed and only the answer was lost.
 */
export async function takeBatch(deps: BatchDeps, bounds: TakeBounds): Promise<TakenBatch> {
  const startedAtMs = deps.clock.monotonicMs();
  let drained: Drained = { refused: [], unreadable: 0, stayed: 0, outcomes: new Map() };
  const range = await deps.store.takeReports(bounds, async (taken) => {
    const { fates, ...rest } = await drainReports(deps, taken);
    drained = rest;
    return fates;
  });
  const { refused, unreadable, stayed, outcomes } = drained;
  for (const verdict of refused) deps.ingest.countRefused(verdict, "table");
  const commitMs = deps.clock.monotonicMs() - startedAtMs;
  if (outcomes.size > 0) deps.ingest.settle([...outcomes.keys()], outcomes, { queueWaitMs: 0, commitMs, batchEvents: outcomes.size });
  const refusedCount = refused.filter(isSetAside).length + [...outcomes.values()].filter((outcome) => !isResolved(outcome)).length;
  return { ...range, refused: refusedCount, unreadable, stayed, resolved: range.count - refusedCount - unreadable - stayed };
}

type Drained = {
  /** Verdicts of the front door. */
  readonly refused: readonly Verdict[];
  readonly unreadable: number;
  readonly stayed: number;
  readonly outcomes: ReadonlyMap<Pending, Outcome>;
};

/** What becomes of each row, with the events appended in the same transaction. */
async function drainReports(
  deps: BatchDeps,
  { reports, append }: TakenReports,
): Promise<Drained & { readonly fates: ReadonlyMap<WaitingReport, ReportFate> }> {
  const fates = new Map<WaitingReport, ReportFate>();
  const refused: Verdict[] = [];
  const pending = new Map<Pending, WaitingReport>();
  const counts = { unreadable: 0, stayed: 0 };
  const receivedAtMs = deps.clock.monotonicMs();
  for (const report of reports) {
    const judged = judgeSafely(deps, report);
    switch (judged.kind) {
      case "event":
        pending.set({ event: judged.event, origin: nobody, receivedAtMs }, report);
        break;
      case "refused":
        refused.push(judged.verdict);
        fates.set(report, fateOfRefused(judged.verdict));
        break;
      case "unreadable":
        counts.unreadable += 1;
        fates.set(report, { kind: "aside", eventId: judged.eventId, reason: reasonOf("invalid", judged.faults) });
        break;
      case "early":
        counts.stayed += 1;
        fates.set(report, { kind: "stays" });
        break;
      default:
        unreachable(judged);
    }
  }
  const outcomes = (await decide([...pending.keys()], appendSound(append))) ?? new Map<Pending, Outcome>();
  for (const [item, outcome] of outcomes) {
    const report = pending.get(item);
    if (report !== undefined) fates.set(report, fateOf(item.event, outcome));
  }
  return { fates, refused, outcomes, ...counts };
}

/** The producer has gone: nobody waits for an answer. */
const nobody = { settled: () => {}, flushed: () => {} };

/** A bug of ours that one row has found must not keep the others waiting: the row is set aside, where it will be found. */
function judgeSafely(deps: BatchDeps, report: WaitingReport): JudgedReport {
  try {
    return judgeReport({ read: deps.read, judge: deps.ingest.judge }, report);
  } catch (thrown) {
    // The loop's edge: a failure becomes the fate of its row.
    const description = thrown instanceof Error ? thrown.message : String(thrown);
    return { kind: "unreadable", eventId: "", faults: [{ field: "data", reason: "INTERNAL", description }] };
  }
}

/** Appends what can be stored; what the store refuses is found by halving. Everything else that fails ends the transaction. */
function appendSound(append: TakenReports["append"]): CommitEvents {
  const commit: CommitEvents = async (events) => {
    try {
      return await append(events);
    } catch (thrown) {
      const fault = toFault(thrown);
      if (fault.kind !== "poison") throw fault;
      return bisect(events, commit, async () => [poisonOf(fault)]);
    }
  };
  return commit;
}

function fateOf(event: NewEvent, outcome: Outcome): ReportFate {
  switch (outcome.kind) {
    case "stored":
    case "duplicate":
      return { kind: "resolved" };
    case "conflict":
      return { kind: "aside", eventId: event.eventId, reason: "CONFLICT: another event with this event_id and mcp_id is stored" };
    case "poison":
      return { kind: "aside", eventId: event.eventId, reason: `INVALID: ${outcome.description}` };
    case "fenced":
      // Rows come without a session, and so without anything to be fenced by.
      return { kind: "stays" };
    default:
      return unreachable(outcome);
  }
}

function fateOfRefused(verdict: Verdict): ReportFate {
  if (!isSetAside(verdict)) return { kind: "resolved" };
  return { kind: "aside", eventId: verdict.eventId, reason: reasonOf(verdict.status, verdict.violations) };
}

/** What nobody wants collected is resolved; every other refusal is kept. */
const isSetAside = (verdict: Verdict): boolean => verdict.status !== "not_collected";
const isResolved = (outcome: Outcome): boolean => outcome.kind === "stored" || outcome.kind === "duplicate";
