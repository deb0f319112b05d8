import { CoordinatorError } from "../platform/errors.js";
import { StoreFault, type StoreFaultKind } from "./store.js";

/** Every class begins with a digit but these four; EPIPE and EPERM have five letters too. */
const sqlState = /^(?:[0-9][0-9A-Z]|F0|HV|P0|XX)[0-9A-Z]{3}$/;

/** Exact SQLSTATEs first, then their two-character classes; what is in neither is an outage. Source: PostgreSQL manual, appendix A. */
const kinds: Readonly<Record<string, StoreFaultKind>> = {
  "22": "poison", // data exception: NUL, lone surrogate, number or date out of range, malformed JSON
  "23": "poison", // constraint violation, among them "no partition of relation found for row"
  "54": "poison", // program limit, for example an index row too large
  "26000": "transient", // the server forgot a prepared statement
  "40001": "transient", // serialization failure
  "40P01": "transient", // deadlock
  "55P03": "transient", // lock timeout
  "57014": "transient", // statement timeout or cancelled
  "25P03": "transient", // we stood still in a transaction: it is undone
};

/** Codes of postgres.js that mean a mistake in our own call. */
const ownMistakes: ReadonlySet<string> = new Set(["UNDEFINED_VALUE", "MAX_PARAMETERS_EXCEEDED", "NOT_TAGGED_CALL", "COPY_IN_PROGRESS"]);

/**
 * What a thrown value means to whoever wanted the statement done. The message is the server's, without row contents.
 * Refusals of ours, and errors without a code, come back as they are: the latter not come from the database or the network and are bugs of ours.
 */
export function faultOf(thrown: unknown): unknown {
  const error = rootOf(thrown);
  if (error instanceof StoreFault || error instanceof CoordinatorError || !(error instanceof Error)) return error;
  const code = codeOf(error);
  if (code === undefined || ownMistakes.has(code) || code.startsWith("ERR_INVALID_ARG")) return error;
  return new StoreFault(kindOf(code), code, error.message === "" ? code : error.message, error);
}

/** Connection exceptions, shutdowns, a read-only server, a transaction that was idle or took too long: the server has ended the session, or should. */
const spentStates = /^(?:08|57P|25006|25P03|25P04)/;

/**
 * Whether a new connection may fare better than this one, and than its neighbours in the pool: it is gone, or its server has become a standby, or its
 * session was begun while the database was read-only.
 */
export function isConnectionSpent(fault: StoreFault): boolean {
  const { code } = fault;
  return !sqlState.test(code) || spentStates.test(code);
}

function kindOf(code: string): StoreFaultKind {
  if (!sqlState.test(code)) return "outage";
  return kinds[code] ?? kinds[code.slice(0, 2)] ?? "outage";
}

/** Drizzle wraps the driver's error; a connection attempt to several addresses throws all of them together. */
function rootOf(thrown: unknown): unknown {
  if (thrown instanceof AggregateError && codeOf(thrown) === undefined) return rootOf(thrown.errors[0]);
  const isWrapper = thrown instanceof Error && codeOf(thrown) === undefined && thrown.cause instanceof Error;
  return isWrapper ? rootOf(thrown.cause) : thrown;
}

function codeOf(error: Error): string | undefined {
  return "code" in error && typeof error.code === "string" ? error.code : undefined;
}
