import { createConnection, type Endpoint } from "../client/connect.js";
import { type MergedEnd, readEnds, verifyEvents } from "../client/verify.js";
import { CliFailure } from "./exit-code.js";
import type { Played, PlayedEvent, PlayedInteraction } from "./replay-play.js";

/** What a comparison of a replay with the store found. `ok` counts events; `duplicated` counts events that an interaction has too many. */
export type Verification = {
  readonly ok: number;
  readonly lost: number;
  readonly duplicated: number;
  readonly differing: number;
  readonly interactions: number;
  /** The first few differences, for people. */
  readonly examples: readonly string[];
};

/** Events in one VerifyEvents call. With events of a replay some 100 KiB. */
const batchMaxEvents = 500;
/** Calls on the way at once: keeps the coordinator's readers busy without queueing behind them. */
const callsMax = 8;
const deadlineMs = 30_000;
const examplesMax = 10;
/** gRPC statuses of a coordinator that is not there, now. */
const unavailable: ReadonlySet<number> = new Set([4, 14]);

type Findings = { ok: number; lost: number; duplicated: number; differing: number; readonly examples: string[] };
type Expected = { readonly interaction: PlayedInteraction; eventCount: number };

/**
 * Compares every event that was played, and not refused, with what is stored under its id, and counts the events of each interaction.
 * Errors: CliFailure `unavailable` when the coordinator stops answering, `interrupted` when the signal aborts.
 */
export async function verifyPlayed(
  endpoint: Endpoint,
  played: Played,
  signal: AbortSignal,
  seen: (done: number, total: number) => void,
): Promise<Verification> {
  const connection = createConnection(endpoint);
  const findings: Findings = { ok: 0, lost: 0, duplicated: 0, differing: 0, examples: [] };
  const accepted = played.events.filter((event) => !played.rejectedIds.has(event.eventId));
  const interactions = [...countByInteraction(accepted).values()];
  const byMcp = groupByMcp(interactions);
  const batches = batchesByMcp(accepted);
  const total = batches.length + byMcp.size;
  let done = 0;
  const tick = () => seen(++done, total);
  try {
    await eachOf(batches, signal, async (batch) => {
      const mcpId = batch[0]?.interaction.mcpId ?? "";
      const encoded = batch.map((event) => event.encoded);
      noteEvents(findings, batch, await verifyEvents(connection, mcpId, encoded, deadlineMs));
      tick();
    });
    await eachOf([...byMcp], signal, async ([mcpId, expected]) => {
      const ends = await readEnds(connection, mcpId, new Set(expected.map(({ interaction }) => interaction.id)), deadlineMs);
      for (const one of expected) noteInteraction(findings, one, ends.get(one.interaction.id));
      tick();
    });
  } catch (thrown) {
    // Translates: what the shell should be told about a call that failed.
    const code = codeOf(thrown);
    const message = thrown instanceof Error ? thrown.message : String(thrown);
    throw new CliFailure(code !== undefined && unavailable.has(code) ? "unavailable" : "failed", `cannot verify: ${message}`, thrown);
  } finally {
    connection.close();
  }
  if (signal.aborted) throw new CliFailure("interrupted", "interrupted before everything was compared with the store");
  return { ...findings, interactions: interactions.length };
}

function noteEvents(findings: Findings, batch: readonly PlayedEvent[], stored: readonly ("equal" | "other" | "nothing")[]): void {
  batch.forEach((event, index) => {
    if (stored[index] === "equal") findings.ok++;
    else if (stored[index] === "other") note(findings, "differing", 1, `event ${event.eventId} is stored with other content`);
    else note(findings, "lost", 1, `event ${event.eventId} is not stored`);
  });
}

function noteInteraction(findings: Findings, expected: Expected, merged: MergedEnd | undefined): void {
  const { mcpId, id, endsWell } = expected.interaction;
  const count = merged?.eventCount ?? 0;
  const name = `interaction ${id} of ${mcpId}`;
  if (count > expected.eventCount) {
    note(findings, "duplicated", count - expected.eventCount, `${name} counts ${count} events instead of ${expected.eventCount}`);
  } else if (count < expected.eventCount) {
    note(findings, "differing", 1, `${name} counts ${count} events instead of ${expected.eventCount}`);
  } else if (merged?.end !== (endsWell ? "completed" : "failed")) {
    note(findings, "differing", 1, `${name} ends as ${merged?.end ?? "unknown"}`);
  }
}

function note(findings: Findings, kind: "lost" | "duplicated" | "differing", count: number, example: string): void {
  findings[kind] += count;
  if (findings.examples.length < examplesMax) findings.examples.push(example);
}

function countByInteraction(events: readonly PlayedEvent[]): Map<string, Expected> {
  const counted = new Map<string, Expected>();
  for (const { interaction } of events) {
    const expected = counted.get(interaction.id);
    if (expected === undefined) counted.set(interaction.id, { interaction, eventCount: 1 });
    else expected.eventCount++;
  }
  return counted;
}

function groupByMcp(interactions: readonly Expected[]): ReadonlyMap<string, readonly Expected[]> {
  const groups = new Map<string, Expected[]>();
  for (const expected of interactions) {
    const group = groups.get(expected.interaction.mcpId);
    if (group === undefined) groups.set(expected.interaction.mcpId, [expected]);
    else group.push(expected);
  }
  return groups;
}

function batchesByMcp(events: readonly PlayedEvent[]): PlayedEvent[][] {
  const open = new Map<string, PlayedEvent[]>();
  const batches: PlayedEvent[][] = [];
  for (const event of events) {
    let batch = open.get(event.interaction.mcpId);
    if (batch === undefined || batch.length === batchMaxEvents) {
      batch = [];
      open.set(event.interaction.mcpId, batch);
      batches.push(batch);
    }
    batch.push(event);
  }
  return batches;
}

/** Runs `task` over all items, `callsMax` at a time. The first failure ends it, and so does the signal. */
async function eachOf<T>(items: readonly T[], signal: AbortSignal, task: (item: T) => Promise<void>): Promise<void> {
  const rest = items.values();
  const worker = async () => {
    for (const item of rest) {
      if (signal.aborted) return;
      await task(item);
    }
  };
  await Promise.all(Array.from({ length: Math.min(callsMax, items.length) }, worker));
}

function codeOf(thrown: unknown): number | undefined {
  return thrown instanceof Error && "code" in thrown && typeof thrown.code === "number" ? thrown.code : undefined;
}
