/** Why a weight is what it is: a natural logarithm; the contributions of a route sum to ln of its raw weight. */
export type WeightFactor = { readonly name: "throughput" | "utilization" | "errors" | "fleet_mean"; readonly contribution: number };

/** Share of one MCP. */
export type Route = {
  readonly mcpId: string;
  /** Basis points; the routes of a table sum to 10 000. */
  readonly weight: number;
  readonly state: "active" | "warming";
  readonly why: readonly WeightFactor[];
};

/** Routes of all MCPs that may be chosen, ascending by mcpId. */
export type RouteTable = readonly Route[];

/** Why a table was published. */
export type PublishReason = "initial" | "change" | "membership" | "refresh";

/** A table as it was committed and pushed. Compare (term, version) in that order. */
export type PublishedRoutes = {
  readonly term: number;
  readonly version: number;
  /** 16 hex digits; see RoutingUpdate.digest in the contract. */
  readonly digest: string;
  readonly table: RouteTable;
  readonly policyId: string;
  readonly reason: PublishReason;
  readonly publishedAtMs: number;
  readonly validForMs: number;
};

/** The newest table, for everyone who reads routes. */
export type RouteBook = {
  readonly current: () => PublishedRoutes | undefined;
  /** Calls `seen` with every newer table, after it is committed. Returns how to stop. `seen` must not throw. */
  readonly subscribe: (seen: (routes: PublishedRoutes) => void) => () => void;
};

/** What a client did with a table. */
export type ApplyStatus = "received" | "applied" | "rejected" | "expired";

/** Names a table. `digest` is 16 hex digits. */
export type AppliedRoutes = { readonly term: number; readonly version: number; readonly digest: string };

/** A client's answer to one update. */
export type RoutingAck = {
  /** Of the update it answers. */
  readonly nonce: string;
  readonly status: ApplyStatus;
  /** What is in force at the client now; undefined when it told nothing usable. */
  readonly applied: AppliedRoutes | undefined;
  /** Targets that the client could not apply, at most `limits.routeVerdictMax`. */
  readonly rejected: readonly { readonly mcpId: string; readonly reason: string }[];
  /** From receipt to application; undefined when it was not told. */
  readonly applyTimeMs: number | undefined;
};
