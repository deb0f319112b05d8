import { isPostgresUrl, postgresUrlPattern } from "../config/url-rules.js";
import { CoordinatorError } from "../platform/errors.js";
import type { StoreFault } from "./store.js";

/** Where a database is. */
export type Target = { readonly kind: "url"; readonly url: string } | { readonly kind: "socket"; readonly path: string };

/**
 * The target of a database URL. Several hosts may be given, with commas between.
 * Errors: `invalid` when it is not a URL of Postgres; the text of the URL is not repeated, since it may hold a password.
 */
export function parseTarget(databaseUrl: string): Target {
  if (!isPostgresUrl(databaseUrl)) {
    throw new CoordinatorError("invalid", "the database URL must look like postgres://user:password@host:5432/database", {
      reason: "FIELD_VIOLATION",
    });
  }
  return { kind: "url", url: databaseUrl };
}

/** The target for people: hosts, port and database, without user and password. */
export function describeTarget(target: Target): string {
  if (target.kind === "socket") return target.path;
  const groups = postgresUrlPattern.exec(target.url)?.groups;
  return `${groups?.hosts || "localhost"}${groups?.database ?? ""}`;
}

/** Why a first connection failed, in words that help the operator, with no secret in them. */
export function connectError(target: Target, fault: StoreFault): CoordinatorError {
  const where = describeTarget(target);
  const details = { reason: "STORE_UNAVAILABLE", cause: fault } as const;
  switch (fault.code) {
    case "28P01":
    case "28000":
      return new CoordinatorError("failed_precondition", `the database at ${where} refuses this user or password`, details);
    case "3D000":
      return new CoordinatorError("failed_precondition", `the database at ${where} does not exist; create it first`, details);
    case "42501":
      return new CoordinatorError("failed_precondition", `the database user at ${where} lacks a right: ${fault.message}`, details);
    case "25006":
      return readOnlyError(target);
    case "08P01":
      return new CoordinatorError(
        "failed_precondition",
        `what answers at ${where} does not take the settings of a session: ${fault.message}; a connection pooler must not stand before the database`,
        details,
      );
    case "ECONNREFUSED":
      return new CoordinatorError("unavailable", `no database server listens at ${where}`, details);
    case "ENOENT":
      return new CoordinatorError("unavailable", `there is no socket of a database server at ${where}`, details);
    case "ENOTFOUND":
    case "EAI_AGAIN":
      return new CoordinatorError("unavailable", `the host name of the database at ${where} cannot be resolved`, details);
    case "CONNECT_TIMEOUT":
    case "WATCHDOG":
      return new CoordinatorError("unavailable", `the database at ${where} does not answer`, details);
    default:
      return new CoordinatorError("unavailable", `the database at ${where} cannot be used: ${fault.message} (${fault.code})`, details);
  }
}

/** The refusal of a database that takes no writes. */
export function readOnlyError(target: Target): CoordinatorError {
  const text = `the database at ${describeTarget(target)} is read-only: it is a standby or has default_transaction_read_only set; use the primary`;
  return new CoordinatorError("failed_precondition", text, { reason: "STORE_READ_ONLY" });
}

/** The refusal of a database whose sessions do not keep what they were told at their beginning: limits of time would not hold, nor locks belong to anybody. */
export function pooledError(target: Target): CoordinatorError {
  const text = `the sessions of the database at ${describeTarget(target)} do not keep their settings: connect to it without a connection pooler in between`;
  return new CoordinatorError("failed_precondition", text, { reason: "STORE_UNAVAILABLE" });
}
