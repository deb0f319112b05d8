import { CliFailure } from "./exit-code.js";

const pattern = /^(\d{1,9})(ms|s|m|h)$/;
const units: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 };

/** "90s" in a flag → 90000.     Units: ms. Errors: CliFailure `usage`, also for a duration of nothing. */
export function parseDuration(flag: string, text: string): number {
  const match = pattern.exec(text);
  const unit = units[match?.[2] ?? ""];
  if (match?.[1] === undefined || unit === undefined || Number(match[1]) === 0) {
    throw new CliFailure("usage", `${flag} must be a duration such as 500ms, 60s, 2m or 1h, not "${text}"`);
  }
  return Number(match[1]) * unit;
}

/** A duration for scripts, in seconds to the millisecond: more digits are noise of the clock. */
export const secondsOf = (ms: number): number => Math.round(ms) / 1_000;

/** A latency for scripts, in milliseconds to the microsecond. */
export const roundedMs = (ms: number): number => Math.round(ms * 1_000) / 1_000;
