import type { TransportName } from "../../../src/client/index.js";

/** What a reporting process is to do; the first argument of its command line, as JSON. */
export type ReportingPlan = {
  readonly mcpId: string;
  readonly spool: string;
  /** Where it notes what it takes and what is durable; see ledger.ts. */
  readonly ledger: string;
  /** First and last interaction that it reports; three events each. */
  readonly first: number;
  readonly last: number;
  /** So many interactions are reported as fast as the spool takes them, the rest at `perSecond` events a second. */
  readonly burst: number;
  readonly perSecond: number;
  readonly grpcTarget: string;
  readonly coordinatorUrl: string;
  readonly redisUrl: string;
  readonly databaseUrl: string;
};

/** How a reporting process stands, since its start. */
export type Standing = {
  readonly kind: "standing";
  readonly transport: TransportName | undefined;
  readonly reported: number;
  readonly full: number;
  readonly refused: number;
  readonly spoolKind: "opening" | "disk" | "memory";
  readonly waiting: number;
  readonly setAside: number;
  readonly droppedProgress: number;
  readonly deferred: number;
  /** Events resolved, by transport and outcome: `grpc stored`. */
  readonly resolved: Readonly<Record<string, number>>;
  /** Report to verdict of the events that were reported after the first verdict.     Units: ms. */
  readonly liveP99Ms: number;
  readonly liveMaxMs: number;
};

/** Another transport is in use.     Units: wall time in ms. */
export type Chosen = {
  readonly kind: "chosen";
  readonly atMs: number;
  readonly transport: TransportName | undefined;
  readonly reason: string;
};

/** The first event since the last choice was settled by the transport of that choice.     Units: wall time in ms. */
export type Working = { readonly kind: "working"; readonly atMs: number; readonly transport: TransportName };

/** What was reported before the first verdict is settled. Of the events of the burst, `inversions` were settled by the transport that had settled a later one before;
 * `overtaken` counts those too that another transport was ahead of, which was left with events on their way. */
export type Drained = {
  readonly kind: "drained";
  readonly events: number;
  /** From the first verdict to the last.     Units: ms. */
  readonly ms: number;
  readonly inversions: Readonly<Partial<Record<TransportName, number>>>;
  readonly overtaken: number;
};

export type ReportingLine =
  | Standing
  | Chosen
  | Working
  | Drained
  | { readonly kind: "trouble"; readonly message: string }
  | { readonly kind: "done" };
