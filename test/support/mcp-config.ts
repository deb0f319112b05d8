import { collectAll } from "../../src/interaction/collect.js";
import type { McpConfig } from "../../src/interaction/mcp-config.js";

/** A configuration that asks for nothing special: the documented defaults, and a heartbeat every half minute. */
export const plainMcpConfig: McpConfig = {
  heartbeatInterval: 30,
  dataReportInterval: 60,
  priority: 1,
  weight: 100,
  maxConcurrentRequests: 10,
  draining: false,
  collection: collectAll,
};
