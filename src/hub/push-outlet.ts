import type { McpConfigAnswer, VersionedMcpConfig } from "../interaction/mcp-config.js";
import { routingUpdateFrame } from "../wire/frame.js";
import { mcpConfigUpdateFrame } from "../wire/mcp-config.js";
import type { RoutingUpdateMessage } from "../wire/routes.js";
import type { ServerFrame } from "../wire/server-frame.js";
import { type ConfigAck, configUpdateFrame, type SessionSettings } from "../wire/session-terms.js";
import { type ConfigAcked, ConfigOutlet, type ConfigStanding } from "./config-outlet.js";
import type { RouteOutlet } from "./route-outlet.js";
import { VersionOutlet } from "./version-outlet.js";

/** What is pushed to one session without being asked for: routing tables, its settings, the configuration of its MCP. One of each is outstanding at most. */
export class PushOutlet {
  readonly routes: RouteOutlet;
  readonly #config: ConfigOutlet;
  readonly #mcpConfig = new VersionOutlet<VersionedMcpConfig & { readonly term: number }>("m");

  /** `settings` are those that the session begins with. */
  constructor(settings: SessionSettings, routes: RouteOutlet) {
    this.#config = new ConfigOutlet(settings);
    this.routes = routes;
  }

  /** The settings in force at the client. */
  get settings(): SessionSettings {
    return this.#config.inForce;
  }

  get configStanding(): ConfigStanding {
    return this.#config.standing;
  }

  offerSettings(settings: SessionSettings): void {
    this.#config.offer(settings);
  }

  offerMcpConfig(config: VersionedMcpConfig): void {
    this.#mcpConfig.offer({ ...config, term: 0 });
  }

  /** The table that goes with Welcome; it is outstanding then. */
  takeRoutes(nowMs: number): RoutingUpdateMessage | undefined {
    return this.routes.take(nowMs);
  }

  /** The next frame to push, or undefined when nothing is new or everything new has to wait for an ack. */
  take(nowMs: number): ServerFrame | undefined {
    const routes = this.takeRoutes(nowMs);
    if (routes !== undefined) return routingUpdateFrame(routes);
    const config = this.#config.take(nowMs);
    if (config !== undefined) return configUpdateFrame(config.nonce, config.settings);
    const mcpConfig = this.#mcpConfig.take(nowMs);
    return mcpConfig && mcpConfigUpdateFrame(mcpConfig.nonce, mcpConfig.value);
  }

  /** False when the answer is about nothing outstanding. A configuration cannot expire. */
  mcpConfigAcked(answer: McpConfigAnswer): boolean {
    return answer.status !== "expired" && this.#mcpConfig.acked(answer.nonce, answer.status) !== undefined;
  }

  configAcked(ack: ConfigAck): ConfigAcked {
    return this.#config.acked(ack);
  }
}
