import { type CollectionRules, type DroppableField, droppableFields } from "./collect.js";

/** The configuration of one MCP without its version. Intervals in seconds. */
export type McpConfig = {
  readonly heartbeatInterval: number;
  readonly dataReportInterval: number;
  readonly priority: number;
  readonly weight: number;
  readonly maxConcurrentRequests: number;
  readonly draining: boolean;
  readonly collection: CollectionRules;
};

/** The configuration of one MCP as it is pushed: `version` grows by one with each change. */
export type VersionedMcpConfig = { readonly version: number; readonly config: McpConfig };

/** What a producer says it did with a configuration. `version` is what it has in force now. */
export type McpConfigAnswer = {
  readonly nonce: string;
  readonly version: number;
  readonly status: "received" | "applied" | "rejected" | "expired";
  readonly detail: string;
};

/** New values; what is undefined stays as it is. Not yet judged. */
export type McpConfigChange = {
  readonly heartbeatInterval?: number | undefined;
  readonly dataReportInterval?: number | undefined;
  readonly priority?: number | undefined;
  readonly weight?: number | undefined;
  readonly maxConcurrentRequests?: number | undefined;
  readonly draining?: boolean | undefined;
  readonly collectionRules?: { readonly progressSampleRatio?: number | undefined; readonly dropFields: readonly string[] } | undefined;
};

type Report = (field: string, reason: string, description: string) => void;

/** Bounds of the numbers, both inclusive. The comments of UpdateMcpConfigRequest repeat them. */
const bounds = {
  heartbeat_interval: [1, 3_600],
  data_report_interval: [1, 3_600],
  priority: [0, 9],
  weight: [0, 10_000],
  max_concurrent_requests: [1, 100_000],
} as const;

/** Names every fault of a change. A change without a fault can be applied. */
export function checkConfigChange(change: McpConfigChange, report: Report): void {
  checkNumber("heartbeat_interval", change.heartbeatInterval, report);
  checkNumber("data_report_interval", change.dataReportInterval, report);
  checkNumber("priority", change.priority, report);
  checkNumber("weight", change.weight, report);
  checkNumber("max_concurrent_requests", change.maxConcurrentRequests, report);
  const rules = change.collectionRules;
  if (rules === undefined) return;
  const ratio = rules.progressSampleRatio;
  if (ratio !== undefined && !Number.isFinite(ratio)) {
    report("collection_rules.progress_sample_ratio", "NOT_FINITE", "must be a finite number");
  } else if (ratio !== undefined && (ratio < 0 || ratio > 1)) {
    report("collection_rules.progress_sample_ratio", "OUT_OF_RANGE", "must be 0 to 1");
  }
  const seen = new Set<string>();
  for (const [index, field] of rules.dropFields.entries()) {
    const place = `collection_rules.drop_fields[${index}]`;
    if (!isDroppable(field)) report(place, "MALFORMED", `must be one of ${droppableFields.join(", ")}`);
    else if (seen.has(field)) report(place, "DUPLICATE", `"${field}" is named twice`);
    seen.add(field);
    if (index >= droppableFields.length) return; // more than there are: some are wrong or named twice, and enough of them are reported
  }
}

/** The configuration with a change that checkConfigChange has passed. */
export function changeConfig(config: McpConfig, change: McpConfigChange): McpConfig {
  const rules = change.collectionRules;
  return {
    heartbeatInterval: change.heartbeatInterval ?? config.heartbeatInterval,
    dataReportInterval: change.dataReportInterval ?? config.dataReportInterval,
    priority: change.priority ?? config.priority,
    weight: change.weight ?? config.weight,
    maxConcurrentRequests: change.maxConcurrentRequests ?? config.maxConcurrentRequests,
    draining: change.draining ?? config.draining,
    collection:
      rules === undefined
        ? config.collection
        : { progressSampleRatio: rules.progressSampleRatio ?? 1, dropFields: rules.dropFields.filter(isDroppable).sort() },
  };
}

function isDroppable(field: string): field is DroppableField {
  return (droppableFields as readonly string[]).includes(field);
}

function checkNumber(field: keyof typeof bounds, value: number | undefined, report: Report): void {
  const [least, most] = bounds[field];
  if (value !== undefined && !(Number.isInteger(value) && value >= least && value <= most)) {
    report(field, "OUT_OF_RANGE", `must be ${least} to ${most}`);
  }
}
