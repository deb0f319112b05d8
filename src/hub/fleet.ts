import type { Principal } from "../auth/principal.js";
import { CoordinatorError } from "../platform/errors.js";
import { limits } from "../platform/limits.js";
import { mintUuidV7 } from "../platform/uuid-v7.js";
import type { PublishedRoutes } from "../smart-router/table.js";
import { StreamSession } from "./stream-session.js";
import type { SessionDeps, Transport } from "./surroundings.js";

/** How often every session is told that time passes. Unit: ms. */
const tickMs = 1_000;

export type FleetDeps = Omit<SessionDeps, "greeted" | "released"> & {
  /** Names of sessions, UUIDs version 7 unless given. They decide the lane of a session without a producer, so a repeatable run needs repeatable ones. */
  readonly mintSessionId?: () => string;
};

/**
 * All sessions of this process. Bound: `limits.sessionsMax`.
 * An older session of a producer that says Hello again is fenced here at once; one on another coordinator notices at its next commit.
 */
export class Fleet {
  readonly #deps: FleetDeps;
  readonly #sessions = new Set<StreamSession>();
  readonly #byProducer = new Map<string, StreamSession>();
  readonly #stopWatching: () => void;
  #cancelTick: (() => void) | undefined;
  #drainUntilMs: number | undefined;
  #whenEmpty: (() => void)[] = [];
  #tickedAtMs: number;

  constructor(deps: FleetDeps) {
    this.#deps = deps;
    this.#tickedAtMs = deps.clock.monotonicMs();
    this.#stopWatching = deps.ingest.queue.watchAvailability((isAvailable) => this.#each((session) => session.storageChanged(isAvailable)));
    this.#scheduleTick();
  }

  get size(): number {
    return this.#sessions.size;
  }

  /** MCPs that have a session here; those whose session names none are not among them. */
  liveMcpIds(): ReadonlySet<string> {
    const ids = new Set<string>();
    for (const session of this.#sessions) if (session.mcpId !== "" && !session.isClosed) ids.add(session.mcpId);
    return ids;
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
    if (this.#sessions.size >= limits.sessionsMax) {
      const message = `this coordinator holds ${limits.sessionsMax} sessions, as many as it may`;
      throw new CoordinatorError("busy", message, { reason: "SESSIONS_EXHAUSTED", retryAfterMs: limits.reconnectSpreadMs });
    }
    const deps: SessionDeps = {
      ...this.#deps,
      greeted: (session) => this.#fenceOlder(session),
      released: (session) => this.#release(session),
    };
    const session = new StreamSession(deps, (this.#deps.mintSessionId ?? mintUuidV7)(), principal, transport);
    this.#sessions.add(session);
    return session;
  }

  /** Offers a new table to every session that wants routes. */
  publish(routes: PublishedRoutes): void {
    this.#each((session) => session.routesPublished(routes));
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

  #fenceOlder(session: StreamSession): void {
    const older = this.#byProducer.get(session.producerId);
    this.#byProducer.set(session.producerId, session);
    if (older !== undefined && older !== session) older.drain("fenced", this.#deps.clock.monotonicMs() + limits.slowConsumerMaxMs);
  }

  #release(session: StreamSession): void {
    this.#sessions.delete(session);
    if (this.#byProducer.get(session.producerId) === session) this.#byProducer.delete(session.producerId);
    if (this.#sessions.size > 0) return;
    const waiting = this.#whenEmpty;
    this.#whenEmpty = [];
    for (const resolve of waiting) resolve();
  }

  #scheduleTick(): void {
    this.#cancelTick = this.#deps.clock.after(tickMs, () => this.#tick());
  }

  #tick(): void {
    const nowMs = this.#deps.clock.monotonicMs();
    const isStall = nowMs - this.#tickedAtMs > tickMs * 3;
    this.#tickedAtMs = nowMs;
    this.#each((session) => session.tick(isStall));
    this.#scheduleTick();
  }

  #each(visit: (session: StreamSession) => void): void {
    for (const session of [...this.#sessions]) visit(session);
  }
}
