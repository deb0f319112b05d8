import type { MessageInitShape } from "@bufbuild/protobuf";
import type { McpConfigAck, McpConfigSchema } from "../../gen/mcp/coordinator/v1/mcp_config_pb.js";
import type { McpConfigAnswer, VersionedMcpConfig } from "../interaction/mcp-config.js";
import { applyStatuses } from "./routes.js";
import { respond, type ServerFrame } from "./server-frame.js";

/** The configuration of an MCP as a message. */
export function mcpConfigToProto({ version, config }: VersionedMcpConfig): MessageInitShape<typeof McpConfigSchema> {
  const { heartbeatInterval, dataReportInterval, collection, priority, weight, maxConcurrentRequests, draining } = config;
  return {
    version: BigInt(version),
    heartbeatInterval,
    dataReportInterval,
    routing: { priority, weight, maxConcurrentRequests, draining },
    collectionRules: { progressSampleRatio: collection.progressSampleRatio, dropFields: [...collection.dropFields] },
  };
}

export function mcpConfigUpdateFrame(nonce: string, config: VersionedMcpConfig): ServerFrame {
  return respond({ case: "mcpConfigUpdate", value: { nonce, config: mcpConfigToProto(config) } });
}

/** Undefined when its status is none that is known here. */
export function mcpConfigAnswerFromProto(ack: McpConfigAck): McpConfigAnswer | undefined {
  const status: McpConfigAnswer["status"] | undefined = applyStatuses[ack.status]; // undefined too for a status that a newer client sends
  return status && { nonce: ack.nonce, version: Number(ack.version), status, detail: ack.detail };
}
