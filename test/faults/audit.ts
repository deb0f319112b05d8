import { create, toBinary } from "@bufbuild/protobuf";
import { InteractionEventSchema } from "../../gen/mcp/coordinator/v1/events_pb.js";
import { accept } from "../../src/ingest/accept.js";
import { type Merged, type MergeInput, mergeEvents } from "../../src/interaction/merge.js";
import { draftFromProto } from "../../src/wire/event.js";
import type { LedgerEntry } from "./ledger.js";

/** A row of the log as the auditor reads it. */
export type StoredRow = {
  readonly eventId: string;
  readonly mcpId: string;
  readonly interactionId: string;
  readonly producerId: string;
  /** 32 hex digits. */
  readonly digest: string;
  readonly occurredAtUs: number;
  /** When its transaction committed, on the clock of this machine; undefined when the server does not keep it. */
  readonly committedAtMs: number | undefined;
};

/** A row of merged state: what merging computes, named as it names it. */
export type StoredInteraction = { readonly mcpId: string; readonly interactionId: string } & Pick<
  Merged,
  | "state"
  | "startedAtUs"
  | "endedAtUs"
  | "lastEventAtUs"
  | "eventCount"
  | "missingStart"
  | "conflictingTerminal"
  | "requestType"
  | "durationMs"
  | "success"
  | "qualityScore"
  | "errorCode"
  | "adapterUsed"
>;

/**
 * Words of Jepsen. `ok`: acknowledged and stored once, with its content. `lost`: acknowledged and not there. `unexpected`: there, and never sent or
 * refused, or with other content. `duplicated`: there more than once, or counted more than once. `indeterminate`: never acknowledged; may be there or not.
 */
export type AuditCounts = { ok: number; lost: number; unexpected: number; duplicated: number; indeterminate: number };

export type Invariant = "I1" | "I2" | "I3" | "I4" | "I5" | "I6" | "I7" | "I8" | "I9" | "I10";

export type Violation = { readonly invariant: Invariant; readonly what: string };

export type Audit = {
  readonly counts: AuditCounts;
  /** How many things were compared for each invariant; absent means that it was not checked here. */
  readonly checked: Readonly<Partial<Record<Invariant, number>>>;
  readonly violations: readonly Violation[];
};

export const emptyAudit: Audit = {
  counts: { ok: 0, lost: 0, unexpected: 0, duplicated: 0, indeterminate: 0 },
  checked: {},
  violations: [],
};

/** Violations kept of one audit; the counts say how many there were. */
const violationsMax = 50;

/** What was sent, as the store should hold it. Accepting is pure, so the auditor repeats it. */
type Expected = { readonly digest: string; readonly occurredAtUs: number; readonly merge: MergeInput };

/**
 * Compares what clients know with what is stored: I1, I2, I3, I4 and I10 of one set of events.
 * Shape: `rows` holds every row whose id or interaction could belong to the ledger's page; `interactions` every merged row of its interactions.
 */
export function audit(page: readonly LedgerEntry[], rows: readonly StoredRow[], interactions: readonly StoredInteraction[]): Audit {
  const counts: AuditCounts = { ok: 0, lost: 0, unexpected: 0, duplicated: 0, indeterminate: 0 };
  const violations: Violation[] = [];
  const checked = { I1: 0, I2: rows.length, I3: 0, I4: 0, I10: 0 };
  const blame = (invariant: Invariant, what: string): void => {
    if (violations.length < violationsMax) violations.push({ invariant, what });
  };
  const rowsById = new Map<string, StoredRow[]>();
  for (const row of rows) rowsById.set(row.eventId, [...(rowsById.get(row.eventId) ?? []), row]);
  const stored = new Map<string, MergeInput[]>();
  /** Lost events by interaction: its merged row may still count them, which is not counting twice. */
  const lost = new Map<string, number>();
  for (const entry of page) {
    const key = `${entry.mcpId} ${entry.planned.init.interactionId}`;
    const lostBefore = counts.lost;
    const found = rowsById.get(entry.planned.eventId) ?? [];
    rowsById.delete(entry.planned.eventId);
    checked.I1 += 1;
    judgeEntry(entry, found, counts, blame);
    lost.set(key, (lost.get(key) ?? 0) + counts.lost - lostBefore);
    if (entry.refusals.length > 0) {
      checked.I10 += 1;
      if (new Set(entry.refusals).size > 1)
        blame("I10", `${entry.planned.eventId} was refused as ${[...new Set(entry.refusals)].join(" and ")}`);
    }
    const committedAtMs = found[0]?.committedAtMs;
    if (entry.ackedAtMs !== undefined && committedAtMs !== undefined) {
      checked.I3 += 1;
      // One millisecond: the resolution of the client's clock.
      if (committedAtMs > entry.ackedAtMs + 1)
        blame("I3", `${entry.planned.eventId} was acknowledged ${committedAtMs - entry.ackedAtMs} ms before its commit`);
    }
    if (found.length > 0 && entry.planned.intent === "valid") stored.set(key, [...(stored.get(key) ?? []), expectedOf(entry).merge]);
  }
  for (const [eventId, strangers] of rowsById) {
    counts.unexpected += strangers.length;
    blame("I2", `${eventId} of ${strangers[0]?.mcpId} is stored, and nobody sent it`);
  }
  checked.I4 = judgeInteractions(stored, lost, interactions, counts, blame);
  return { counts, checked, violations };
}

function judgeEntry(
  entry: LedgerEntry,
  found: readonly StoredRow[],
  counts: AuditCounts,
  blame: (invariant: Invariant, what: string) => void,
): void {
  const { eventId, intent } = entry.planned;
  const isAcked = entry.ackedAtMs !== undefined || (entry.isResumed && intent === "valid" && entry.refusals.length === 0);
  const [row] = found;
  if (found.length > 1) {
    counts.duplicated += found.length - 1;
    blame("I1", `${eventId} is stored ${found.length} times`);
    return;
  }
  if (row === undefined) {
    if (!isAcked) {
      if (entry.refusals.length === 0 && intent === "valid") counts.indeterminate += 1;
      else counts.ok += 1;
      return;
    }
    counts.lost += 1;
    blame("I1", `${eventId} was acknowledged${entry.ackedAtMs === undefined ? " by the resume point" : ""} and is not stored`);
    return;
  }
  const wrong = differenceOf(entry, row);
  if (wrong === undefined) {
    if (isAcked) counts.ok += 1;
    else counts.indeterminate += 1;
    return;
  }
  counts.unexpected += 1;
  blame(intent === "invalid" ? "I2" : "I1", `${eventId} is stored ${wrong}`);
}

function differenceOf(entry: LedgerEntry, row: StoredRow): string | undefined {
  if (entry.planned.intent === "invalid") return "although it breaks a rule";
  if (row.mcpId !== entry.mcpId) return `for ${row.mcpId} instead of ${entry.mcpId}`;
  if (row.interactionId !== entry.planned.init.interactionId) return `in interaction ${row.interactionId}`;
  if (row.producerId !== entry.producerId) return `from producer "${row.producerId}" instead of "${entry.producerId}"`;
  const expected = expectedOf(entry);
  if (row.digest !== expected.digest) return "with another content";
  return row.occurredAtUs === expected.occurredAtUs ? undefined : `at ${row.occurredAtUs} instead of ${expected.occurredAtUs}`;
}

/** The row and the part of the merged state that an event should lead to. Errors: throws for an event that breaks a rule. */
export function expectedOf(entry: LedgerEntry): Expected {
  const message = create(InteractionEventSchema, entry.planned.init);
  const bearer = {
    principal: { kind: "anyone" },
    mcpId: entry.mcpId,
    producerId: entry.producerId,
    epoch: 0,
    labels: {},
    source: "grpc",
  } as const;
  const deps = { pseudonym: (id: string) => id, maxClockSkewMs: Number.MAX_SAFE_INTEGER, dedupeHorizonMs: Number.MAX_SAFE_INTEGER };
  const judged = accept(deps, bearer, draftFromProto(message, toBinary(InteractionEventSchema, message).length), Date.now());
  if (judged.kind === "refused")
    throw new Error(`the plan made an event that no coordinator accepts: ${JSON.stringify(judged.verdict.violations)}`);
  const { eventId, kind, occurredAtUs, facts, digest } = judged.event;
  return { digest, occurredAtUs, merge: { eventId, kind, occurredAtUs, facts } };
}

function judgeInteractions(
  stored: ReadonlyMap<string, readonly MergeInput[]>,
  lost: ReadonlyMap<string, number>,
  interactions: readonly StoredInteraction[],
  counts: AuditCounts,
  blame: (invariant: Invariant, what: string) => void,
): number {
  const merged = new Map(interactions.map((row) => [`${row.mcpId} ${row.interactionId}`, row]));
  for (const [key, events] of stored) {
    const row = merged.get(key);
    if (row === undefined) {
      counts.lost += 1;
      blame("I4", `interaction ${key} has ${events.length} events and no merged row`);
      continue;
    }
    const expected = mergeEvents(events);
    counts.duplicated += Math.max(0, row.eventCount - expected.eventCount - (lost.get(key) ?? 0));
    const fields = Object.keys(row).filter((name) => name in expected) as (keyof StoredInteraction & keyof Merged)[];
    const wrong = fields.filter((name) => row[name] !== expected[name]);
    if (wrong.length === 0) continue;
    blame("I4", `interaction ${key}: ${wrong.map((name) => `${name} is ${String(row[name])}, not ${String(expected[name])}`).join("; ")}`);
  }
  return stored.size;
}

/** Both audits as one. */
export function addAudits(one: Audit, other: Audit): Audit {
  const counts = { ...one.counts };
  for (const word of Object.keys(counts) as (keyof AuditCounts)[]) counts[word] += other.counts[word];
  const checked: Partial<Record<Invariant, number>> = { ...one.checked };
  for (const [name, count] of Object.entries(other.checked) as [Invariant, number][]) checked[name] = (checked[name] ?? 0) + count;
  return { counts, checked, violations: [...one.violations, ...other.violations].slice(0, violationsMax * 4) };
}

/** An audit of one claim: `what` is what was found instead, undefined when it held. */
export function claim(invariant: Invariant, what: string | undefined, checkedCount = 1): Audit {
  return { ...emptyAudit, checked: { [invariant]: checkedCount }, violations: what === undefined ? [] : [{ invariant, what }] };
}
