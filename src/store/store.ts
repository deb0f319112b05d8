import type { Interaction, InteractionState, McpId, NewEvent, Outcome } from "../interaction/event.js";
import type {
  DecisionFilter,
  DecisionWithOutcome,
  RoutingConfigWrite,
  StoredDecision,
  StoredOutcome,
  StoredRoutingChange,
  StoredRoutingConfig,
} from "./decision-row.js";
import type { RegistryStore } from "./registry-rows.js";
import type { SharedTableStore } from "./waiting-reports.js";

/** What the caller of a store should do about a failure; decided from SQLSTATE or the socket error, in fault.ts. */
export type StoreFaultKind =
  /** Something in this batch cannot be stored: bisect. */
  | "poison"
  /** The same batch may pass at once: deadlock, serialization, lock timeout. */
  | "transient"
  /** The store cannot take writes now: wait, then the same batch again. */
  | "outage";

/** The only error that a store's functions throw for reasons outside our code. */
export class StoreFault extends Error {
  override readonly name = "StoreFault";
  readonly kind: StoreFaultKind;
  /** SQLSTATE, or the code of the socket error, or "WATCHDOG". */
  readonly code: string;

  constructor(kind: StoreFaultKind, code: string, message: string, cause?: unknown) {
    super(message, { cause });
    this.kind = kind;
    this.code = code;
  }
}

/** What opening a session found out about its producer. */
export type ProducerOpened = {
  readonly epoch: number;
  readonly resumeSequence: bigint;
  readonly isKnown: boolean;
  /** How long before this the producer had last opened a session or stored an event, by the clock of the database. 0 for a new one. Unit: ms. */
  readonly silentMs: number;
  /** The session that held the epoch before; empty for a new producer. */
  readonly supersededSessionId: string;
};

/** An id looked up by verify; `digest` as in NewEvent. */
export type StoredEventRef = { readonly eventId: string; readonly digest: string; readonly storedAtMs: number };

/** Events of one interaction: rows of the log, and what the merged interaction counts: 0 without one, and where retention may have taken some of its events. */
export type InteractionTally = { readonly interactionId: string; readonly storedEvents: number; readonly mergedEvents: number };

/** One stored event as read back. `body` is the JSON value of NewEvent.body. */
export type StoredEvent = {
  readonly eventId: string;
  readonly mcpId: McpId;
  readonly interactionId: string;
  readonly producerId: string;
  readonly sequence: bigint;
  readonly occurredAtUs: number;
  readonly body: unknown;
  readonly raw: Uint8Array | undefined;
};

/** Some of the events of an interaction. `hasMore`: there are later ones, which the bounds of the page left out. */
export type StoredEventPage = { readonly events: readonly StoredEvent[]; readonly hasMore: boolean };

/** Position in a list, opaque outside store/. */
export type ListCursor = { readonly lastEventAtUs: number; readonly mcpId: string; readonly interactionId: string };

export type InteractionFilter = {
  readonly mcpId: string | undefined;
  readonly state: InteractionState | undefined;
  readonly requestType: string | undefined;
  readonly sessionId: string | undefined;
};

/** Figures over interactions that ended in [startMs, endMs). Durations in ms, undefined when no interaction reported one. */
export type PerformanceMetrics = {
  readonly total: number;
  readonly completed: number;
  readonly failed: number;
  readonly avgMs: number | undefined;
  readonly minMs: number | undefined;
  readonly maxMs: number | undefined;
  readonly p50Ms: number | undefined;
  readonly p95Ms: number | undefined;
  readonly p99Ms: number | undefined;
};

export type InteractionCounts = {
  readonly total: number;
  readonly active: number;
  readonly completed: number;
  readonly failed: number;
  readonly averageMs: number | undefined;
};

/** One weighted route, as stored. */
export type StoredRoute = {
  readonly mcpId: string;
  readonly weight: number;
  readonly state: "active" | "warming" | "degraded" | "draining" | "ejected" | "disconnected";
  /** Absent in publications from before these existed. */
  readonly maxConcurrent?: number;
  readonly priority?: number;
  readonly why: readonly { readonly name: string; readonly contribution: number }[];
};

/** One publication of the routing table, as stored. `digest` is 16 hex digits. */
export type Publication = {
  readonly term: number;
  readonly version: number;
  readonly digest: string;
  readonly routes: readonly StoredRoute[];
  readonly policyId: string;
  readonly reason: string;
  readonly publishedAtMs: number;
};

export type RoutingAckStatus = "received" | "applied" | "rejected" | "expired";

/** The last ack of one producer. `producerId` is the session id for sessions without one. */
export type AckedRoutes = {
  readonly producerId: string;
  readonly mcpId: string;
  readonly status: RoutingAckStatus;
  readonly term: number;
  readonly version: number;
  readonly digest: string;
  readonly detail: string;
  readonly ackedAtMs: number;
  /** The update that it answered; version 0 in rows from before that was recorded. */
  readonly answered: { readonly term: number; readonly version: number; readonly digest: string };
  /** With "rejected": what was wrong. */
  readonly rejection: RoutingRejectionName | undefined;
  readonly verdicts: readonly { readonly mcpId: string; readonly reason: string }[];
  /** From receipt to application, as the client says; from publication to the ack, as the coordinator measured. */
  readonly applyTimeMs: number | undefined;
  readonly ackDelayMs: number | undefined;
};

export type RoutingRejectionName = "content" | "out_of_sync" | "stale_epoch";

/** An MCP rejected a table for its content. `position` orders rejections. */
export type StoredRejection = {
  readonly position: number;
  readonly mcpId: string;
  readonly producerId: string;
  readonly digest: string;
  readonly detail: string;
};

/** What one coordinator tells the others. `seq` grows with each writing, over restarts too; `body` is text of a `format` that only its writer knows. */
export type RouterDigest = {
  readonly coordinatorId: string;
  readonly runId: string;
  readonly seq: number;
  readonly format: number;
  readonly body: string;
};

/** What a coordinator knew when it last saved it. */
export type RouterState = { readonly coordinatorId: string; readonly format: number; readonly body: string };

/** How long ago it was written, by the clock of the database. Unit: ms. */
export type Aged = { readonly ageMs: number };

/** What maintenance did. */
export type MaintenanceReport = {
  readonly partitionsCreated: readonly string[];
  readonly partitionsDropped: readonly string[];
  readonly interactionsDeleted: number;
  /** Days from today to the last partition. */
  readonly daysAhead: number;
  /** How far the coordinator's clock is ahead of the database's, by about as much as the question took. */
  readonly clockAheadMs: number;
};

/**
 * Everything durable. One implementation over postgres.js; `kind` tells what stands behind it.
 * A `signal` is of whoever asked: once it aborts, a statement that has not begun never does, and the call throws its reason.
 * Errors: every function throws StoreFault, and nothing else but that reason and bugs of ours.
 */
export type Store = RegistryStore &
  SharedTableStore & {
    readonly kind: "embedded" | "postgres";
    /** One line for people: which store, where, and what it promises. Holds no password. */
    readonly promise: string;
    /** How many appends may run at once; a producer's events always take the same lane. */
    readonly laneCount: number;
    /**
     * Commits a batch in one statement. Resolves only after COMMIT, with one outcome per event in the order given ("poison" never among them).
     * `events`: 1..commitMaxEvents with distinct (eventId, mcpId). `lane`: 0..laneCount-1.
     */
    readonly append: (lane: number, events: readonly NewEvent[]) => Promise<readonly Outcome[]>;
    /**
     * Bumps the producer's epoch, which fences older sessions, and reads its resume point: one statement. Undefined, and nothing changed, when the
     * producer belongs to another MCP. `isWanted`: asked just before the statement is sent. An opening that nobody waits for any more is not carried out, and throws:
     * it would fence the session that its client has opened elsewhere meanwhile.
     */
    readonly openProducer: (
      producerId: string,
      mcpId: string,
      sessionId: string,
      coordinatorId: string,
      isWanted?: () => boolean,
    ) => Promise<ProducerOpened | undefined>;
    /** Resume point of a producer, or undefined when it is unknown. `mcpId` undefined means any. */
    readonly readProducer: (producerId: string, mcpId: string | undefined) => Promise<bigint | undefined>;
    /** Epochs in force, by producer; unknown producers are missing. At most `limits.fenceCheckMaxCount` ids. */
    readonly readEpochs: (producerIds: readonly string[]) => Promise<ReadonlyMap<string, number>>;
    /** Keeps an event that the store refused. */
    readonly setAside: (event: NewEvent, reason: string) => Promise<void>;
    readonly findEvents: (mcpId: string, eventIds: readonly string[], signal?: AbortSignal) => Promise<readonly StoredEventRef[]>;
    /** Tallies of some interactions of one MCP, of one moment, in any order; those with neither events nor a merged row are missing. */
    readonly tallyInteractions: (
      mcpId: string,
      interactionIds: readonly string[],
      signal?: AbortSignal,
    ) => Promise<readonly InteractionTally[]>;
    readonly readInteraction: (mcpId: string, interactionId: string, signal?: AbortSignal) => Promise<Interaction | undefined>;
    /** Oldest event_id first, strictly after `afterId`, at most `maxCount`, and no more once `limits.pageMaxBytes` of stored content are reached; one always. */
    readonly readEvents: (
      mcpId: string,
      interactionId: string,
      page: { readonly maxCount: number; readonly afterId?: string | undefined },
      signal?: AbortSignal,
    ) => Promise<StoredEventPage>;
    /** Newest last event first, at most `count`, strictly after `cursor`. */
    readonly listInteractions: (
      filter: InteractionFilter,
      count: number,
      cursor: ListCursor | undefined,
      signal?: AbortSignal,
    ) => Promise<readonly Interaction[]>;
    readonly readPerformance: (
      mcpId: string | undefined,
      startMs: number,
      endMs: number,
      signal?: AbortSignal,
    ) => Promise<PerformanceMetrics>;
    readonly countInteractions: (mcpId: string | undefined, signal?: AbortSignal) => Promise<InteractionCounts>;
    /** A random key made once per database, shared by all coordinators on it; for pseudonyms when none is configured. 64 hex digits. */
    readonly instanceKey: () => Promise<string>;
    /** Whether this process may take the next term at once: it holds the lock of the publisher, or no other process can be there. */
    readonly holdLead: () => Promise<boolean>;
    /** Takes a new fencing term for publishing. Publications with an older term are refused from then on. */
    readonly acquireTerm: () => Promise<{ readonly term: number; readonly version: number }>;
    /** Stores a publication; false when a newer term exists, and then nothing is stored. */
    readonly publish: (publication: Publication) => Promise<boolean>;
    /** The newest publication. */
    readonly readPublication: () => Promise<Publication | undefined>;
    /** Upserts the last ack per producer and appends to the ack log. */
    readonly recordAcks: (acks: readonly AckedRoutes[]) => Promise<void>;
    readonly listAcks: (maxCount: number) => Promise<readonly AckedRoutes[]>;
    /** Keeps decisions, at most some hundred at once. One that is stored already stays as it is. */
    readonly recordDecisions: (decisions: readonly StoredDecision[]) => Promise<void>;
    /** Adds what is known of the ends of decisions. At most one of each decision and MCP in a call. */
    readonly recordOutcomes: (outcomes: readonly StoredOutcome[]) => Promise<void>;
    /** `decisionId`: a canonical UUID version 7. */
    readonly readDecision: (decisionId: string, signal?: AbortSignal) => Promise<DecisionWithOutcome | undefined>;
    /** Oldest first, at most `count`, strictly after `afterId`. */
    readonly listDecisions: (
      filter: DecisionFilter,
      count: number,
      afterId: string | undefined,
      signal?: AbortSignal,
    ) => Promise<readonly DecisionWithOutcome[]>;
    readonly readRoutingConfig: () => Promise<StoredRoutingConfig>;
    /** Stores a change of the routing configuration and its audit; undefined, and nothing stored, when another version is in force than `ifVersion`. */
    readonly writeRoutingConfig: (write: RoutingConfigWrite) => Promise<StoredRoutingConfig | undefined>;
    /** Newest first. */
    readonly listRoutingChanges: (maxCount: number) => Promise<readonly StoredRoutingChange[]>;
    /** Writes this coordinator's digest over its older one, and reads those of the others that are younger than `maxAgeMs`, in any order. */
    readonly exchangeDigests: (own: RouterDigest, maxAgeMs: number) => Promise<readonly (RouterDigest & Aged)[]>;
    /** Takes a digest back, unless a later run has replaced it. */
    readonly withdrawDigest: (coordinatorId: string, runId: string) => Promise<void>;
    /**
     * Writes what this coordinator knows over what it knew before, and forgets what is older than `maxAgeMs`, and what others knew beyond the newest
     * `limits.routerStatesKeptMax`.
     */
    readonly saveRouterState: (state: RouterState, maxAgeMs: number) => Promise<void>;
    /** That of this coordinator, if there is one, and then the newest of the others, newest first: `maxCount` in all. */
    readonly readRouterStates: (coordinatorId: string, maxCount: number) => Promise<readonly (RouterState & Aged)[]>;
    /** Rejections for content after `position` (0: of the last day), oldest first, at most `limits.rejectionPageMax`. */
    readonly readRejections: (position: number) => Promise<readonly StoredRejection[]>;
    /**
     * Creates partitions ahead, drops partitions and interactions past retention. Safe to run at any time, by any number of coordinators.
     * `nowMs` is the coordinator's time, `databaseMs` the database's, which is asked when it is left out: what is past retention is so by both.
     */
    readonly maintain: (nowMs: number, databaseMs?: number) => Promise<MaintenanceReport>;
    /** Answers when the store can write; throws StoreFault otherwise. */
    readonly ping: () => Promise<void>;
    /** Ends all connections, and the embedded server. */
    readonly close: () => Promise<void>;
  };
