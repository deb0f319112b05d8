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
 * change faster than that. Where the system does not tell it, as without a free file descriptor, it is left out.     Errors: none.
 */
export function createMeasure(clock: Pick<Clock, "monotonicMs">, figures: ProcessFigures = thisProcess): Measure {
  let rssBytes: number | undefined;
  let sampledMs = Number.NEGATIVE_INFINITY;
  const memory = (nowMs: number): { readonly memoryBytes?: number } => {
    if (nowMs - sampledMs >= limits.usageSampleMs) {
      rssBytes = told(figures.rss);
      sampledMs = nowMs;
    }
    return rssBytes === undefined ? {} : { memoryBytes: rssBytes };
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
      return { processingTimeMs, resourceUsage: { ...cpu, ...memory(nowMs) } };
    };
  };
}

/** What the system says; undefined when it refuses, for example because reading it takes a file descriptor and there is none. */
function told(figure: () => number): number | undefined {
  try {
    return figure();
  } catch {
    // Failure becomes the answer: whoever runs an interaction has not asked for figures.
    return undefined;
  }
}
