import { CoordinatorError } from "../platform/errors.js";
import { limits } from "../platform/limits.js";
import { StoreFault } from "./store.js";

/**
 * The only funnel from whatever a handler threw to what its caller hears: our own refusals pass, a failing store is `unavailable`, anything else is a
 * bug of ours.
 */
export function refusalOf(thrown: unknown): CoordinatorError {
  if (!(thrown instanceof StoreFault) || thrown.kind === "poison") return CoordinatorError.from(thrown);
  switch (thrown.code) {
    case "POOL_BUSY":
      return new CoordinatorError("busy", "too much waits for the database", {
        reason: "STORE_BUSY",
        retryAfterMs: limits.storeBackoff.maxMs,
        cause: thrown,
      });
    case "57014": // SQLSTATE query_canceled: the statement timeout, unless an administrator
      return new CoordinatorError("late", `the database took longer for this than the ${limits.statementTimeoutMs} ms that it may`, {
        reason: "QUERY_TOO_LONG",
        cause: thrown,
      });
  }
  const isReadOnly = thrown.code === "25006"; // SQLSTATE read_only_sql_transaction
  return new CoordinatorError("unavailable", isReadOnly ? "the store refuses writes" : "the store cannot be reached", {
    reason: isReadOnly ? "STORE_READ_ONLY" : "STORE_UNAVAILABLE",
    retryAfterMs: limits.storeBackoff.maxMs,
    cause: thrown,
  });
}
