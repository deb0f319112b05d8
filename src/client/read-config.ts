import { readFileSync } from "node:fs";
import { parse } from "smol-toml";
import { isObject } from "./report-values.js";
import { type ReporterOptions, reporterDefaults } from "./reporter-options.js";

/** Keys of [interaction_logging], each with its option. Those in the first five lines are documented; the others are ours. */
const loggingKeys = {
  enable_interaction_logging: "enableReporting",
  coordinator_url: "coordinatorUrl",
  coordinator_api_key: "apiKey",
  max_retries: "maxRetries",
  retry_delay: "retryDelay",
  local_cache_path: "localCachePath",
  transport: "transport",
  grpc_target: "grpcTarget",
  tls_ca: "tlsCa",
  tls_cert: "tlsCert",
  tls_key: "tlsKey",
  tls_server_name: "tlsServerName",
  tls_min_version: "tlsMinVersion",
  redis_url: "redisUrl",
  database_url: "databaseUrl",
  requests_per_second: "requestsPerSecond",
} as const satisfies Readonly<Record<string, keyof ReporterOptions>>;

/** Keys of [mcp]. The name of an MCP is for people: the coordinator knows it by its id. */
const mcpKeys = { mcp_id: "mcpId", version: "instanceVersion" } as const satisfies Readonly<Record<string, keyof ReporterOptions>>;
const mcpIgnored: ReadonlySet<string> = new Set(["name"]);

/**
 * Options as mcp_config.toml has them, for `createReporter`; what is not in the file keeps its default, and reporting is off unless it is switched on there.
 * Never throws: a file that cannot be read switches reporting off. Keys that are not known, and what is wrong with the file, are named in `remarks`.
 * Source: the documented file; docs/reporter.md.
 */
export function readMcpConfig(path: string): ReporterOptions {
  const remarks: string[] = [];
  const file = readToml(path, remarks);
  const options: Record<string, unknown> = { mcpId: "", enableReporting: false };
  take(file.mcp, "mcp", mcpKeys, mcpIgnored, options, remarks);
  take(file.interaction_logging, "interaction_logging", loggingKeys, new Set(), options, remarks);
  for (const section of Object.keys(file)) {
    if (section !== "mcp" && section !== "interaction_logging") remarks.push(`${path}: [${section}] is not known`);
  }
  // The cast: values may still be of any type; createReporter judges them, as it does those of callers without types.
  return { ...options, remarks } as unknown as ReporterOptions;
}

/** Every key of the file with the option it stands for and its default, for docs/reporter.md. */
export const configKeys: readonly { readonly key: string; readonly option: keyof ReporterOptions; readonly fallback: unknown }[] = [
  ...Object.entries(mcpKeys).map(([key, option]) => ({ key: `mcp.${key}`, option, fallback: undefined })),
  ...Object.entries(loggingKeys).map(([key, option]) => ({
    key: `interaction_logging.${key}`,
    option,
    // In the file reporting is off unless it is switched on.
    fallback:
      option === "enableReporting"
        ? false
        : option in reporterDefaults
          ? reporterDefaults[option as keyof typeof reporterDefaults]
          : undefined,
  })),
];

function readToml(path: string, remarks: string[]): Readonly<Record<string, unknown>> {
  try {
    return parse(readFileSync(path, "utf8"));
  } catch (thrown) {
    // Translated: a file that cannot be used is a remark, and reporting is off.
    remarks.push(
      `${path} cannot be used, reporting is off: ${thrown instanceof Error ? thrown.message.split("\n", 1)[0] : String(thrown)}`,
    );
    return {};
  }
}

function take(
  section: unknown,
  name: string,
  keys: Readonly<Record<string, string>>,
  ignored: ReadonlySet<string>,
  options: Record<string, unknown>,
  remarks: string[],
): void {
  if (section === undefined) return;
  if (!isObject(section)) {
    remarks.push(`${name} must be a section`);
    return;
  }
  for (const [key, value] of Object.entries(section)) {
    const option = Object.hasOwn(keys, key) ? keys[key] : undefined;
    if (option !== undefined) options[option] = value;
    else if (!ignored.has(key)) remarks.push(`${name}.${key} is not known`);
  }
}
