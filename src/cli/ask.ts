import { type Connection, createConnection } from "../client/connect.js";
import { explainUnreachable } from "../client/transports/explain.js";
import { type EndpointOptions, endpointOf } from "./endpoint.js";
import { CliFailure, type ExitName } from "./exit-code.js";
import type { CliContext } from "./output.js";

/** How long one question may take. Reads of the decision log take milliseconds for a page. */
export const askDeadlineMs = 30_000;

const unauthenticated = 16;

/** gRPC status to exit code; all others are `failed`. */
const exitOfCode: Readonly<Record<number, ExitName>> = {
  3: "usage",
  4: "unavailable",
  5: "not_found",
  7: "refused",
  8: "unavailable",
  14: "unavailable",
  [unauthenticated]: "refused",
};

/** Asks a coordinator over a connection of its own.     Errors: CliFailure in the coordinator's words. */
export async function askCoordinator<T>(
  context: CliContext,
  options: EndpointOptions,
  ask: (connection: Connection) => Promise<T>,
): Promise<T> {
  const connection = createConnection(endpointOf(context, options));
  try {
    return await ask(connection);
  } catch (thrown) {
    // Translates: what the shell should be told about a call that failed.
    throw failureOf(thrown, options.target);
  } finally {
    connection.close();
  }
}

/** What the shell is told about a call that failed with a gRPC status. Anything else stays as it is. */
export function failureOf(thrown: unknown, target: string): unknown {
  if (!(thrown instanceof Error && "code" in thrown && typeof thrown.code === "number")) return thrown;
  const details = "details" in thrown && typeof thrown.details === "string" ? thrown.details : thrown.message;
  const said = explainUnreachable({ code: thrown.code, details }) ?? details;
  const words = thrown.code === unauthenticated ? `${said}; give a valid key with --key-file, or in MCPC_KEY` : said;
  return new CliFailure(exitOfCode[thrown.code] ?? "failed", `${target}: ${words}`, thrown);
}

/** A whole number in a flag.     Errors: CliFailure `usage`. */
export function wholeNumber(flag: string, text: string, min: number, max: number): number {
  const value = Number(text);
  if (/^-?\d+$/.test(text) && value >= min && value <= max) return value;
  throw new CliFailure("usage", `${flag} must be a whole number from ${min} to ${max}, not "${text}"`);
}

const spanPattern = /^(\d{1,6})(s|m|h|d)$/;
const spanMs: Readonly<Record<string, number>> = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** A time in a flag: an ISO 8601 time, or how long ago ("90s", "15m", "24h", "7d").     Units: ms since the Unix epoch. Errors: CliFailure `usage`. */
export function timeOf(flag: string, text: string, nowMs: number): number {
  const span = spanPattern.exec(text);
  if (span !== null) return nowMs - Number(span[1]) * (spanMs[span[2] ?? ""] ?? 0);
  const at = /^\d{4}-\d\d-\d\d/.test(text) ? Date.parse(text) : Number.NaN;
  if (Number.isFinite(at)) return at;
  throw new CliFailure("usage", `${flag} must be a time such as 2026-01-31T12:00:00Z, or how long ago, such as 15m or 24h; not "${text}"`);
}

/** For options that may be given several times. */
export function collect(value: string, before: readonly string[] = []): readonly string[] {
  return [...before, value];
}

/** Rows under headings, each column as wide as its widest text; numbers to the right. */
export function table(rows: readonly (readonly string[])[]): readonly string[] {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => (row[column] ?? "").length)));
  const isNumeric = (text: string) => /^-?[\d.]+(e[+-]\d+)?%?$/.test(text);
  return rows.map((row) =>
    row
      .map((text, column) => (isNumeric(text) ? text.padStart(widths[column] ?? 0) : text.padEnd(widths[column] ?? 0)))
      .join("  ")
      .trimEnd(),
  );
}
