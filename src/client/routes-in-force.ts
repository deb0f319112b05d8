import type { RoutingUpdate } from "../../gen/mcp/coordinator/v1/routes_pb.js";
import type { Clock } from "../platform/clock.js";
import { type ClientRoutes, judgeRoutes } from "./routes.js";
import { Timers } from "./timers.js";
import { routingAckFrame } from "./wire/control.js";
import type { EncodedFrame } from "./wire/frames.js";

/** What the holder of routes tells its session. `onRoutes` gets undefined when a table ran out; `writeAck` may drop the ack when no stream is up. */
export type RoutesInForceDeps = {
  readonly clock: Clock;
  readonly onRoutes: ((routes: ClientRoutes | undefined) => void) | undefined;
  readonly writeAck: (frame: EncodedFrame) => void;
};

/** The routing table that a session uses: outlives its streams, ends after `valid_for` without a newer one. */
export class RoutesInForce {
  readonly #deps: RoutesInForceDeps;
  readonly #timers: Timers<"expiry">;
  #current: ClientRoutes | undefined;

  constructor(deps: RoutesInForceDeps) {
    this.#deps = deps;
    this.#timers = new Timers(deps.clock);
  }

  get current(): ClientRoutes | undefined {
    return this.#current;
  }

  /** Judges an update, applies it when it is newer and whole, and acks it. */
  receive(update: RoutingUpdate): void {
    const startedMs = this.#deps.clock.monotonicMs();
    const judged = judgeRoutes(this.#current, update);
    if (judged.kind === "applied") {
      this.#current = judged.routes;
      this.#timers.set("expiry", judged.routes.validForMs, () => this.#expire(update.nonce));
      this.#deps.onRoutes?.(judged.routes);
    }
    const status = judged.kind === "rejected" ? "rejected" : "applied";
    const reason = judged.kind === "rejected" ? judged.reason : "";
    this.#deps.writeAck(routingAckFrame(update.nonce, status, this.#current, reason, this.#deps.clock.monotonicMs() - startedMs));
  }

  /** Stops the clock on the table. */
  release(): void {
    this.#timers.clearAll();
  }

  #expire(nonce: string): void {
    this.#current = undefined;
    this.#deps.onRoutes?.(undefined);
    this.#deps.writeAck(routingAckFrame(nonce, "expired", undefined, "", 0));
  }
}
