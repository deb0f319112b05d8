import type { ReportRow } from "./report.js";

/** Verdicts that a whole run must have met, by name of the contract; RESUMED is a success that was learnt from a resume point. */
export const wantedVerdicts = [
  ...["STORED", "DUPLICATE", "INVALID", "TOO_LARGE", "TOO_OLD", "CLOCK_SKEW", "CONFLICT", "PERMISSION_DENIED"],
  ...["FENCED", "OVERLOADED", "UNAVAILABLE", "NOT_FOUND", "RESUMED"],
] as const;

/** What a run should have met and did not. A suite that no longer reaches what it is for must not pass. */
export function missingOf(
  verdicts: ReadonlyMap<string, number>,
  rows: readonly Pick<ReportRow, "id" | "injected" | "skipped">[],
  faults: readonly { readonly id: string }[],
): readonly string[] {
  const hit = new Set(rows.filter((row) => row.injected > 0 || row.skipped !== undefined).map((row) => row.id));
  return [
    ...wantedVerdicts.filter((name) => (verdicts.get(name) ?? 0) === 0).map((name) => `no event met the verdict ${name}`),
    ...faults.filter(({ id }) => !hit.has(id)).map(({ id }) => `fault ${id} was not injected`),
  ];
}
