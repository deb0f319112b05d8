import { z } from "zod";

const time = z.union([z.string(), z.number()]).meta({
  description:
    'ISO 8601 with its zone ("2026-01-31T12:00:00.123Z"), or seconds since 1970, whole or with a fraction. Milliseconds are refused. Absent: the time of receipt.',
});
const free = z.record(z.string(), z.unknown());

const about = {
  interaction_id: z.string().min(1).max(256),
  mcp_id: z.string().max(256).optional().meta({ description: "Absent: the MCP that the key is bound to." }),
  timestamp: time.optional(),
  event_id: z
    .string()
    .optional()
    .meta({ description: "UUID version 7. Absent: derived from time and content, so that sending the same again is a duplicate." }),
  session_id: z.string().optional(),
};

const usage = z.looseObject({
  cpu_usage: z.number().optional(),
  memory_usage: z.number().optional().meta({ description: "MiB" }),
  gpu_usage: z.number().optional(),
});

const requestData = z.looseObject({
  user_id: z.union([z.string(), z.number()]).nullish(),
  request_type: z.string().nullish(),
  input_size: z.number().nullish(),
  parameters: free.nullish(),
});
const resultData = z.looseObject({
  success: z.boolean().nullish(),
  output_size: z.number().nullish(),
  processing_time: z.union([z.number(), z.string()]).nullish().meta({ description: "Seconds." }),
  quality_score: z.number().nullish(),
  confidence: z.number().nullish(),
  adapter_used: z.string().nullish(),
  resource_usage: usage.nullish(),
});
const errorData = z.looseObject({
  error_type: z.string().nullish(),
  error_message: z.string().nullish(),
  error_code: z.union([z.string(), z.number()]).nullish(),
});

const spellings = (word: string) => z.enum([`interaction_${word}`, `report_interaction_${word}`, word]);

/** The documented bodies, for readers of the OpenAPI document. What is accepted is decided by wire/report-body.ts, which is more patient; docs/http.md says how. */
const report = z.union([
  z.looseObject({ action: spellings("start"), ...about, request_data: requestData.nullish() }),
  z.looseObject({ action: spellings("progress"), ...about, progress_data: free.nullish() }),
  z.looseObject({ action: spellings("complete"), ...about, result_data: resultData.nullish() }),
  z.looseObject({ action: spellings("error"), ...about, error_data: errorData.nullish() }),
  z
    .looseObject({
      action: z.string(),
      api_key: z.string().optional(),
      data: z.looseObject({ ...about, request_info: requestData.optional(), ...resultData.shape }),
    })
    .meta({ description: "The flat bodies of the registration document." }),
  z
    .looseObject({
      ...about,
      request_data: requestData,
      processing_data: free.optional(),
      result_data: resultData,
      metadata: free.optional(),
    })
    .meta({ description: "A whole interaction; it is its start and its end." }),
  z.looseObject({ event: free }).meta({ description: "mcp.coordinator.v1.InteractionEvent in the JSON mapping of Protocol Buffers." }),
]);

const events = z.looseObject({ events: z.array(free).min(1) }).meta({ description: "An array of events of the contract." });

export const reportBody = z.union([report, z.array(report).min(1), events]);

export const performanceQuery = z.object({
  time_range: z
    .enum(["1h", "24h", "7d", "30d", "last_1h", "last_24h", "last_7d", "last_30d"])
    .optional()
    .meta({ description: "Back from now; 24h when absent." }),
  mcp_id: z.string().max(256).optional().meta({ description: "Absent: the MCP of the key, or all." }),
});
