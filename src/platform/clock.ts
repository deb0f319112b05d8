import { limits } from "./limits.js";

/** Cancels what was scheduled; harmless when it has run already. */
export type Cancel = () => void;

/** Time as a dependency. Units: milliseconds. */
export type Clock = {
  /** Wall time since the Unix epoch; may jump. For timestamps only. */
  readonly nowMs: () => number;
  /** Never goes back; its zero means nothing. For durations and timeouts. */
  readonly monotonicMs: () => number;
  /** Runs `task` once after `delayMs`. Does not keep the process alive. Bound: `limits.timerMaxMs`; longer delays end then. */
  readonly after: (delayMs: number, task: () => void) => Cancel;
};

/** The clock of the machine. */
export const systemClock: Clock = {
  nowMs: () => Date.now(),
  monotonicMs: () => performance.now(),
  after: (delayMs, task) => {
    // A longer one would run at once.
    const timer = setTimeout(task, Math.min(delayMs, limits.timerMaxMs));
    timer.unref();
    return () => clearTimeout(timer);
  },
};
