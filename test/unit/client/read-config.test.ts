import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { readMcpConfig } from "../../../src/client/read-config.js";
import { readOptions } from "../../../src/client/reporter-options.js";

function fileOf(text: string): string {
  const path = join(mkdtempSync(join(tmpdir(), "mcpc-config-")), "mcp_config.toml");
  writeFileSync(path, text);
  return path;
}

const documented = `
[mcp]
mcp_id = "your_mcp_001"
name = "Your MCP"
version = "1.0.0"

[interaction_logging]
enable_interaction_logging = false
coordinator_url = "http://mcp-coordinator:8080/"
coordinator_api_key = "your_api_key_here"
max_retries = 3
retry_delay = 1.0
local_cache_path = "./data/interaction_cache.db"
`;

test("the documented file is read as it is, and reporting is off in it", () => {
  const options = readMcpConfig(fileOf(documented));
  expect(options).toEqual({
    ...{ mcpId: "your_mcp_001", instanceVersion: "1.0.0", enableReporting: false, coordinatorUrl: "http://mcp-coordinator:8080/" },
    ...{ apiKey: "your_api_key_here", maxRetries: 3, retryDelay: 1, localCachePath: "./data/interaction_cache.db", remarks: [] },
  });
  const { settings, faults } = readOptions(options);
  expect(faults).toEqual([]);
  expect(settings).toMatchObject({
    coordinatorUrl: "http://mcp-coordinator:8080",
    grpcTarget: "mcp-coordinator:50051",
    outs: ["grpc", "http"],
  });
});

test("keys that are not known are named, and the rest is used", () => {
  const options = readMcpConfig(
    fileOf('[mcp]\nmcp_id = "a"\ncolour = 1\n[interaction_logging]\nmax_retry = 5\nmax_retries = "x"\n[other]\n'),
  );
  expect(options.remarks?.map((remark) => remark.replace(/^.*: \[/, "["))).toEqual([
    "mcp.colour is not known",
    "interaction_logging.max_retry is not known",
    "[other] is not known",
  ]);
  expect(readOptions({ ...options, coordinatorUrl: "http://a" }).faults.map(({ field }) => field)).toEqual(["maxRetries"]);
});

test("a file that is missing or is no TOML switches reporting off and says so", () => {
  for (const path of [join(tmpdir(), "no-such-file.toml"), fileOf("[mcp\n")]) {
    const options = readMcpConfig(path);
    expect(options.enableReporting).toBe(false);
    expect(options.remarks).toHaveLength(1);
    expect(options.remarks?.[0]).toContain("reporting is off");
  }
});
