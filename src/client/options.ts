import type { EventAck } from "../../gen/mcp/coordinator/v1/events_pb.js";
import type { Clock } from "../platform/clock.js";
import type { Rng } from "../platform/rng.js";
import type { Endpoint } from "./connect.js";
import type { LocalRouter } from "./local-router.js";
import type { OutboxBounds, Window } from "./outbox.js";
import type { ClientRoutes, JudgeTarget } from "./routes.js";
import type { SessionState } from "./session.js";
import type { ClientLoad, ClientMcpConfig } from "./wire/control.js";

/** How one event ended. `learnt` says how we know: by an ack, or because the coordinator's resume point covers it and it is too old to be asked about again. */
export type Settled = {
  readonly eventId: string;
  readonly verdict: "stored" | "duplicate" | "not_collected" | "rejected";
  readonly learnt: "ack" | "resume";
  /** From the newest sending to the ack, in ms. 0 when learnt by resuming. */
  readonly latencyMs: number;
  /** Present for every verdict that came as a full EventAck. */
  readonly ack: EventAck | undefined;
};

/** Everything that happened since the session was created. */
export type SessionCounters = {
  readonly reported: number;
  /** Events written to a stream, repetitions included. */
  readonly sent: number;
  readonly stored: number;
  readonly duplicate: number;
  /** Left out by a collection rule of the MCP: resolved, and not stored. */
  readonly notCollected: number;
  readonly rejected: number;
  /** Verdicts that asked for a later retry. */
  readonly deferred: number;
  readonly reconnects: number;
};

/** A gRPC status other than OK, as the transport or the coordinator gave it. */
export type StreamFailure = { readonly code: number; readonly details: string };

/** What a session needs to know; everything optional has its default in its comment. */
export type StreamSessionOptions = {
  readonly endpoint: Endpoint;
  readonly mcpId: string;
  /** Fences older sessions of the same name: one process at a time may use it. Default: a fresh one, as the outbox lives in memory only. */
  readonly producerId?: string;
  readonly instanceVersion?: string;
  readonly labels?: Readonly<Record<string, string>>;
  /** Default `coalesced`. */
  readonly ackMode?: "each" | "coalesced";
  /** Events per frame. Default 64; 1 sends single frames. */
  readonly batchEvents?: number;
  /** The session's own window; the coordinator's applies as well. Default: the coordinator's. */
  readonly window?: Window;
  /** Default `limits.outboxMaxEvents` and `limits.outboxMaxBytes`. */
  readonly outbox?: OutboxBounds;
  /** Default `limits.clientCloseMaxMs`. */
  readonly closeMaxMs?: number;
  readonly clock?: Clock;
  readonly rng?: Rng;
  /**
   * Another key for the same MCP: asked for when the coordinator says that the one in use is about to expire, and when it refuses it. Undefined when
   * there is none yet. Default: the endpoint's key for ever. A rejection counts as undefined.
   */
  readonly renewKey?: () => Promise<string | undefined>;
  /** What the MCP has to do right now; asked with each heartbeat and sent for routing. Undefined: nothing to say. Must not throw. */
  readonly load?: () => ClientLoad | undefined;
  /** Chooses MCPs for requests of this process: gets every table, and what it observed is sent with each heartbeat. */
  readonly router?: LocalRouter;
  /** Says why this process cannot use a target of a table, which then is rejected as a whole; undefined when it can. Must not throw. Default: all can be used. */
  readonly judgeTarget?: JudgeTarget;
  /** Called for every event exactly once. Must not throw. */
  readonly onSettled?: (settled: Settled) => void;
  /** Called with each table that came into force, and with undefined when it ran out. Must not throw. */
  readonly onRoutes?: (routes: ClientRoutes | undefined) => void;
  /**
   * Called with the configuration of the MCP, after Welcome and whenever it changes. Gives undefined when it is in force then, else why it cannot be. Must
   * not throw. Without it the coordinator sends none.
   */
  readonly onMcpConfig?: (config: ClientMcpConfig) => string | undefined;
  /** Called on each change of state. Must not throw. */
  readonly onState?: (state: SessionState) => void;
  /** Called with each ServerNotice. Must not throw. */
  readonly onNotice?: (code: string, message: string) => void;
};
