import { setTimeout as sleepFor } from "node:timers/promises";

/** Waits; ends early, and without an error, when the signal aborts. */
export async function sleepUnlessAborted(ms: number, signal: AbortSignal): Promise<void> {
  try {
    await sleepFor(ms, undefined, { signal });
  } catch (thrown) {
    // Becomes state: the caller looks at the signal.
    if (!signal.aborted) throw thrown;
  }
}
