import { routingUpdateFrame } from "../wire/frame.js";
import type { RoutingUpdateMessage } from "../wire/routes.js";
import type { ServerFrame } from "../wire/server-frame.js";
import { type ConfigAck, configUpdateFrame, type SessionSettings } from "../wire/session-terms.js";
import { type ConfigAcked, ConfigOutlet, type ConfigStanding } from "./config-outlet.js";
import type { RouteOutlet } from "./route-outlet.js";

/** What is pushed to one session without being asked for: routing tables, and its settings. One of each is outstanding at most. */
export class PushOutlet {
  readonly routes: RouteOutlet;
  readonly #config: ConfigOutlet;

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

  /** The table that goes with Welcome; it is outstanding then. */
  takeRoutes(nowMs: number): RoutingUpdateMessage | undefined {
    return this.routes.take(nowMs);
  }

  /** The next frame to push, or undefined when nothing is new or everything new has to wait for an ack. */
  take(nowMs: number): ServerFrame | undefined {
    const routes = this.takeRoutes(nowMs);
    if (routes !== undefined) return routingUpdateFrame(routes);
    const config = this.#config.take(nowMs);
    return config && configUpdateFrame(config.nonce, config.settings);
  }

  configAcked(ack: ConfigAck): ConfigAcked {
    return this.#config.acked(ack);
  }
}
