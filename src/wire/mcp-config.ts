import type { MessageInitShape } from "@bufbuild/protobuf";
import type { McpConfigAck, McpConfigSchema } from "../../gen/mcp/coordinator/v1/mcp_config_pb.js";
import type { McpConfigAnswer, VersionedMcpConfig } from "../interaction/mcp-config.js";
import { limits } from "../platform/limits.js";
import { cutText } from "./cut-text.js";
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

/** Cut to its bounds and safe to store. Undefined when its status is none that is known here, or its version none that anyone was ever given. */
export function mcpConfigAnswerFromProto(ack: McpConfigAck): McpConfigAnswer | undefined {
  const status: McpConfigAnswer["status"] | undefined = applyStatuses[ack.status]; // undefined too for a status that a newer client sends
  if (status === undefined || ack.version > BigInt(Number.MAX_SAFE_INTEGER)) return undefined;
  return { nonce: ack.nonce, version: Number(ack.version), status, detail: cutText(ack.detail, limits.idMaxBytes) };
}
