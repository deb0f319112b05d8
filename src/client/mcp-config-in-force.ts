import type { McpConfigUpdate } from "../../gen/mcp/coordinator/v1/mcp_config_pb.js";
import { type ClientMcpConfig, mcpConfigAckFrame, mcpConfigOf } from "./wire/control.js";
import type { EncodedFrame } from "./wire/frames.js";

/** The configuration of the MCP as its owner has taken it. Outlives streams: after a reconnect the old one holds until another is taken. */
export class McpConfigInForce {
  readonly #take: ((config: ClientMcpConfig) => string | undefined) | undefined;
  #version = 0;

  /** `take` is StreamSessionOptions.onMcpConfig. */
  constructor(take: ((config: ClientMcpConfig) => string | undefined) | undefined) {
    this.#take = take;
  }

  /** Whether an owner wants any. */
  get isWanted(): boolean {
    return this.#take !== undefined;
  }

  /** Offers it to the owner and gives the ack: its word decides whether it is in force. */
  receive({ nonce, config }: McpConfigUpdate): EncodedFrame {
    if (config === undefined || this.#take === undefined) return mcpConfigAckFrame(nonce, this.#version, "no configuration in it");
    const offered = mcpConfigOf(config);
    const fault = this.#take(offered);
    if (fault === undefined) this.#version = offered.version;
    return mcpConfigAckFrame(nonce, this.#version, fault);
  }
}
