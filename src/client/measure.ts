import type { Clock } from "../platform/clock.js";
import { limits } from "../platform/limits.js";
import type { ReportedUsage } from "./report.js";

/** What an interaction took: its own time, and what the whole process used meanwhile. */
export type Measured = { readonly processingTimeMs: number; readonly resourceUsage: ReportedUsage };

/** What a process says about itself, cut to what is used. */
export type ProcessFigures = {
  /** User and system time since it began.     Units: µs. */
  readonly cpuUsage: () => { readonly user: number; readonly system: number };
  /** Resident set.     Units: bytes. */
  readonly rss: () => number;
};

export const thisProcess: ProcessFigures = { cpuUsage: () => process.cpuUsage(), rss: () => process.memoryUsage.rss() };

/** Goes with every event that carries measures: CPU and memory are those of the process, whatever else it did, and not of the interaction alone. */
export const usageLabels = { resource_usage_scope: "process" } as const;

/** Starts measuring; the function that it gives says what was used since. */
export type Measure = () => () => Measured;

/**
 * Measures by the monotonic clock and the process's own figures. Resident memory is asked for at most once in `usageSampleMs`: it costs a system call, and does not
 * change faster than that.
 */
export function createMeasure(clock: Pick<Clock, "monotonicMs">, figures: ProcessFigures = thisProcess): Measure {
  let rssBytes = 0;
  let sampledMs = Number.NEGATIVE_INFINITY;
  const memoryBytes = (nowMs: number): number => {
    if (nowMs - sampledMs >= limits.usageSampleMs) {
      rssBytes = figures.rss();
      sampledMs = nowMs;
    }
    return rssBytes;
  };
  return () => {
    const startedMs = clock.monotonicMs();
    const before = figures.cpuUsage();
    return () => {
      const nowMs = clock.monotonicMs();
      const processingTimeMs = Math.max(0, nowMs - startedMs);
      const after = figures.cpuUsage();
      const cpuMs = (after.user - before.user + after.system - before.system) / 1_000;
      // Below the resolution of the processor's accounting a share would be noise.
      const cpu = processingTimeMs >= 1 ? { cpuPercent: Math.max(0, (cpuMs / processingTimeMs) * 100) } : {};
      return { processingTimeMs, resourceUsage: { ...cpu, memoryBytes: memoryBytes(nowMs) } };
    };
  };
}
