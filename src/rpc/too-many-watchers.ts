import { CoordinatorError } from "../platform/errors.js";
import { limits } from "../platform/limits.js";

/** Refuses one more server stream of a kind of which this process holds `max`. `what` is watched. */
export function tooManyWatchers(what: string, max: number): CoordinatorError {
  const description = `this coordinator holds ${max} watchers of ${what}, as many as it may`;
  return new CoordinatorError("busy", description, {
    reason: "WATCHERS_EXHAUSTED",
    retryAfterMs: limits.reconnectSpreadMs,
    quota: { subject: "coordinator", description },
  });
}
