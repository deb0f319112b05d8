import { setMaxListeners } from "node:events";
import { CoordinatorError } from "../platform/errors.js";

/** How far the process is from its end, for every call on every port. */
export type Lifetime = {
  /** Aborts when no new work is wanted: server streams end, unary calls still finish. */
  readonly draining: AbortSignal;
  /** Aborts when the grace period is over: whatever still runs is given up. */
  readonly stopping: AbortSignal;
  /** Idempotent. */
  readonly drain: () => void;
  /** Idempotent; drains too. */
  readonly stop: () => void;
};

/** The lifetime of one process, shared by its ports. */
export function createLifetime(): Lifetime {
  const draining = new AbortController();
  const stopping = new AbortController();
  setMaxListeners(0, draining.signal, stopping.signal); // one listener per call under way, which the ports bound
  const drain = () => draining.abort(drainingError());
  return {
    draining: draining.signal,
    stopping: stopping.signal,
    drain,
    stop: () => {
      drain();
      stopping.abort(drainingError());
    },
  };
}

/** What a call hears that the coordinator's end cuts short. */
export function drainingError(): CoordinatorError {
  return new CoordinatorError("unavailable", "the coordinator shuts down", { reason: "COORDINATOR_DRAINING", retryAfterMs: 1_000 });
}
