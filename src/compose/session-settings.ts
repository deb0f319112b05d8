import type { Config } from "../config/schema.js";
import { limits } from "../platform/limits.js";
import type { SessionSettings } from "../wire/session-terms.js";

export const dayMs = 86_400_000;

/** What sessions are told of the configuration. `[session]` may change while the process runs; of the other groups only `routing.weight_policy` and `auth.keys` may. */
export function sessionSettingsOf(config: Config): Omit<SessionSettings, "version"> {
  return {
    maxBatchEvents: config.session.maxBatchEvents,
    maxEventBytes: limits.eventMaxBytes,
    heartbeatIntervalMs: config.session.heartbeatIntervalSeconds * 1000,
    dedupeHorizonMs: config.store.dedupeHorizonDays * dayMs,
    maxClockSkewMs: config.ingest.maxClockSkewSeconds * 1000,
    maxSessionAgeMs: config.session.maxAgeSeconds * 1000,
  };
}
