import { readFileSync } from "node:fs";
import { EventStatus } from "../../gen/mcp/coordinator/v1/events_pb.js";

/** Cells of the session table that no transport can reach, each with the reason. Everything else must be reached. */
export const unreachable: Readonly<Record<string, string>> = {
  "greeting × opened": "the store is asked only after Hello",
  "greeting × settled": "nothing was accepted yet",
  "opening × hello": "the transport is paused",
  "opening × events": "the transport is paused",
  "opening × other": "the transport is paused",
  "opening × half_close": "the transport is paused, and the end of input waits behind it",
  "opening × settled": "Hello is the first frame, so nothing was accepted yet",
  "opening × blocked": "nothing is written before the Welcome",
  "greeting × refreshed": "the frame that renews a key ends the greeting",
  "opening × refreshed": "the transport is paused",
  "flushing × refreshed": "the transport is paused",
  "closed × refreshed": "frames after the end are dropped before they get here",
  "live × opened": "the store answers once",
  "draining × opened": "the store answers once",
  "flushing × opened": "the store answers once",
  "flushing × hello": "the transport is paused",
  "flushing × events": "the transport is paused",
  "flushing × other": "the transport is paused",
  "flushing × half_close": "input ends once, and a flush for another reason pauses the transport",
  "closed × hello": "frames after the end are dropped before they get here",
  "closed × events": "frames after the end are dropped before they get here",
  "closed × other": "frames after the end are dropped before they get here",
  "closed × opened": "an answer that comes too late is dropped before it gets here",
};

/** Steps that the numbers decide and not the table: each is one line of SPEC.md, hub, "What the numbers decide". */
export const decidedByNumbers: readonly string[] = [
  "greeting × tick → closed: fail",
  "live × events → live: pause, flow_control",
  "live × events → live: pause",
  "live × settled → live: resume, flow_control",
  "live × settled → live: resume",
  "live × tick → closed: fail",
  "live × drain → flushing: pause",
  "live × drain → closed: finish",
  "live × drain → flushing: drain_notice, pause",
  "live × drain → closed: drain_notice, finish",
  "live × half_close → closed: finish",
  "draining × half_close → closed: finish",
  "draining × tick → closed: finish",
  "flushing × settled → flushing",
  "flushing × settled → closed: finish",
  "flushing × tick → closed: finish",
  "closed × tick → closed: reset, release",
];

/** Statuses that an event or a unary report may get. NOT_FOUND belongs to VerifyEvents alone. */
export const statuses: readonly EventStatus[] = [
  EventStatus.STORED,
  EventStatus.DUPLICATE,
  EventStatus.INVALID,
  EventStatus.TOO_LARGE,
  EventStatus.TOO_OLD,
  EventStatus.CLOCK_SKEW,
  EventStatus.CONFLICT,
  EventStatus.PERMISSION_DENIED,
  EventStatus.FENCED,
  EventStatus.OVERLOADED,
  EventStatus.UNAVAILABLE,
];

/** Cells of the table of hub/SPEC.md, as `phase × event`. */
export function cellsOfTable(): readonly string[] {
  const text = readFileSync(new URL("../../src/hub/SPEC.md", import.meta.url), "utf8");
  const rows = text.split("\n").map((line) => line.split("|").map((cell) => cell.trim()));
  const head = rows.findIndex(([, first]) => first === "event");
  const phases = rows[head]?.slice(2, -1) ?? [];
  const events: string[] = [];
  for (const row of rows.slice(head + 2)) {
    if (row.length < 3) break;
    events.push(row[1] ?? "");
  }
  return phases.flatMap((phase) => events.map((event) => `${phase} × ${event}`));
}

/** Name of a step: the cell, and what it came to. */
export const edgeOf = (before: string, event: string, next: string, effects: readonly string[]): string =>
  `${before} × ${event} → ${next}${effects.length === 0 ? "" : `: ${effects.join(", ")}`}`;

/** Adds the counts of one run to those of all. */
export function addCounts<K>(total: Map<K, number>, counts: ReadonlyMap<K, number>): void {
  for (const [key, count] of counts) total.set(key, (total.get(key) ?? 0) + count);
}

/** Hits of each cell, `phase × event`, whatever the step came to. */
export function hitsByCell(edges: ReadonlyMap<string, number>): Map<string, number> {
  const cells = new Map<string, number>();
  for (const [edge, count] of edges) addCounts(cells, new Map([[edge.split(" → ")[0] ?? edge, count]]));
  return cells;
}
