import type { Principal } from "../auth/principal.js";
import type { Ingest } from "../ingest/ingest.js";
import type { McpConfigAnswer, VersionedMcpConfig } from "../interaction/mcp-config.js";
import type { Clock } from "../platform/clock.js";
import type { CoordinatorError } from "../platform/errors.js";
import type { Logger } from "../platform/log.js";
import type { Rng } from "../platform/rng.js";
import type { AckedTable, PublishedRoutes } from "../smart-router/table.js";
import type { ProducerOpened } from "../store/store.js";
import type { Greeting } from "../wire/frame.js";
import type { ServerFrame } from "../wire/server-frame.js";
import type { SessionSettings } from "../wire/session-terms.js";
import type { Authenticate } from "./credential.js";
import type { FleetWatch } from "./presence.js";
import type { Session, SessionEvent, Step } from "./session.js";
import type { StreamSession } from "./stream-session.js";
import type { WeightPlane } from "./weight-plane.js";
import type { Grant } from "./window.js";

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
  /** Tells the peer to open no more streams on this connection (GOAWAY); those that are open go on. Idempotent. */
  readonly retireConnection: () => void;
  /** Stands for the connection under the stream: the same object for every stream on it; undefined where that cannot be told. */
  readonly connection: object | undefined;
};

/** Gives a producer its next epoch. Undefined when it belongs to another MCP. Throws, and changes nothing, when `isWanted` says no before its turn has come. */
export type OpenProducer = (
  producerId: string,
  mcpId: string,
  sessionId: string,
  isWanted: () => boolean,
) => Promise<ProducerOpened | undefined>;

/** What a producer did with the configuration of its MCP. */
export type AckedMcpConfig = { readonly producerId: string; readonly mcpId: string; readonly answer: McpConfigAnswer };

/** What a session needs of the registry. None of it waits. */
export type SessionRegistry = {
  /** The refusal of a version that this coordinator does not accept. Empty means that none was said. */
  readonly judgeVersion: (version: string) => CoordinatorError | undefined;
  /** A session has begun that speaks for this MCP: a registration by itself. */
  readonly greeted: (mcpId: string, version: string) => void;
  /** The configuration of an MCP; undefined while it is not known here. */
  readonly configOf: (mcpId: string) => VersionedMcpConfig | undefined;
  readonly configAcked: (acked: AckedMcpConfig) => void;
};

export type SessionDeps = {
  /** Absent where no fleet is kept. */
  readonly registry?: SessionRegistry;
  readonly ingest: Ingest;
  readonly openProducer: OpenProducer;
  readonly currentRoutes: () => PublishedRoutes | undefined;
  readonly recordRoutingAck: (acked: AckedTable) => void;
  /** What all sessions share about the tables pushed to them. */
  readonly plane: WeightPlane;
  /** Judges the key of a CredentialRefresh. */
  readonly authenticate: Authenticate;
  /** The credential of the session was replaced. */
  readonly credentialChanged: (session: StreamSession, before: Principal) => void;
  /** Over how long sessions that are sent away together come back. Unit: ms. */
  readonly reconnectSpreadMs: () => number;
  /** What every session is granted now. */
  readonly grant: () => Grant;
  /** Says Hello for a producer and names the session before: ends that one, if it is here. */
  readonly resumes: (session: StreamSession, greeting: Greeting) => void;
  /** The session has a producer: fences an older session of the same one. */
  readonly greeted: (session: StreamSession) => void;
  readonly released: (session: StreamSession) => void;
  /** Is told which MCPs have a session here. */
  readonly watch?: FleetWatch;
  /** Sees every step of every session before its effects are carried out: for measuring which edges of the table a run has taken. Must not throw. */
  readonly stepped?: (before: Session, event: SessionEvent, step: Step) => void;
  readonly coordinatorId: string;
  /** What new sessions are given. */
  readonly settings: () => SessionSettings;
  readonly clock: Clock;
  readonly rng: Rng;
  readonly log: Logger;
};
