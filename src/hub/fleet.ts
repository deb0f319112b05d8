import type { Principal } from "../auth/principal.js";
import type { VersionedMcpConfig } from "../interaction/mcp-config.js";
import { CoordinatorError } from "../platform/errors.js";
import { limits } from "../platform/limits.js";
import { mintUuidV7 } from "../platform/uuid-v7.js";
import type { PublishedRoutes } from "../smart-router/table.js";
import type { Store } from "../store/store.js";
import type { Greeting } from "../wire/frame.js";
import type { SessionSettings } from "../wire/session-terms.js";
import { Admission, type SessionCaps } from "./admission.js";
import { FenceWatch } from "./fence-watch.js";
import { type FleetFigures, figuresOf } from "./figures.js";
import type { Session } from "./session.js";
import { StreamSession } from "./stream-session.js";
import type { SessionDeps, Transport } from "./surroundings.js";
import { WeightPlane, type WeightPlaneFigures } from "./weight-plane.js";
import { relaxed, type Squeeze, squeeze } from "./window.js";

/** How often windows are fitted, and every session is told that time passes unless that is needed more often. Unit: ms. */
const tickMaxMs = 1_000;
/** The least of it: a silent peer is found this much later than its time is over. Unit: ms. */
const tickMinMs = 250;
/** Ticks in one interval of heartbeats, within these bounds: 2 s make it 250 ms, 8 s and more make it 1 s. */
const ticksPerHeartbeat = 8;
/** Two ticks this far apart mean that the process stood still: silence of peers is not theirs then. Unit: ms. */
const stallMs = 3_000;

/** A session that has not ended is in one of these; hub/SPEC.md. */
export type SessionPhase = Exclude<Session["kind"], "closed">;

export type FleetDeps = Omit<
  SessionDeps,
  "greeted" | "released" | "resumes" | "credentialChanged" | "grant" | "reconnectSpreadMs" | "settings" | "plane"
> & {
  /** Epochs in force; undefined where no other coordinator can be on the store. */
  readonly readEpochs: Store["readEpochs"] | undefined;
  /** Share of the memory that the process may have which it uses, 0 to 1. */
  readonly memoryShare: () => number;
  readonly caps: SessionCaps;
  /** What sessions are given at the start; `reconfigure` gives them others. */
  readonly settings: SessionSettings;
  /** Names of sessions, UUIDs version 7 unless given. They decide the lane of a session without a producer, so a repeatable run needs repeatable ones. */
  readonly mintSessionId?: () => string;
};

/**
 * All sessions of this process. Bound: `caps`.
 * An older session of a producer that says Hello again is fenced here at once; one on another coordinator notices at its next commit, or, when it
 * stores nothing, within `limits.fenceCheckIntervalMs`.
 */
export class Fleet {
  readonly #deps: FleetDeps;
  readonly #admission: Admission;
  readonly #fenceWatch: FenceWatch | undefined;
  readonly #sessions = new Map<string, StreamSession>();
  readonly #byProducer = new Map<string, StreamSession>();
  readonly #stopWatching: () => void;
  readonly #plane = new WeightPlane();
  #settings: SessionSettings;
  #squeeze: Squeeze = relaxed;
  #cancelTick: (() => void) | undefined;
  #drainUntilMs: number | undefined;
  #whenEmpty: (() => void)[] = [];
  #tickedAtMs: number;
  #steeredAtMs: number;

  constructor(deps: FleetDeps) {
    this.#deps = deps;
    this.#settings = deps.settings;
    this.#admission = new Admission(deps.caps);
    this.#fenceWatch = deps.readEpochs && new FenceWatch({ readEpochs: deps.readEpochs, log: deps.log });
    this.#tickedAtMs = deps.clock.monotonicMs();
    this.#steeredAtMs = this.#tickedAtMs;
    this.#stopWatching = deps.ingest.queue.watchAvailability(() => this.#steerWindows());
    this.#scheduleTick();
  }

  get size(): number {
    return this.#sessions.size;
  }

  /** MCPs that have a session here; those whose session names none are not among them. */
  liveMcpIds(): ReadonlySet<string> {
    const ids = new Set<string>();
    for (const session of this.#sessions.values()) if (session.mcpId !== "" && !session.isClosed) ids.add(session.mcpId);
    return ids;
  }

  /** How many sessions there are in each phase of their life; those that have ended are forgotten. */
  phases(): Readonly<Record<SessionPhase, number>> {
    const counts: Record<SessionPhase, number> = { greeting: 0, opening: 0, live: 0, draining: 0, flushing: 0 };
    for (const { phase } of this.#sessions.values()) if (phase !== "closed") counts[phase] += 1;
    return counts;
  }

  /** Calls `applied` with the time from the publication of a table to each session's ack that it is in force.     Units: ms. It must not throw. */
  followApplied(applied: (delayMs: number) => void): void {
    this.#plane.followApplied(applied);
  }

  /** What the sessions are like now. */
  figures(): FleetFigures {
    return figuresOf([...this.#sessions.values()], this.#squeeze.grant, this.#settings.version, this.#deps.clock.monotonicMs());
  }

  /** How tables reach the sessions here. */
  weightPlane(): WeightPlaneFigures {
    const standings = [...this.#sessions.values()].flatMap(({ isClosed, routeStanding }) =>
      isClosed || routeStanding === undefined ? [] : [routeStanding],
    );
    return this.#plane.figures(standings, this.#deps.currentRoutes(), this.#deps.clock.monotonicMs());
  }

  /** Another coordinator, or this one before a restart, was told that a table cannot be used. `subject` is the MCP, or the session that named none. */
  tableRejected(subject: string, digest: string, reason: string): void {
    this.#plane.rejected.add(subject, digest, reason);
  }

  /**
   * A session for a stream that was just opened.
   * Errors: `unavailable` while draining, `busy` when there are too many sessions.
   */
  admit(principal: Principal, transport: Transport): StreamSession {
    if (this.#drainUntilMs !== undefined) {
      throw new CoordinatorError("unavailable", "the coordinator shuts down", {
        reason: "COORDINATOR_DRAINING",
        retryAfterMs: limits.reconnectSpreadMs,
      });
    }
    this.#admission.enter(principal, transport.connection);
    const deps: SessionDeps = {
      ...this.#deps,
      plane: this.#plane,
      grant: () => this.#squeeze.grant,
      reconnectSpreadMs: () => Math.min(limits.reconnectSpreadMs, this.#sessions.size * limits.reconnectSpreadPerSessionMs),
      settings: () => this.#settings,
      resumes: (session, greeting) => this.#endResumed(session, greeting),
      greeted: (session) => this.#fenceOlder(session),
      credentialChanged: (session, before) => this.#admission.rekey(before, session.principal),
      released: (session) => this.#release(session),
    };
    const session = new StreamSession(deps, (this.#deps.mintSessionId ?? mintUuidV7)(), principal, transport);
    this.#sessions.set(session.id, session);
    return session;
  }

  /** Offers a new table to every session that wants routes. */
  publish(routes: PublishedRoutes): void {
    this.#plane.published(routes, this.#deps.clock.monotonicMs());
    this.#each((session) => session.routesPublished(routes));
  }

  /** Offers new configurations, by MCP, to the sessions that want them. */
  mcpConfigsChanged(configs: ReadonlyMap<string, VersionedMcpConfig>): void {
    this.#each((session) => {
      const config = configs.get(session.mcpId);
      if (config !== undefined) session.mcpConfigChanged(config);
    });
  }

  /** Ends the sessions whose keys are valid no more: their events that are under way are stored, and sent again with another key. */
  keysRevoked(keyIds: ReadonlySet<string>): void {
    this.#each((session) => {
      const { principal } = session;
      if (principal.kind !== "key" || !keyIds.has(principal.keyId)) return;
      session.failed(new CoordinatorError("unauthenticated", "the key of this session was revoked", { reason: "KEY_UNKNOWN" }));
    });
  }

  /** Ends the sessions of callers who were not asked for a key: from now on everybody is. */
  keysWanted(): void {
    this.#each((session) => {
      if (session.principal.kind !== "anyone") return;
      session.failed(new CoordinatorError("unauthenticated", "keys are asked for from now on", { reason: "KEY_MISSING" }));
    });
  }

  /** Gives new settings to every session, and to those to come. Returns their version. */
  reconfigure(settings: Omit<SessionSettings, "version">): number {
    this.#settings = { ...settings, version: this.#settings.version + 1 };
    this.#each((session) => session.settingsChanged(this.#settings));
    return this.#settings.version;
  }

  /** Ends every session in good order; resolves when none is left. Sessions that are open after `graceMs` end with what is acknowledged by then. */
  async drain(graceMs: number): Promise<void> {
    const untilMs = this.#deps.clock.monotonicMs() + graceMs;
    this.#drainUntilMs = untilMs;
    this.#each((session) => session.drain("shutdown", untilMs));
    if (this.#sessions.size === 0) return;
    await new Promise<void>((resolve) => this.#whenEmpty.push(resolve));
  }

  /** Stops what runs in the background. */
  close(): void {
    this.#stopWatching();
    this.#cancelTick?.();
  }

  /** A client that says which session it had needs nobody to find out that it is gone. Only its own: same producer, same MCP, same key. */
  #endResumed(session: StreamSession, greeting: Greeting): void {
    const former = this.#sessions.get(greeting.resumeSessionId);
    if (former === undefined || former === session || greeting.producerId === "" || former.producerId !== greeting.producerId) return;
    if (keyOf(former.principal) === keyOf(session.principal)) former.fence();
  }

  /** The greater epoch lives: the store's answers to two Hellos may come back in either order. */
  #fenceOlder(session: StreamSession): void {
    const other = this.#byProducer.get(session.producerId);
    if (other !== undefined && other.epoch > session.epoch) {
      session.fence();
      return;
    }
    this.#byProducer.set(session.producerId, session);
    other?.fence();
  }

  #release(session: StreamSession): void {
    this.#sessions.delete(session.id);
    this.#admission.leave(session.principal, session.transport.connection);
    if (this.#byProducer.get(session.producerId) === session) this.#byProducer.delete(session.producerId);
    if (this.#sessions.size > 0) return;
    const waiting = this.#whenEmpty;
    this.#whenEmpty = [];
    for (const resolve of waiting) resolve();
  }

  #scheduleTick(): void {
    const dueMs = Math.min(tickMaxMs, Math.max(tickMinMs, this.#settings.heartbeatIntervalMs / ticksPerHeartbeat));
    this.#cancelTick = this.#deps.clock.after(dueMs, () => this.#tick());
  }

  #tick(): void {
    const nowMs = this.#deps.clock.monotonicMs();
    const isStall = nowMs - this.#tickedAtMs > stallMs;
    this.#tickedAtMs = nowMs;
    if (nowMs - this.#steeredAtMs >= tickMaxMs) this.#steerWindows();
    this.#each((session) => session.tick(isStall));
    this.#fenceWatch?.tick(nowMs, this.#sessions.values());
    this.#scheduleTick();
  }

  /** Fits the windows of all sessions to what the process can bear. */
  #steerWindows(): void {
    this.#steeredAtMs = this.#deps.clock.monotonicMs();
    const { queue } = this.#deps.ingest;
    let senderCount = 0;
    for (const session of this.#sessions.values()) if (session.hasUnacked) senderCount += 1;
    const strain = {
      pendingEvents: queue.pendingEvents,
      pendingBytes: queue.pendingBytes,
      isStoreAvailable: queue.isAvailable,
      memoryShare: this.#deps.memoryShare(),
      senderCount,
    };
    const { grant } = this.#squeeze;
    this.#squeeze = squeeze(this.#squeeze, strain, this.#deps.clock.monotonicMs());
    const next = this.#squeeze.grant;
    if (next.maxEvents === grant.maxEvents && next.maxBytes === grant.maxBytes && next.pressure === grant.pressure) return;
    this.#deps.log.info({ ...next, ...strain }, "windows changed");
    this.#each((session) => session.grantChanged(next));
  }

  #each(visit: (session: StreamSession) => void): void {
    for (const session of [...this.#sessions.values()]) visit(session);
  }
}

function keyOf(principal: Principal): string | undefined {
  return principal.kind === "key" ? principal.keyId : undefined;
}
