import type { NewEvent } from "../../src/interaction/event.js";
import type { Merged } from "../../src/interaction/merge.js";

/** What the table of interactions keeps of one, as the append statement does: enough to merge the next batch without its earlier events. */
export type FoldedRow = {
  readonly startId: string;
  readonly progressId: string;
  readonly terminalId: string;
  readonly start: NewEvent | undefined;
  readonly terminal: NewEvent | undefined;
  readonly startedAtUs: number | undefined;
  readonly lastEventAtUs: number;
  readonly eventCount: number;
  readonly outcomes: ReadonlySet<boolean>;
};

/** Adds one newly stored event to a row, whatever came before it: the rules of append-sql.ts, step `ups`. */
export function foldEvent(row: FoldedRow | undefined, event: NewEvent): FoldedRow {
  const isStart = event.facts.kind === "start";
  const isTerminal = event.facts.kind === "terminal";
  const newStart = isStart && event.eventId > (row?.startId ?? "");
  const newTerminal = isTerminal && event.eventId > (row?.terminalId ?? "");
  const newProgress = event.facts.kind === "progress" && event.eventId > (row?.progressId ?? "");
  const outcomes = new Set(row?.outcomes);
  if (event.facts.kind === "terminal") outcomes.add(event.facts.success);
  return {
    startId: newStart ? event.eventId : (row?.startId ?? ""),
    progressId: newProgress ? event.eventId : (row?.progressId ?? ""),
    terminalId: newTerminal ? event.eventId : (row?.terminalId ?? ""),
    start: newStart ? event : row?.start,
    terminal: newTerminal ? event : row?.terminal,
    startedAtUs: isStart ? Math.min(event.occurredAtUs, row?.startedAtUs ?? event.occurredAtUs) : row?.startedAtUs,
    lastEventAtUs: Math.max(event.occurredAtUs, row?.lastEventAtUs ?? event.occurredAtUs),
    eventCount: (row?.eventCount ?? 0) + 1,
    outcomes,
  };
}

/** The row as mergeEvents would say it. */
export function mergedOf(row: FoldedRow): Merged {
  const terminal = row.terminal?.facts.kind === "terminal" ? row.terminal.facts : undefined;
  const start = row.start?.facts.kind === "start" ? row.start.facts : undefined;
  const live = row.progressId === "" ? "started" : "running";
  return {
    state: terminal === undefined ? live : terminal.success ? "completed" : "failed",
    startedAtUs: row.startedAtUs,
    endedAtUs: row.terminal?.occurredAtUs,
    lastEventAtUs: row.lastEventAtUs,
    eventCount: row.eventCount,
    missingStart: row.startedAtUs === undefined,
    conflictingTerminal: row.outcomes.size > 1,
    lateEvents: row.terminal !== undefined && row.lastEventAtUs > row.terminal.occurredAtUs,
    requestType: start?.requestType ?? "",
    sessionId: start?.sessionId ?? "",
    userPseudonym: start?.userPseudonym ?? "",
    durationMs: terminal?.durationMs,
    success: terminal?.success,
    qualityScore: terminal?.qualityScore,
    errorCode: terminal?.errorCode ?? "",
    adapterUsed: terminal?.adapterUsed ?? "",
  };
}
