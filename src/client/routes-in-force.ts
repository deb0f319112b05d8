import type { RoutingUpdate } from "../../gen/mcp/coordinator/v1/routes_pb.js";
import type { Clock } from "../platform/clock.js";
import type { LocalRouter } from "./local-router.js";
import { type ClientRoutes, type JudgeTarget, judgeRoutes, type RoutesSeen } from "./routes.js";
import { Timers } from "./timers.js";
import { routingAckFrame } from "./wire/control.js";
import type { EncodedFrame } from "./wire/frames.js";

/** What the holder of routes tells its session. `onRoutes` gets undefined when a table ran out; `writeAck` may drop the ack when no stream is up. */
export type RoutesInForceDeps = {
  readonly mcpId: string;
  readonly clock: Clock;
  /** Gets every table, and undefined when one ran out, before `onRoutes` does. */
  readonly router: LocalRouter | undefined;
  readonly judgeTarget: JudgeTarget | undefined;
  readonly onRoutes: ((routes: ClientRoutes | undefined) => void) | undefined;
  readonly writeAck: (frame: EncodedFrame) => void;
};

/** The routing table that a session uses: outlives its streams, ends after `valid_for` without a newer one. */
export class RoutesInForce {
  readonly #deps: RoutesInForceDeps;
  readonly #timers: Timers<"expiry">;
  #current: ClientRoutes | undefined;
  /** The newest table there has been: after one ran out, an older one must not take its place. */
  #seen: RoutesSeen | undefined;
  /** What the newest table says of the MCP itself. */
  #isDrained = false;

  constructor(deps: RoutesInForceDeps) {
    this.#deps = deps;
    this.#timers = new Timers(deps.clock);
  }

  get current(): ClientRoutes | undefined {
    return this.#current;
  }

  /** Whether the newest table no longer names this MCP although one before did, or names it as draining: it ends what it has, and gets nothing new. */
  get isDrained(): boolean {
    return this.#isDrained;
  }

  /** Judges an update, applies it when it is newer, whole and usable, and acks it. */
  receive(update: RoutingUpdate): void {
    const { clock, judgeTarget, writeAck } = this.#deps;
    const startedMs = clock.monotonicMs();
    const judged = judgeRoutes(this.#current, update, this.#seen, judgeTarget);
    if (judged.kind === "applied") {
      this.#isDrained = this.#isDrainedBy(judged.routes);
      this.#current = judged.routes;
      this.#seen = { term: judged.routes.term, version: judged.routes.version };
      this.#timers.set("expiry", judged.routes.validForMs, () => this.#expire(update.nonce));
      this.#tell(judged.routes);
    }
    const answer = judged.kind === "rejected" ? ({ status: "rejected", ...judged } as const) : ({ status: "applied" } as const);
    writeAck(routingAckFrame(update.nonce, answer, this.#current, clock.monotonicMs() - startedMs));
  }

  /** Stops the clock on the table. */
  release(): void {
    this.#timers.clearAll();
  }

  #tell(routes: ClientRoutes | undefined): void {
    this.#deps.router?.use(routes);
    this.#deps.onRoutes?.(routes);
  }

  #isDrainedBy(next: ClientRoutes): boolean {
    const isSelf = ({ mcpId }: { readonly mcpId: string }) => mcpId === this.#deps.mcpId;
    const own = next.routes.find(isSelf);
    if (own !== undefined) return own.state === "draining";
    return this.#isDrained || this.#current?.routes.some(isSelf) === true;
  }

  #expire(nonce: string): void {
    this.#current = undefined;
    this.#tell(undefined);
    this.#deps.writeAck(routingAckFrame(nonce, { status: "expired" }, undefined, 0));
  }
}
