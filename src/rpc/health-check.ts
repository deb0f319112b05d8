import type { Clock } from "../platform/clock.js";
import { limits } from "../platform/limits.js";
import type { Logger } from "../platform/log.js";

/** Resolves when a part of the system works; rejects, or hangs, when it does not. */
export type HealthCheck = () => Promise<void>;

/** The body of GET /health. */
export type HealthReport = {
  readonly status: "healthy" | "degraded";
  readonly checks: Readonly<Record<string, CheckReport>>;
  /** ISO 8601, UTC. */
  readonly timestamp: string;
};

export type CheckReport = {
  readonly status: "healthy" | "unhealthy";
  readonly latency_ms: number;
  /** Absent when healthy. A word for the kind of failure; the log has the cause. */
  readonly error?: "failed" | "timeout";
};

/**
 * A report of all checks, each bounded by `limits.healthCheckMaxMs`. A check that hangs is not started again before it has ended, so that asking
 * often cannot pile up work on what already suffers.
 */
export function createHealthReporter(
  deps: { readonly clock: Clock; readonly log: Logger },
  checks: Readonly<Record<string, HealthCheck>>,
): () => Promise<HealthReport> {
  const underWay = new Map<string, Promise<boolean>>();
  const run = (name: string, check: HealthCheck): Promise<boolean> => {
    const running = underWay.get(name);
    if (running !== undefined) return running;
    // Loop edge of the probe: a failure becomes the state that it reports.
    const started = Promise.resolve()
      .then(check)
      .then(
        () => true,
        (thrown: unknown) => {
          deps.log.warn({ check: name, err: thrown }, "a health check failed");
          return false;
        },
      );
    const cleared = started.finally(() => underWay.delete(name));
    underWay.set(name, cleared);
    return cleared;
  };
  return async () => {
    const entries = Object.entries(checks).map(async ([name, check]) => [name, await judge(deps.clock, run(name, check))] as const);
    const reports = await Promise.all(entries);
    const isHealthy = reports.every(([, report]) => report.status === "healthy");
    return {
      status: isHealthy ? "healthy" : "degraded",
      checks: Object.fromEntries(reports),
      timestamp: new Date(deps.clock.nowMs()).toISOString(),
    };
  };
}

async function judge(clock: Clock, check: Promise<boolean>): Promise<CheckReport> {
  const startedAtMs = clock.monotonicMs();
  const outcome = await new Promise<"healthy" | "failed" | "timeout">((resolve) => {
    const cancel = clock.after(limits.healthCheckMaxMs, () => resolve("timeout"));
    void check.then((isHealthy) => {
      cancel();
      resolve(isHealthy ? "healthy" : "failed");
    });
  });
  const latency_ms = Math.round((clock.monotonicMs() - startedAtMs) * 1_000) / 1_000;
  return outcome === "healthy" ? { status: "healthy", latency_ms } : { status: "unhealthy", latency_ms, error: outcome };
}
