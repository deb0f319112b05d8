import type { ReportRow } from "./report.js";

/** Verdicts that a whole run must have met, by name of the contract; RESUMED is a success that was learnt from a resume
 * point, FENCED is learnt from the notice: a client of ours keeps such events and settles none of them.
 */
export const wantedVerdicts = [
  ...["STORED", "DUPLICATE", "INVALID", "TOO_LARGE", "TOO_OLD", "CLOCK_SKEW", "CONFLICT", "PERMISSION_DENIED"],
  ...["FENCED", "OVERLOADED", "UNAVAILABLE", "NOT_FOUND", "RESUMED"],
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
