import type { Ingest } from "../ingest/ingest.js";
import type { Clock } from "../platform/clock.js";
import type { CoordinatorError } from "../platform/errors.js";
import type { Logger } from "../platform/log.js";
import type { Rng } from "../platform/rng.js";
import type { PublishedRoutes, RoutingAck } from "../smart-router/table.js";
import type { ProducerOpened } from "../store/store.js";
import type { ServerFrame, SessionSettings } from "../wire/frame.js";
import type { Session, SessionEvent, Step } from "./session.js";
import type { StreamSession } from "./stream-session.js";

/**
 * What carries the frames: one gRPC stream, cut to what a session needs. After `pause` no frame is delivered until `resume`. After `end`, `fail` or
 * `reset` nothing may be written.
 */
export type Transport = {
  /** False when the transport wants no more frames before it says `unblocked`. */
  readonly write: (frame: ServerFrame) => boolean;
  readonly pause: () => void;
  readonly resume: () => void;
  readonly end: () => void;
  readonly fail: (error: CoordinatorError) => void;
  readonly reset: () => void;
};

/** What a routing ack came to, for the log of acks. */
export type AckedTable = {
  readonly producerId: string;
  readonly mcpId: string;
  readonly ack: RoutingAck;
};

export type SessionDeps = {
  readonly ingest: Ingest;
  /** Undefined when the producer belongs to another MCP. */
  readonly openProducer: (producerId: string, mcpId: string, sessionId: string) => Promise<ProducerOpened | undefined>;
  readonly currentRoutes: () => PublishedRoutes | undefined;
  readonly recordRoutingAck: (acked: AckedTable) => void;
  /** The session has a producer: fences an older session of the same one. */
  readonly greeted: (session: StreamSession) => void;
  readonly released: (session: StreamSession) => void;
  /** Sees every step of every session before its effects are carried out: for measuring which edges of the table a run has taken. Must not throw. */
  readonly stepped?: (before: Session, event: SessionEvent, step: Step) => void;
  readonly coordinatorId: string;
  readonly settings: SessionSettings;
  readonly clock: Clock;
  readonly rng: Rng;
  readonly log: Logger;
};
