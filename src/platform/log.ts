import { type Logger, pino } from "pino";

export type { Logger } from "pino";

/** Structured log on stderr, one JSON object a line; stdout stays free for data. */
export function createLog(level: string, base: Readonly<Record<string, string>>): Logger {
  return pino({ level, base, timestamp: pino.stdTimeFunctions.isoTime }, pino.destination({ dest: 2, sync: false }));
}
