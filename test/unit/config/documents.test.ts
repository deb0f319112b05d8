import { describe, expect, test } from "vitest";
import { type LoadedConfig, loadConfig } from "../../../src/config/load.js";
import { describeRemark } from "../../../src/config/place.js";
import { sha256Hex } from "../../../src/config/samples.js";

/** The sample of the interaction management document, word for word but for the two `expires_at = null`, which TOML does not have. */
const sampleFile = `# coordinator_extensions.toml
[extensions]
interaction_logging = true

[interaction_logging]
database_path = "./data/interactions.db"
max_records = 1000000
cleanup_interval = 3600
api_key_cache_ttl = 300

[security]
master_secret = "your-very-secure-master-secret-key"

[api]
host = "0.0.0.0"
port = 8080
workers = 4

[logging]
level = "INFO"
format = "%(asctime)s - %(name)s - %(levelname)s - %(message)s"

[static_api_keys]
"sk-mcp-ocr-workflow-001" = { mcp_id = "ocr_workflow_mcp_001", disabled = false }
"sk-mcp-data-analysis-001" = { mcp_id = "data_analysis_workflow_001", disabled = false }
`;

const sampleWithNull = sampleFile.replaceAll(", disabled", ", expires_at = null, disabled");

/** The Python sample of the same document, written as TOML. */
const pythonSample = `master_secret = "a long enough secret for 7 MCPs, typed"
data_directory = "/var/lib/mcp"
max_interaction_records = 250000
cleanup_interval = 1800
api_key_cache_ttl = 300

[extensions]
interaction_logging = true

[static_api_keys]
"sk-mcp-prod-4f1c9a7e2b" = { mcp_id = "ocr_workflow_mcp_001", created_at = 1640995200, expires_at = 1893456000, disabled = false }
`;

function load(fileText: string, flags: Record<string, string | boolean> = {}): LoadedConfig {
  return loadConfig({ readSecretFile: () => undefined, defaultCoordinatorId: "c" }, { fileText, filePath: "c.toml", env: {}, flags });
}

const tryOut = { "--allow-sample-secrets": true, "--host": "127.0.0.1" };

describe("the configuration of the specification", () => {
  test("the sample file loads onto our settings when sample secrets are allowed", () => {
    const result = load(sampleFile, tryOut);
    if (result.kind === "faulty") throw new Error(result.faults.map(describeRemark).join("\n"));
    const { config, warnings } = result;
    expect(config.store).toMatchObject({ dataDir: "./data", maxRecords: 1_000_000, maintenanceIntervalSeconds: 3_600 });
    expect(config.server).toMatchObject({ webPort: 8080 });
    expect(config.logging.level).toBe("info");
    expect(config.security.pseudonymKey).toMatch(/^[0-9a-f]{64}$/);
    expect(config.auth.keys.map(({ mcpId }) => mcpId)).toEqual(["ocr_workflow_mcp_001", "data_analysis_workflow_001"]);
    expect(config.auth.keys[0]?.sha256).toBe(sha256Hex("sk-mcp-ocr-workflow-001"));
    expect(warnings.map(describeRemark)).toEqual([
      "c.toml:6 interaction_logging.database_path: the embedded store is a directory: the one that this file is in is used",
      "c.toml:9 interaction_logging.api_key_cache_ttl: has no effect: no key is cached: expiry counts at once, and a change of the keys when the file is read again",
      "c.toml:17 api.workers: has no effect: one process serves all its connections; for more, start more coordinators on one database",
      "c.toml:21 logging.format: has no effect: a log line is one JSON object",
    ]);
  });

  test("without that permission each published secret is refused at its line, and sample keys do not open the network", () => {
    const result = load(sampleFile);
    const lines =
      result.kind === "faulty" ? result.faults.map((fault) => (fault.place.kind === "file" ? fault.place.line : undefined)) : [];
    expect(lines).toEqual([12, 24, 25, 15]);
    expect(JSON.stringify(result)).not.toMatch(/sk-mcp-ocr|your-very/);
    const open = load(sampleFile, { "--allow-sample-secrets": true });
    expect(open.kind === "faulty" ? open.faults.map(describeRemark) : []).toEqual([
      expect.stringMatching(/^c\.toml:15 api\.host: .*only sample keys/),
    ]);
  });

  test("its two `expires_at = null` are refused with the way out, and the keys are not shown", () => {
    const result = load(sampleWithNull, tryOut);
    expect(result.kind === "faulty" ? result.faults.map(describeRemark) : []).toEqual([
      "c.toml:24 static_api_keys.(key).expires_at: TOML has no null; leave the key out to mean none",
      "c.toml:25 static_api_keys.(key).expires_at: TOML has no null; leave the key out to mean none",
    ]);
  });

  test("the Python sample's names stand for the same settings", () => {
    const result = load(pythonSample);
    if (result.kind === "faulty") throw new Error(result.faults.map(describeRemark).join("\n"));
    expect(result.config.store).toMatchObject({ dataDir: "/var/lib/mcp", maxRecords: 250_000, maintenanceIntervalSeconds: 1_800 });
    expect(result.config.auth.keys).toEqual([
      {
        id: `key-${sha256Hex("sk-mcp-prod-4f1c9a7e2b").slice(0, 8)}`,
        mcpId: "ocr_workflow_mcp_001",
        sha256: sha256Hex("sk-mcp-prod-4f1c9a7e2b"),
        expiresAtMs: 1_893_456_000_000,
        isDisabled: false,
      },
    ]);
  });

  test.each(["WARNING", "warning", "warn"])("the level %s is Python's or ours", (level) => {
    const result = load(`[logging]\nlevel = "${level}"`);
    expect(result.kind === "loaded" ? result.config.logging.level : result.faults).toBe("warn");
  });

  test("a configuration that says nothing has the numbers of the documents", () => {
    const result = load("");
    if (result.kind === "faulty") throw new Error(result.faults.map(describeRemark).join("\n"));
    const { registry, routing, redis, sharedTable, store, server, http } = result.config;
    expect(registry).toMatchObject({ heartbeatIntervalSeconds: 30, dataReportIntervalSeconds: 10, priority: 1, weight: 100 });
    expect(routing).toMatchObject({ maxConcurrentDefault: 10 });
    expect(redis).toMatchObject({ count: 100, blockMs: 1_000, maxLen: 100_000, maxDeliveries: 5 });
    expect(sharedTable).toMatchObject({ intervalMs: 5_000, batch: 1_000 });
    expect(store).toMatchObject({ maxRecords: 1_000_000, maintenanceIntervalSeconds: 3_600, retentionDays: 30 });
    expect([server.webPort, http.requestBurst]).toEqual([8080, 20]);
  });
});
