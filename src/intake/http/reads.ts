import { boundMcpId, scopeTo } from "../../auth/principal.js";
import { coordinatorVersion } from "../../config/version.js";
import type { Ingest } from "../../ingest/ingest.js";
import { checkText } from "../../interaction/check.js";
import { rangeOfWord } from "../../interaction/time-word.js";
import type { Clock } from "../../platform/clock.js";
import { CoordinatorError, type FieldFault } from "../../platform/errors.js";
import type { InteractionCounts, PerformanceMetrics, Store } from "../../store/store.js";
import type { TransportFigures } from "../transport.js";
import type { Answer, HttpCall, JsonObject } from "./call.js";
import { Recent } from "./recent.js";

/** What a health report says; `createHealthReporter` of rpc makes it. */
export type Health = {
  readonly status: "healthy" | "degraded";
  readonly checks: Readonly<
    Record<string, { readonly status: "healthy" | "unhealthy"; readonly latency_ms: number; readonly error?: "failed" | "timeout" }>
  >;
};

export type ReadDeps = {
  readonly store: Pick<Store, "countInteractions" | "readPerformance">;
  readonly queue: Pick<Ingest["queue"], "pendingEvents" | "isAvailable">;
  readonly checkHealth: () => Promise<Health>;
  readonly clock: Clock;
  readonly draining: AbortSignal;
  readonly figures: () => TransportFigures;
};

/** The routes that read. */
export type Reads = {
  readonly stats: (call: HttpCall) => Promise<Answer>;
  readonly performance: (call: HttpCall) => Promise<Answer>;
  readonly health: () => Promise<Answer>;
  readonly validate: (call: HttpCall) => Answer;
  readonly version: () => Answer;
};

/** Routes over the store and the process. Who is bound to one MCP sees that one. */
export function createReads(deps: ReadDeps): Reads {
  const counts = new Recent<InteractionCounts>(deps.clock);
  const metrics = new Recent<PerformanceMetrics>(deps.clock);
  return {
    stats: async (call) => {
      const mcpId = boundMcpId(call.principal);
      const read = await counts.read(mcpId ?? "*", () => deps.store.countInteractions(mcpId));
      return answerStats(deps, read.value, read.isHit);
    },
    performance: async (call) => {
      const asked = call.query.get("mcp_id") ?? "";
      const word = call.query.get("time_range") ?? "24h";
      const faults: FieldFault[] = [];
      checkText(asked, "mcp_id", (field, reason, description) => faults.push({ field, reason, description }));
      const range = rangeOfWord(word, deps.clock.nowMs());
      if (range.kind === "faults") faults.push(...range.faults);
      if (range.kind === "faults" || faults.length > 0) throw refuseFields(faults);
      const mcpId = scopeTo(call.principal, asked);
      const { startMs, endMs } = range.range;
      const read = await metrics.read(JSON.stringify([mcpId, word.replace(/^last_/, "")]), () =>
        deps.store.readPerformance(mcpId, startMs, endMs),
      );
      return answerPerformance(read.value, word, mcpId, deps.clock.nowMs(), read.isHit);
    },
    health: async () => {
      const health = await deps.checkHealth();
      const isRunning = deps.queue.isAvailable && !deps.draining.aborted;
      const status = health.status === "healthy" && isRunning ? "healthy" : "degraded";
      const top = { status, queue_size: deps.queue.pendingEvents, processor_running: isRunning };
      const data: JsonObject = { ...top, checks: health.checks, timestamp: secondsOf(deps.clock.nowMs()) };
      return { status: status === "healthy" ? 200 : 503, message: `the coordinator is ${status}`, data, top };
    },
    validate: ({ principal }) => {
      const isKey = principal.kind === "key";
      const expiresAtMs = isKey ? principal.expiresAtMs : undefined;
      const data = {
        valid: true,
        key_id: isKey ? principal.keyId : null,
        mcp_id: isKey ? principal.mcpId : "*",
        expires_at: expiresAtMs === undefined ? null : new Date(expiresAtMs).toISOString(),
      };
      return { status: 200, message: isKey ? "the key is valid" : "this coordinator asks for no keys", data, top: { valid: true } };
    },
    version: () => {
      const top = { api_version: "v2", coordinator_version: coordinatorVersion };
      const data = { ...top, api_versions: ["v2"], contract: "mcp.coordinator.v1" };
      return { status: 200, message: "this coordinator serves version 2 of the HTTP API", data, top };
    },
  };
}

function answerStats(deps: ReadDeps, counts: InteractionCounts, isCacheHit: boolean): Answer {
  const { received, resolved, refused } = deps.figures();
  const queueSize = deps.queue.pendingEvents;
  const stats = {
    requests_received: received,
    requests_processed: resolved,
    requests_failed: refused,
    queue_size: queueSize,
    total_interactions: counts.total,
    active_interactions: counts.active,
    completed_interactions: counts.completed,
    failed_interactions: counts.failed,
    average_processing_time: (counts.averageMs ?? 0) / 1_000,
  };
  const top = { stats, queue_size: queueSize };
  return {
    status: 200,
    message: "figures since the start, and of the store",
    data: { ...top, timestamp: secondsOf(deps.clock.nowMs()) },
    top,
    isCacheHit,
  };
}

function answerPerformance(
  metrics: PerformanceMetrics,
  word: string,
  mcpId: string | undefined,
  nowMs: number,
  isCacheHit: boolean,
): Answer {
  const seconds = (ms: number | undefined) => (ms ?? 0) / 1_000;
  const share = (part: number) => (metrics.total === 0 ? 0 : part / metrics.total);
  const top = {
    time_range: word,
    mcp_id: mcpId ?? null,
    total_interactions: metrics.total,
    success_rate: share(metrics.completed),
    error_rate: share(metrics.failed),
    avg_processing_time: seconds(metrics.avgMs),
    min_processing_time: seconds(metrics.minMs),
    max_processing_time: seconds(metrics.maxMs),
    p50_processing_time: seconds(metrics.p50Ms),
    p95_processing_time: seconds(metrics.p95Ms),
    p99_processing_time: seconds(metrics.p99Ms),
  };
  return {
    status: 200,
    message: "interactions that ended in the time range",
    data: { ...top, timestamp: secondsOf(nowMs) },
    top,
    isCacheHit,
  };
}

const secondsOf = (ms: number): number => ms / 1_000;

function refuseFields(faults: readonly FieldFault[]): CoordinatorError {
  const sentences = faults.map(({ field, description }) => `${field}: ${description}`);
  return new CoordinatorError("invalid", sentences.join("; "), { reason: "FIELD_VIOLATION", fields: faults });
}
