import { type Logger, pino } from "pino";
import { limits } from "./limits.js";

export type { Logger } from "pino";

/**
 * Structured log on stderr (`fd`), one JSON object a line; stdout stays free for data. Whoever reads it may stand still: lines wait in memory up to `limits.logBufferMaxBytes`, later
 * ones are dropped, and how many is logged once the others have left.
 */
export function createLog(level: string, base: Readonly<Record<string, string>>, fd = 2): Logger {
  const destination = pino.destination({ dest: fd, sync: false, maxLength: limits.logBufferMaxBytes });
  const log = pino({ level, base, timestamp: pino.stdTimeFunctions.isoTime }, destination);
  let lostCount = 0;
  destination.on("drop", () => {
    lostCount += 1;
  });
  destination.on("drain", () => {
    if (lostCount === 0) return;
    const lines = lostCount;
    lostCount = 0;
    log.warn({ lines }, "lines of the log were dropped: they were not read in time");
  });
  return log;
}
