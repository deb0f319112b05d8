/** Named by what the caller should do next; the one table below says the rest. */
export type ErrorCode =
  | "invalid"
  | "unauthenticated"
  | "forbidden"
  | "not_found"
  | "failed_precondition"
  | "conflict"
  | "busy"
  | "unavailable"
  | "late"
  | "gone"
  | "broken";

/** What a code means on the wire. `grpc` is a canonical status number; `retry` tells whether the same bytes may succeed later. */
export type ErrorMeaning = {
  readonly grpc: number;
  readonly http: number;
  readonly retry: "never" | "later" | "if_idempotent";
  readonly nextStep: string;
};

/** The one table from code to gRPC status, HTTP status and retry rule. docs/errors.md repeats it; a test compares both. */
export const errorTable = {
  invalid: { grpc: 3, http: 400, retry: "never", nextStep: "change the request" },
  unauthenticated: { grpc: 16, http: 401, retry: "never", nextStep: "send a valid key" },
  forbidden: { grpc: 7, http: 403, retry: "never", nextStep: "use a key that may do this" },
  not_found: { grpc: 5, http: 404, retry: "never", nextStep: "check the name" },
  failed_precondition: { grpc: 9, http: 400, retry: "never", nextStep: "bring the system into the named state first" },
  conflict: { grpc: 6, http: 409, retry: "never", nextStep: "read what is stored, then decide" },
  busy: { grpc: 8, http: 429, retry: "later", nextStep: "send the same bytes again after the delay" },
  unavailable: { grpc: 14, http: 503, retry: "if_idempotent", nextStep: "send the same bytes again after the delay" },
  late: { grpc: 4, http: 504, retry: "if_idempotent", nextStep: "send again with a longer deadline" },
  gone: { grpc: 11, http: 410, retry: "never", nextStep: "start again from the oldest" },
  broken: { grpc: 13, http: 500, retry: "never", nextStep: "report a bug of the coordinator" },
} as const satisfies Record<ErrorCode, ErrorMeaning>;

/** A refusal's stable word for programs. Each is documented in docs/errors.md; a test compares both. */
export type ErrorReason = keyof typeof errorReasons;

/** What each reason means, for docs/errors.md and for people. */
export const errorReasons = {
  FIELD_VIOLATION: "a field of the request breaks a rule; BadRequest names each",
  UNDECODABLE_FRAME: "the bytes are not a message of the declared type",
  MESSAGE_TOO_LARGE: "the message exceeds the limit of the transport",
  TOO_MANY_EVENTS: "more events in one message than allowed",
  NESTED_TOO_DEEP: "the message nests deeper than allowed",
  UNSUPPORTED_VERSION: "no common protocol version; metadata has min and max",
  KEY_MISSING: "the server has keys and the call carries none",
  KEY_UNKNOWN: "the key is not known",
  KEY_EXPIRED: "the key has passed its expiry",
  KEY_DISABLED: "the key is switched off",
  MCP_NOT_ALLOWED: "the key may not act for this mcp_id",
  PRODUCER_NOT_ALLOWED: "the producer_id belongs to another MCP",
  INTERACTION_NOT_FOUND: "no event of this interaction is stored",
  PAGE_TOKEN_INVALID: "the page token is not one that this service gave out",
  SLOW_CONSUMER: "acknowledgements could not be written for too long",
  WINDOW_OVERRUN: "a client that promised flow control went on sending above a smaller window for too long",
  HELLO_TIMEOUT: "the stream was opened and nothing was sent",
  HEARTBEAT_MISSED: "a client that promised heartbeats sent none",
  HELLO_REPEATED: "a second Hello on one stream",
  SESSIONS_EXHAUSTED: "the coordinator holds as many sessions as it may; QuotaFailure says how many",
  KEY_SESSIONS_EXHAUSTED: "the key has as many sessions on this coordinator as one key may; QuotaFailure says how many",
  CONNECTION_QUERIES_EXHAUSTED:
    "the connection has as many queries without an answer as one may; take the answers, or open another; QuotaFailure says how many",
  CONNECTION_SESSIONS_EXHAUSTED: "the connection carries as many sessions as one may; open another; QuotaFailure says how many",
  RATE_EXCEEDED: "more requests than the caller may make in this time; wait as told",
  NOT_SERVED: "nothing is served at this path, or not with this method; `allow` says with which",
  CONTENT_TYPE_UNSUPPORTED: "the body is not of a type, encoding or charset that is read: send application/json, plain or gzip",
  QUEUE_FULL: "the coordinator holds as many unsettled events as it may",
  STORE_UNAVAILABLE: "the store cannot be reached",
  STORE_BUSY: "as many statements wait for the database as may, or this one waited for too long",
  QUERY_TOO_LONG: "the database took longer for this than a statement may: ask for one MCP, or for a shorter time",
  STORE_READ_ONLY: "the store refuses writes",
  COORDINATOR_DRAINING: "the coordinator shuts down; reconnect",
  NO_ELIGIBLE_MCP: "no MCP that could serve the request is connected and fit; metadata counts why not",
  FLEET_FULL: "every MCP that could serve the request has as many requests as it may",
  POLICY_NOT_FOUND: "no routing policy has this id; the message names those that there are",
  CALL_CANCELLED: "the caller went away before the answer",
  ADDRESS_IN_USE: "another process listens on the address",
  ADDRESS_UNUSABLE: "the address cannot be bound on this machine",
  SERVICE_UNKNOWN: "no service of this name is served",
  WATCHERS_EXHAUSTED: "the coordinator holds as many watchers of this kind (health, registrations, routes) as it may",
  DECISION_UNKNOWN: "no such decision, or no longer; only the coordinator that made it takes it back",
  DECISION_FOREIGN: "the decision was made for another key and names another MCP than the key's",
  DECISION_AUDITED: "another audit of the decision counts already; metadata has its quality",
  OPERATOR_ONLY: "the key is bound to one MCP; this needs a key for all",
  CONFIG_UNREADABLE: "a newer coordinator stored the routing configuration in a form that this one cannot read: change it there",
  CONFIG_CHANGED: "the configuration has changed since the named version; metadata has the version in force",
  DEADLINE_EXCEEDED: "the deadline passed before the answer",
  MCP_NOT_FOUND: "no registration has this mcp_id",
  MCP_DEREGISTERED: "the registration has ended; register again for another mcp_id",
  LEASE_DEAD: "the lease has ended because no sign of life came; register again, which gives back the same mcp_id",
  VERSION_NOT_ACCEPTED: "this coordinator does not accept the MCP's version; metadata has accepted and upgrade_hint",
  CONFIG_VERSION_MISMATCH: "the configuration is no longer the version that was expected; metadata has the version in force",
  REVISION_GONE: "what changed since this revision is no longer known; watch from 0",
  REGISTRATIONS_EXHAUSTED: "there are as many registrations as there may be; QuotaFailure says how many",
  SPOOL_IN_USE: "another process has the spool open; give each process a directory of its own",
  SPOOL_NEWER: "a newer version wrote the spool; metadata has both formats, and nothing was touched",
  SPOOL_UNUSABLE: "the path cannot hold a spool: no permission, a file, or a directory of something else; the message says which",
  SPOOL_DISK_FULL: "the disk under the spool is full; what was not durable yet is lost, what was is not",
  SPOOL_DISK_FAILED: "the disk under the spool refuses; what was not durable yet is lost",
  INTERNAL: "a bug of the coordinator; its log has the cause",
} as const satisfies Record<string, string>;

/** One fault of one field of a request. Same words as in the wire contract's FieldViolation. */
export type FieldFault = { readonly field: string; readonly reason: string; readonly description: string };

/** A quota that is used up, in the words of google.rpc.QuotaFailure: of what or whom, and how much there is. */
export type Quota = { readonly subject: string; readonly description: string };

/** Everything about a refusal besides its code and message. */
export type ErrorDetails = {
  readonly reason: ErrorReason;
  readonly retryAfterMs?: number;
  readonly fields?: readonly FieldFault[];
  readonly metadata?: Readonly<Record<string, string>>;
  readonly quota?: Quota;
  readonly cause?: unknown;
};

/** A refusal or failure that a caller sees. `message` is for people and holds no secret; `cause` goes to the log and never on the wire. */
export class CoordinatorError extends Error {
  override readonly name = "CoordinatorError";
  readonly code: ErrorCode;
  readonly reason: ErrorReason;
  readonly retryAfterMs: number | undefined;
  readonly fields: readonly FieldFault[];
  readonly metadata: Readonly<Record<string, string>>;
  readonly quota: Quota | undefined;

  constructor(code: ErrorCode, message: string, details: ErrorDetails) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.code = code;
    this.reason = details.reason;
    this.retryAfterMs = details.retryAfterMs;
    this.fields = details.fields ?? [];
    this.metadata = details.metadata ?? {};
    this.quota = details.quota;
  }

  /** The only funnel from whatever was thrown: ours passes, anything else becomes `broken` with its cause kept for the log. */
  static from(thrown: unknown): CoordinatorError {
    if (thrown instanceof CoordinatorError) return thrown;
    return new CoordinatorError("broken", "internal error", { reason: "INTERNAL", cause: thrown });
  }
}
