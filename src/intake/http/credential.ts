import { createHash, timingSafeEqual } from "node:crypto";
import type { Principal } from "../../auth/principal.js";
import { CoordinatorError } from "../../platform/errors.js";

/** Judges the value of an `authorization` header. Throws `unauthenticated`. */
export type Authenticate = (authorization: string | undefined) => Principal;

/**
 * Who sent a body that may hold keys of its own, as the registration document has it: `api_key` beside `action`. The header speaks; a body's key must be the
 * same, and stands in for the header where there is none and `mayStandIn`.
 * Errors: `invalid` for field `api_key` when keys disagree; else as `authenticate`.
 */
export function judgeKeys(authenticate: Authenticate, authorization: string | undefined, body: unknown, mayStandIn: boolean): Principal {
  const keys = (Array.isArray(body) ? body : [body]).flatMap(keyOf);
  const [first] = keys;
  const shown = authorization ?? (mayStandIn && first !== undefined ? `Bearer ${first}` : undefined);
  const principal = authenticate(shown);
  if (authorization !== undefined || keys.length > 1) {
    const header = (authorization ?? shown ?? "").slice("bearer ".length).trim();
    if (!keys.every((key) => isSame(key, header))) {
      const description = "must be the key of the authorization header, and the same in every report of an array";
      throw new CoordinatorError("invalid", `api_key: ${description}`, {
        reason: "FIELD_VIOLATION",
        fields: [{ field: "api_key", reason: "MALFORMED", description }],
      });
    }
  }
  return principal;
}

function keyOf(report: unknown): string[] {
  if (typeof report !== "object" || report === null || !("api_key" in report)) return [];
  return typeof report.api_key === "string" ? [report.api_key] : [];
}

/** By digests, so that the time taken tells nothing of either. */
function isSame(one: string, other: string): boolean {
  const digest = (text: string) => createHash("sha256").update(text, "utf8").digest();
  return timingSafeEqual(digest(one), digest(other));
}
