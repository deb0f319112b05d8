import type { NewEvent, Outcome } from "../interaction/event.js";

/** A row of the shared table. `mcpId` and `interactionId` are cut where they are too long to be ids. */
export type WaitingReport = {
  /** A bigint as text. */
  readonly id: string;
  readonly mcpId: string;
  readonly interactionId: string;
  /** Length of `data` as UTF-8. */
  readonly dataBytes: number;
  /** JSON text; undefined when it is longer than was asked for. */
  readonly data: string | undefined;
};

/** What becomes of a row that was taken. */
export type ReportFate =
  /** Its event is in the store, or nobody wants it: the row goes. */
  | { readonly kind: "resolved" }
  /** The row goes to the dead letters. `eventId` is empty when it has none that can be read. */
  | { readonly kind: "aside"; readonly eventId: string; readonly reason: string }
  /** The row stays, to be taken again. */
  | { readonly kind: "stays" };

/** Rows under a lock, and the way to store events in the transaction that holds it. */
export type TakenReports = {
  /** Oldest id first. */
  readonly reports: readonly WaitingReport[];
  /** Store.append, but committed with the fates. A batch that is refused leaves the transaction as it was. Errors: StoreFault. */
  readonly append: (events: readonly NewEvent[]) => Promise<readonly Outcome[]>;
};

export type TakeBounds = {
  /** Rows up to this id are passed over; "0" for none. */
  readonly afterId: string;
  readonly maxRows: number;
  /** Bytes of `data` over all rows; at least one row is taken. */
  readonly maxBytes: number;
  readonly reportMaxBytes: number;
};

/** How a drain went on: how many rows were taken, the last of their ids, and whether more wait behind it. */
export type TakenRange = { readonly count: number; readonly lastId: string; readonly hasMore: boolean };

/** Rows that wait: how many, up to limits.tableDepthMaxCount, and the age of the oldest by the clock of the database (0 without one). Unit: ms. */
export type Backlog = { readonly waiting: number; readonly oldestMs: number };

/** The shared table: producers insert rows, coordinators take them out. Errors: StoreFault. */
export type SharedTableStore = {
  /**
   * Takes rows that wait and that nobody else is taking, oldest first, and does with each what `decide` says, all in one transaction: when it resolves, events and
   * fates are committed; when it rejects, nothing has happened, or all of it has (the answer to COMMIT may be lost). `decide` names a fate for every row.
   */
  readonly takeReports: (
    bounds: TakeBounds,
    decide: (taken: TakenReports) => Promise<ReadonlyMap<WaitingReport, ReportFate>>,
  ) => Promise<TakenRange>;
  readonly readBacklog: () => Promise<Backlog>;
};
