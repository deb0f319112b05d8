import { z } from "zod";

/** Every fault of one field. */
const fieldFault = z.strictObject({
  field: z
    .string()
    .meta({ description: "Path in the report as it was sent, for example `data.result_data.quality_score`; empty: the report itself." }),
  reason: z.string().meta({
    description: "REQUIRED, TOO_LONG, OUT_OF_RANGE, MALFORMED, UNSUPPORTED_CHARACTER, TOO_MANY, TOO_DEEP, NOT_FINITE, UNREPRESENTABLE.",
  }),
  description: z.string(),
});

/** The envelope around `data`, with the documented members of an answer at its top. */
function envelope<D extends z.ZodType, T extends z.ZodRawShape>(isSuccess: boolean, data: D, top: T) {
  return z.strictObject({
    success: z.literal(isSuccess),
    data,
    message: z.string().meta({ description: "One sentence for people." }),
    timestamp: z.iso.datetime().meta({ description: "When it was answered, UTC." }),
    request_id: z.string().meta({ description: "The caller's `x-request-id`, or one that was made." }),
    performance: z.strictObject({
      duration_ms: z.number().min(0),
      cache_hit: z.boolean().meta({ description: "Whether the figures were read a moment ago for somebody else." }),
    }),
    ...top,
  });
}

const ok = <S extends z.ZodRawShape>(shape: S, topNames: readonly (keyof S & string)[]) => {
  const top: z.ZodRawShape = Object.fromEntries(topNames.flatMap((name) => (shape[name] === undefined ? [] : [[name, shape[name]]])));
  return envelope(true, z.strictObject(shape), top);
};

const errorCore = {
  reason: z.string().meta({ description: "A reason of docs/errors.md, or the name of the verdict." }),
  retryable: z.boolean().meta({ description: "Whether the same bytes may succeed later." }),
  retry_after_ms: z.number().min(0).optional(),
  fields: z.array(fieldFault),
};

/** Every refusal that is not about a single report. */
export const errorAnswer = envelope(false, z.strictObject({ error: z.strictObject({ code: z.string(), ...errorCore }) }), {
  detail: z.string().meta({ description: "The same sentence as `message`." }),
});

const verdictWord = z.enum([
  ...(["stored", "duplicate", "not_collected"] as const),
  ...([
    "invalid",
    "too_large",
    "too_old",
    "clock_skew",
    "conflict",
    "permission_denied",
    "fenced",
    "overloaded",
    "unavailable",
    "not_found",
  ] as const),
]);

const result = {
  status: z
    .enum(["accepted", "refused"])
    .meta({ description: "`accepted`: committed to the store, now or before, or left out by a rule of the MCP." }),
  verdict: verdictWord,
  event_id: z.string().meta({ description: "Id of the event; the derived one where the report had none." }),
  interaction_id: z.string(),
  stored_at: z.iso.datetime().optional(),
  error: z.strictObject({ ...errorCore, message: z.string() }).optional(),
};
const queuePosition = z
  .int()
  .min(0)
  .meta({ description: "Events that wait for the store now. The event of an accepted report is no longer among them." });
const oneTop = { status: result.status, interaction_id: result.interaction_id, queue_position: queuePosition };
const oneData = z.strictObject({ ...result, queue_position: queuePosition, results: z.array(z.strictObject(result)).optional() });
const arrayTop = { status: z.enum(["accepted", "partial", "refused"]), queue_position: queuePosition };
const arrayData = z.strictObject({
  ...arrayTop,
  accepted: z.int().min(0),
  refused: z.int().min(0),
  results: z.array(z.strictObject({ index: z.int().min(0).meta({ description: "Place in the array." }), ...result })),
});

export const reportAccepted = z.union([envelope(true, oneData, oneTop), envelope(true, arrayData, arrayTop)]);
export const reportsPartial = envelope(false, arrayData, arrayTop);
/** One report, or the request, was refused; or no report of an array had room. */
export const reportRefused = z.union([
  envelope(false, oneData, { ...oneTop, detail: z.string() }),
  envelope(false, arrayData, { ...arrayTop, detail: z.string() }),
  errorAnswer,
]);

const seconds = z.number().meta({ description: "Seconds since 1970, as the documents have it." });

const statsShape = {
  stats: z.strictObject({
    requests_received: z
      .int()
      .meta({ description: "Reports that came over HTTP since this coordinator started; each of an array counts." }),
    requests_processed: z.int().meta({ description: "Of those: stored, stored before, or left out by a rule." }),
    requests_failed: z.int().meta({ description: "Of those: refused. Each counts once." }),
    queue_size: z.int(),
    total_interactions: z.int().meta({ description: "In the store: of the MCP of the key, or of all." }),
    active_interactions: z.int(),
    completed_interactions: z.int(),
    failed_interactions: z.int(),
    average_processing_time: z.number().meta({ description: "Seconds; 0 without any." }),
  }),
  queue_size: z.int().min(0).meta({ description: "Events that wait for the store, of all transports." }),
  timestamp: seconds,
};
export const statsAnswer = ok(statsShape, ["stats", "queue_size"]);

const healthShape = {
  status: z.enum(["healthy", "degraded"]),
  queue_size: z.int().min(0),
  processor_running: z.boolean().meta({ description: "Whether reports are taken and stored." }),
  checks: z.record(
    z.string(),
    z.strictObject({ status: z.enum(["healthy", "unhealthy"]), latency_ms: z.number(), error: z.enum(["failed", "timeout"]).optional() }),
  ),
  timestamp: seconds,
};
const healthTop = { status: healthShape.status, queue_size: healthShape.queue_size, processor_running: healthShape.processor_running };
export const healthyAnswer = ok(healthShape, ["status", "queue_size", "processor_running"]);
export const degradedAnswer = envelope(false, z.strictObject(healthShape), healthTop);

const share = z.number().min(0).max(1);
const performanceShape = {
  time_range: z.string(),
  mcp_id: z.string().nullable().meta({ description: "The MCP that the figures are of; null: of all." }),
  total_interactions: z.int().min(0).meta({ description: "Interactions that ended in the time range." }),
  success_rate: share,
  error_rate: share,
  avg_processing_time: z.number().meta({ description: "Seconds; 0 when no interaction told its time." }),
  min_processing_time: z.number(),
  max_processing_time: z.number(),
  p50_processing_time: z.number(),
  p95_processing_time: z.number(),
  p99_processing_time: z.number(),
  timestamp: seconds,
};
export const performanceAnswer = ok(
  performanceShape,
  Object.keys(performanceShape).filter((name): name is keyof typeof performanceShape => name !== "timestamp"),
);

export const validateAnswer = ok(
  {
    valid: z.literal(true),
    key_id: z.string().nullable().meta({ description: "Public name of the key; null when this coordinator asks for none." }),
    mcp_id: z.string().meta({ description: 'The MCP that the key may act for, or "*" for any.' }),
    expires_at: z.iso.datetime().nullable(),
  },
  ["valid"],
);

export const versionAnswer = ok(
  {
    api_version: z.literal("v2"),
    api_versions: z.array(z.literal("v2")),
    coordinator_version: z.string(),
    contract: z.literal("mcp.coordinator.v1").meta({ description: "Package of the gRPC contract." }),
  },
  ["api_version", "coordinator_version"],
);
