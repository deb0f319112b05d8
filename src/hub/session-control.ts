import type { Principal } from "../auth/principal.js";
import type { McpConfigAnswer, VersionedMcpConfig } from "../interaction/mcp-config.js";
import { unreachable } from "../platform/assert.js";
import type { CoordinatorError } from "../platform/errors.js";
import { limits } from "../platform/limits.js";
import type { PublishedRoutes, RoutingAck } from "../smart-router/table.js";
import { type CapabilityName, type ClientFrame, heartbeatAckFrame, type NoticeCode, noticeFrame, type Window } from "../wire/frame.js";
import type { RoutingUpdateMessage } from "../wire/routes.js";
import { type ConfigAck, credentialRefreshAckFrame, type LoadReport, type SessionSettings } from "../wire/session-terms.js";
import type { ConfigStanding } from "./config-outlet.js";
import { Credential } from "./credential.js";
import type { FrameOutlet } from "./frame-outlet.js";
import { beat, jitterOf, noPace, unheard } from "./heartbeat-pace.js";
import { type MeasuredLoad, measureLoad } from "./load.js";
import type { Strain } from "./presence.js";
import { PushOutlet } from "./push-outlet.js";
import { RouteOutlet } from "./route-outlet.js";
import type { Session } from "./session.js";
import type { SessionDeps } from "./surroundings.js";
import type { RouteStanding } from "./weight-plane.js";

/** Frames that are neither Hello nor events. */
export type ControlFrame = Exclude<ClientFrame, { readonly kind: "hello" | "events" }>;

/** The session that the control frames are about, as far as they go. */
export type ControlledSession = {
  readonly id: string;
  readonly mcpId: string;
  readonly producerId: string;
  /** Whether anything may be pushed. */
  readonly phase: Session["kind"];
  readonly isClosed: boolean;
  readonly announcedThrough: bigint;
  readonly window: Window;
  readonly loadReported: (load: MeasuredLoad) => void;
  /** Other settings hold, or another of them. */
  readonly cadenceChanged: () => void;
  readonly credentialChanged: (before: Principal) => void;
  readonly failed: (error: CoordinatorError) => void;
};

/** Everything between a session and its client besides events and acks: signs of life, pushes and their acks, credentials, load. */
export class SessionControl {
  readonly #deps: SessionDeps;
  readonly #frames: FrameOutlet;
  readonly #session: ControlledSession;
  readonly #credential: Credential;
  #capabilities: ReadonlySet<CapabilityName> = new Set();
  #pushes: PushOutlet;
  #load: MeasuredLoad | undefined;
  #pace = noPace;

  constructor(deps: SessionDeps, frames: FrameOutlet, session: ControlledSession, principal: Principal) {
    this.#deps = deps;
    this.#frames = frames;
    this.#session = session;
    this.#credential = new Credential(principal, deps.authenticate);
    this.#pushes = this.#openPushes(session.id);
  }

  get principal(): Principal {
    return this.#credential.principal;
  }

  /** The latest load report. */
  get load(): MeasuredLoad | undefined {
    return this.#load;
  }

  /** Where the client stands with the settings; undefined when it takes no updates. */
  get configStanding(): ConfigStanding | undefined {
    return this.#capabilities.has("config") ? this.#pushes.configStanding : undefined;
  }

  /** Where the client stands with the tables; undefined when it takes none. */
  get routeStanding(): RouteStanding | undefined {
    return this.#capabilities.has("routing") ? { appliedVersion: this.#pushes.routes.appliedVersion } : undefined;
  }

  /** How the client keeps up. `isDeaf`: this process did not read of late, so nothing is the client's fault. */
  strain(isDeaf: boolean): Strain {
    const nowMs = this.#deps.clock.monotonicMs();
    if (isDeaf) {
      this.#pushes.routes.excuse(nowMs);
      this.#pace = unheard(this.#pace);
    }
    return { unansweredTables: this.#pushes.routes.unanswered(nowMs), heartbeatJitter: jitterOf(this.#pace) };
  }

  /** The settings in force at the client. */
  get settings(): SessionSettings {
    return this.#pushes.settings;
  }

  /** Until the credential expires; undefined means never. Unit: ms. */
  get credentialLeftMs(): number | undefined {
    return this.#credential.leftMs(this.#deps.clock.nowMs());
  }

  /** Longest silence of a client that promised heartbeats. While it has not agreed to others, nobody is ended for the shorter interval. Unit: ms. */
  get silenceMaxMs(): number {
    const agreed = this.#pushes.settings.heartbeatIntervalMs;
    const wanted = this.#capabilities.has("config") ? this.#deps.settings().heartbeatIntervalMs : agreed;
    const isPending = !this.#pushes.configStanding.isRejected;
    return (isPending ? Math.max(agreed, wanted) : agreed) * limits.heartbeatMissesMax;
  }

  /** The session begins, with the settings of this moment. Returns the table that goes with Welcome. */
  begin(capabilities: ReadonlySet<CapabilityName>): RoutingUpdateMessage | undefined {
    this.#capabilities = capabilities;
    const { mcpId, id } = this.#session;
    this.#pushes = this.#openPushes(mcpId === "" ? id : mcpId);
    const routes = capabilities.has("routing") ? this.#deps.currentRoutes() : undefined;
    if (routes !== undefined) this.#pushes.routes.offer(routes, false);
    const mcpConfig = this.#deps.registry?.configOf(this.#session.mcpId);
    if (mcpConfig !== undefined) this.mcpConfigChanged(mcpConfig);
    return this.#pushes.takeRoutes(this.#deps.clock.monotonicMs());
  }

  received(frame: ControlFrame): void {
    switch (frame.kind) {
      case "heartbeat":
        this.#pushes.routes.reported(frame.applied);
        this.#pace = beat(this.#pace, this.settings.heartbeatIntervalMs, this.#deps.clock.monotonicMs());
        this.#deps.plane.observed(frame.observed ?? [], this.#deps.clock.monotonicMs());
        this.#answerHeartbeat(frame.id);
        break;
      case "routing_ack":
        this.#routingAcked(frame.ack);
        break;
      case "config_ack":
        this.#configAcked(frame.ack);
        break;
      case "credential_refresh":
        this.#refreshCredential(frame.token);
        break;
      case "load_report":
        this.#takeLoad(frame.report);
        break;
      case "mcp_config_ack":
        this.#mcpConfigAcked(frame.answer);
        break;
      case "unknown":
        this.notice("UNKNOWN_FRAME", "a frame with no member this coordinator knows was ignored");
        break;
      default:
        unreachable(frame);
    }
  }

  routesPublished(routes: PublishedRoutes): void {
    if (this.#session.phase !== "live" || !this.#capabilities.has("routing")) return;
    this.#pushes.routes.offer(routes, true);
    this.push();
  }

  settingsChanged(settings: SessionSettings): void {
    if (this.#session.phase === "live" && this.#capabilities.has("config")) this.#pushes.offerSettings(settings);
    this.#session.cadenceChanged();
    this.push();
  }

  /** Offers it; the next `push` sends it. */
  mcpConfigChanged(config: VersionedMcpConfig): void {
    if (this.#capabilities.has("mcp_config")) this.#pushes.offerMcpConfig(config);
  }

  /** Sends what is to be pushed and may be: a newer table, newer settings. */
  push(): void {
    while (this.#session.phase === "live" && this.#frames.isWritable) {
      const frame = this.#pushes.take(this.#deps.clock.monotonicMs());
      if (frame === undefined) return;
      this.#frames.write(frame);
    }
  }

  /** For people; dropped when the peer does not read. */
  notice(code: NoticeCode, message: string): void {
    if (!this.#session.isClosed && this.#frames.isWritable) this.#frames.write(noticeFrame(code, message));
  }

  #answerHeartbeat(id: bigint): void {
    if (this.#session.isClosed) return;
    this.#frames.writeNewest("heartbeat", () =>
      heartbeatAckFrame({
        id,
        receivedAtMs: this.#deps.clock.nowMs(),
        resolvedThrough: this.#session.announcedThrough,
        window: this.#session.window,
        routingVersion: this.#deps.currentRoutes()?.version ?? 0,
        configVersion: this.#pushes.settings.version,
      }),
    );
  }

  #routingAcked(ack: RoutingAck): void {
    const answered = this.#pushes.routes.acked(ack, this.#deps.clock.monotonicMs());
    if (answered === undefined) {
      this.notice("ACK_IGNORED", "a routing ack with a nonce that is not outstanding was ignored");
      return;
    }
    const { id, mcpId, producerId } = this.#session;
    const { routes, delayMs } = answered;
    this.#deps.recordRoutingAck({ producerId: producerId === "" ? id : producerId, mcpId, ack, answered: routes, ackDelayMs: delayMs });
    if (ack.status === "rejected") {
      const { rejection, rejected } = ack;
      this.#deps.log.warn(
        { session: id, mcpId, version: routes.version, digest: routes.digest, rejection, rejected: rejected.slice(0, 3) },
        "a client rejected a routing table",
      );
    }
    this.push();
  }

  /** Rejections count for the MCP; a session that names none is on its own. */
  #openPushes(subject: string): PushOutlet {
    return new PushOutlet(this.#deps.settings(), new RouteOutlet(subject, this.#deps.plane));
  }

  #mcpConfigAcked(answer: McpConfigAnswer): void {
    if (!this.#pushes.mcpConfigAcked(answer)) {
      this.notice("ACK_IGNORED", "an ack of a configuration with a nonce that is not outstanding was ignored");
      return;
    }
    const { id, mcpId, producerId } = this.#session;
    this.#deps.registry?.configAcked({ producerId: producerId === "" ? id : producerId, mcpId, answer });
    this.push();
  }

  #configAcked(ack: ConfigAck): void {
    const acked = this.#pushes.configAcked(ack);
    if (acked.kind === "ignored") this.notice("ACK_IGNORED", "a config ack with a nonce that is not outstanding was ignored");
    if (acked.kind === "ignored" || acked.kind === "waiting") return;
    const { id: session, mcpId } = this.#session;
    const figures = { session, mcpId, version: acked.settings.version };
    if (acked.kind === "applied") this.#deps.log.debug(figures, "a client applied the settings of its session");
    else
      this.#deps.log.warn({ ...figures, detail: ack.detail.slice(0, limits.idMaxBytes) }, "a client rejected the settings of its session");
    this.#session.cadenceChanged();
    this.push();
  }

  #refreshCredential(token: string): void {
    const before = this.principal;
    const refreshed = this.#credential.refresh(token);
    if (refreshed.kind === "last") {
      this.#session.failed(refreshed.error);
      return;
    }
    if (refreshed.kind === "accepted") this.#session.credentialChanged(before);
    const reason = refreshed.kind === "refused" ? refreshed.reason : "";
    this.#frames.writeNewest("refresh", () => credentialRefreshAckFrame(this.#credential.expiresAtMs, reason));
  }

  #takeLoad(report: LoadReport): void {
    const load = measureLoad(report, this.#deps.clock.monotonicMs());
    if (load === undefined) this.notice("LOAD_IGNORED", "a load report whose utilization is no share was ignored");
    else {
      this.#load = load;
      this.#session.loadReported(load);
    }
  }
}
