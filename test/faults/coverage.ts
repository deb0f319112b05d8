import { readFileSync } from "node:fs";
import { cellsOfTable, decidedByNumbers, edgeOf, hitsByCell, unreachable } from "../simulation/coverage.js";
import type { ReportRow } from "./report.js";

/** Verdicts that a whole run must have met, by name of the contract; FENCED is learnt from the notice: a client of ours keeps such
 * events and settles none of them.
 */
export const wantedVerdicts = [
  ...["STORED", "DUPLICATE", "INVALID", "TOO_LARGE", "TOO_OLD", "CLOCK_SKEW", "CONFLICT", "PERMISSION_DENIED"],
  ...["FENCED", "OVERLOADED", "UNAVAILABLE", "NOT_FOUND"],
] as const;

/**
 * What a run should have met and did not. A suite that no longer reaches what it is for must not pass. `seen` counts by name; what else must be reached,
 * such as edges of a state table that a coordinator counts, is asked for by adding its names to `wanted`.
 */
export function missingOf(
  seen: ReadonlyMap<string, number>,
  rows: readonly Pick<ReportRow, "id" | "injected" | "skipped">[],
  faults: readonly { readonly id: string }[],
  wanted: readonly string[] = wantedVerdicts,
): readonly string[] {
  const hit = new Set(rows.filter((row) => row.injected > 0 || row.skipped !== undefined).map((row) => row.id));
  return [
    ...wanted.filter((name) => (seen.get(name) ?? 0) === 0).map((name) => `${name} was never met`),
    ...faults.filter(({ id }) => !hit.has(id)).map(({ id }) => `fault ${id} was not injected`),
  ];
}

/** A call that is cancelled or cut aborts its signal before it says that it is gone, and the session hears of it as a fault. */
const goneIsFault = "the signal of the call aborts first, which is a fault; what follows finds the session closed";

/** Cells and steps of the session table that no peer and no failure brings about on purpose over a real wire, with the reason. The simulation reaches them. */
export const beyondWire: Readonly<Record<string, string>> = {
  "greeting × blocked": "before Hello a notice is written at most, and a call keeps more than one frame",
  "greeting × unblocked": "as greeting × blocked",
  "greeting × room": "nobody waits for room before the transport was paused, which Hello does",
  "opening × unblocked": "nothing is written before the Welcome",
  "closed × unblocked": "a call that has ended says no more that it takes frames",
  "greeting × gone": goneIsFault,
  "opening × gone": goneIsFault,
  "live × gone": goneIsFault,
  "draining × gone": goneIsFault,
  "flushing × gone": goneIsFault,
};

/** Cells and steps of the session table that a whole run must take in some coordinator. */
export function wantedSteps(): readonly string[] {
  return [...cellsOfTable().filter((cell) => !(cell in unreachable)), ...decidedByNumbers].filter((name) => !(name in beyondWire));
}

/** How many lives of coordinators took each cell and each step, out of the file that their probes write. */
export function readSteps(file: string): ReadonlyMap<string, number> {
  const edges = new Map<string, number>();
  for (const line of readFileSync(file, "utf8").split("\n")) {
    if (line === "") continue;
    const [before, event, next, effects] = JSON.parse(line) as [string, string, string, readonly string[]]; // what the probe writes
    const edge = edgeOf(before, event, next, effects);
    edges.set(edge, (edges.get(edge) ?? 0) + 1);
  }
  return new Map([...edges, ...hitsByCell(edges)]);
}
