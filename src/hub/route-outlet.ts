import type { AppliedRoutes, PublishedRoutes, RoutingAck } from "../smart-router/table.js";
import { type RoutingUpdateMessage, routingUpdateFromTable } from "../wire/routes.js";
import { VersionOutlet } from "./version-outlet.js";
import type { WeightPlane } from "./weight-plane.js";

/** What an ack was about. `delayMs`: from publication to now; undefined when the table was not new when it was sent. */
export type AnsweredUpdate = { readonly routes: PublishedRoutes; readonly delayMs: number | undefined };

/**
 * The routing tables of one session: sends the newest, as a delta where that is smaller and the client is known to have the base; one whole table after
 * OUT_OF_SYNC; never again what its MCP has rejected.     Source: router.md 1.7, rules 1 to 7.
 */
export class RouteOutlet {
  readonly #subject: string;
  readonly #plane: WeightPlane;
  readonly #outlet = new VersionOutlet<PublishedRoutes>();
  /** The table that the client has in force, as far as it has proved it. */
  #base: PublishedRoutes | undefined;
  /** How the outstanding update was sent: whether as a delta, and whether the table was new. */
  #outstanding: { readonly isDelta: boolean; readonly isNew: boolean } = { isDelta: false, isNew: false };
  #isNextNew = false;
  #appliedVersion = 0;

  /** `subject` is whose rejections count: the MCP, or the session when that names none. */
  constructor(subject: string, plane: WeightPlane) {
    this.#subject = subject;
    this.#plane = plane;
  }

  /** Newest version that the client has acked as applied, 0 for none. */
  get appliedVersion(): number {
    return this.#appliedVersion;
  }

  /** Tables in a row that the client has not answered in time. */
  unanswered(nowMs: number): number {
    return this.#outlet.unanswered(nowMs);
  }

  /** This process did not read until now. */
  excuse(nowMs: number): void {
    this.#outlet.excuse(nowMs);
  }

  /** A table was published. `isNew`: just now, rather than before the session began. */
  offer(routes: PublishedRoutes, isNew: boolean): void {
    this.#isNextNew = isNew;
    this.#outlet.offer(routes);
  }

  /** What to send now, or undefined; it is outstanding then. */
  take(nowMs: number): RoutingUpdateMessage | undefined {
    const next = this.#outlet.next;
    if (next !== undefined && this.#plane.rejected.has(this.#subject, next.digest)) {
      this.#outlet.dropNext();
      this.#plane.count("withheld");
      return undefined;
    }
    const sent = this.#outlet.take(nowMs);
    if (sent === undefined) return undefined;
    const update = routingUpdateFromTable(sent.value, sent.nonce, this.#base);
    const isDelta = update.body.case === "delta";
    this.#outstanding = { isDelta, isNew: this.#isNextNew };
    this.#plane.count("sent");
    if (isDelta) this.#plane.count("sent_delta");
    return update;
  }

  /** What the ack was about; undefined, and counted, when its nonce is not outstanding. */
  acked(ack: RoutingAck, nowMs: number): AnsweredUpdate | undefined {
    const routes = this.#outlet.acked(ack.nonce, ack.status);
    if (routes === undefined) {
      this.#plane.count("ack_ignored");
      return undefined;
    }
    const delayMs = this.#outstanding.isNew && ack.status !== "expired" ? this.#plane.sincePublished(routes, nowMs) : undefined;
    if (ack.status === "applied") this.#applied(ack.applied, routes, delayMs);
    else if (ack.status === "rejected") this.#refused(ack, routes);
    else if (ack.status === "expired") this.#lost();
    return { routes, delayMs };
  }

  /** A heartbeat says what is in force at the client: if that is not what it acked, no delta can start from there. */
  reported(applied: AppliedRoutes | undefined): void {
    if (this.#base !== undefined && !isSame(applied, this.#base)) this.#base = undefined;
  }

  #applied(applied: AppliedRoutes | undefined, routes: PublishedRoutes, delayMs: number | undefined): void {
    const isInForce = isSame(applied, routes);
    this.#base = isInForce ? routes : undefined;
    this.#appliedVersion = Math.max(this.#appliedVersion, isInForce ? routes.version : 0);
    if (isInForce && delayMs !== undefined) this.#plane.applied(delayMs);
  }

  #refused(ack: RoutingAck, routes: PublishedRoutes): void {
    this.reported(ack.applied);
    if (ack.rejection === "stale_epoch") {
      this.#plane.count("stale_epoch");
      return;
    }
    if (ack.rejection === "out_of_sync") this.#plane.count("out_of_sync");
    if (ack.rejection === "out_of_sync" && this.#outstanding.isDelta) {
      this.#base = undefined;
      this.#outlet.repeat(routes);
      return;
    }
    // A whole table whose digest does not match there: sending it again would end the same way.
    const told = ack.rejected[0];
    const reason = told === undefined ? "it did not say why" : `${told.mcpId === "" ? "" : `${told.mcpId}: `}${told.reason}`;
    this.#plane.rejected.add(this.#subject, routes.digest, reason);
  }

  #lost(): void {
    this.#base = undefined;
    this.#appliedVersion = 0;
    this.#plane.count("expired");
  }
}

function isSame(a: AppliedRoutes | undefined, b: AppliedRoutes): boolean {
  return a !== undefined && a.term === b.term && a.version === b.version && a.digest === b.digest;
}
