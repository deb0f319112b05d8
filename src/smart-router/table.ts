/** Names of factors, by the rule that gives them; GetRoutes and `mcp-coordinator routes` show them. */
export const factorNames = {
  capacity: true,
  latency: true,
  errors: true,
  quality: true,
  slow_start: true,
  health: true,
  operator: true,
  throughput: true,
  utilization: true,
  fleet_mean: true,
} as const;

/** Why a weight is what it is: a natural logarithm; the contributions of a route sum to ln of its raw weight. */
export type WeightFactor = { readonly name: keyof typeof factorNames; readonly contribution: number };

/** What a route shows of where its MCP stands. The last three have no weight. */
export type RouteState = "active" | "warming" | "degraded" | "draining" | "ejected" | "disconnected";

/** Share of one MCP. */
export type Route = {
  readonly mcpId: string;
  /** Basis points; the routes of a table sum to 10 000, or are all 0 when nobody may be chosen. */
  readonly weight: number;
  readonly state: RouteState;
  /** Requests that it may have at once; 0 where nothing is known. */
  readonly maxConcurrent: number;
  /** Tier; 0 takes traffic first. */
  readonly priority: number;
  /** Empty where the state leaves no weight. */
  readonly why: readonly WeightFactor[];
};

/** Routes of all MCPs of the fleet, ascending by mcpId. */
export type RouteTable = readonly Route[];

/** Why a table was published. With an MCP: what happened to it, and " +n" when the same happened to n more. */
export type PublishReason = "initial" | "change" | "membership" | "refresh" | `${StandingNews}:${string}`;

/** What can happen to an MCP that moves its whole share at once. */
export type StandingNews = "ejected" | "drain" | "disconnected" | "restored";

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

/** What is wrong with an update that was rejected; see RoutingRejection in the contract. */
export type Rejection = "content" | "out_of_sync" | "stale_epoch";

/** Names a table. `digest` is 16 hex digits. */
export type AppliedRoutes = { readonly term: number; readonly version: number; readonly digest: string };

/** Why one target was refused; an empty mcpId means the table as a whole. */
export type RouteVerdict = { readonly mcpId: string; readonly reason: string };

/** A client's answer to one update. */
export type RoutingAck = {
  /** Of the update it answers. */
  readonly nonce: string;
  readonly status: ApplyStatus;
  /** What is in force at the client now; undefined when it told nothing usable. */
  readonly applied: AppliedRoutes | undefined;
  /** Targets that the client could not apply, at most `limits.routeVerdictMax`. */
  readonly rejected: readonly RouteVerdict[];
  /** From receipt to application; undefined when it was not told. */
  readonly applyTimeMs: number | undefined;
  /** With "rejected"; an older client that does not say means the content. */
  readonly rejection: Rejection;
};

/** Requests that a client gave to one MCP since its last heartbeat. */
export type ObservedShare = { readonly mcpId: string; readonly requests: number };
