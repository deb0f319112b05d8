import type { FieldFault } from "../platform/errors.js";

/** A time range, start inclusive, end exclusive. Units: milliseconds since the Unix epoch. */
export type TimeRange = { readonly startMs: number; readonly endMs: number };

export type ParsedRange =
  | { readonly kind: "range"; readonly range: TimeRange }
  | { readonly kind: "faults"; readonly faults: readonly FieldFault[] };

const hourMs = 60 * 60 * 1_000;

/** The words of `time_range`; each also with the prefix "last_". Source: comments of GetPerformanceMetricsRequest. */
const spanMs: ReadonlyMap<string, number> = new Map([
  ["1h", hourMs],
  ["24h", 24 * hourMs],
  ["7d", 7 * 24 * hourMs],
  ["30d", 30 * 24 * hourMs],
]);

/** The range that a word names, back from now. */
export function rangeOfWord(word: string, nowMs: number): ParsedRange {
  const span = spanMs.get(word.replace(/^last_/, ""));
  if (span !== undefined) return { kind: "range", range: { startMs: nowMs - span, endMs: nowMs } };
  const words = [...spanMs.keys()].map((known) => `"${known}"`).join(", ");
  return {
    kind: "faults",
    faults: [{ field: "time_range", reason: "MALFORMED", description: `must be one of ${words}, also with the prefix "last_"` }],
  };
}
