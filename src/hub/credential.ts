import type { Principal } from "../auth/principal.js";
import { CoordinatorError, type ErrorReason } from "../platform/errors.js";
import { limits } from "../platform/limits.js";

/** What a refresh came to. `last` is the refusal that ends the stream. */
export type Refreshed =
  | { readonly kind: "accepted"; readonly principal: Principal }
  | { readonly kind: "refused"; readonly reason: ErrorReason }
  | { readonly kind: "last"; readonly error: CoordinatorError };

/** Judges a bearer header, as at the opening of a stream. Throws `unauthenticated`. */
export type Authenticate = (authorization: string) => Principal;

/** The credential of one session, from the opening of its stream on. */
export class Credential {
  readonly #authenticate: Authenticate;
  #principal: Principal;
  #refusedCount = 0;

  constructor(principal: Principal, authenticate: Authenticate) {
    this.#principal = principal;
    this.#authenticate = authenticate;
  }

  get principal(): Principal {
    return this.#principal;
  }

  /** Milliseconds since the Unix epoch; undefined means never. */
  get expiresAtMs(): number | undefined {
    return this.#principal.kind === "key" ? this.#principal.expiresAtMs : undefined;
  }

  /** Until it expires; undefined means never. Units: ms; `nowMs` is wall time, as the expiry is. */
  leftMs(nowMs: number): number | undefined {
    return this.expiresAtMs === undefined ? undefined : this.expiresAtMs - nowMs;
  }

  /** Puts another key in force if it is known, valid and for the same MCP. A refusal leaves the one before in force; `limits.credentialRefusalsMax` end it. */
  refresh(token: string): Refreshed {
    try {
      const principal = this.#authenticate(`Bearer ${token}`);
      if (isSameScope(principal, this.#principal)) {
        this.#principal = principal;
        return { kind: "accepted", principal };
      }
      return this.#refuse("MCP_NOT_ALLOWED", undefined);
    } catch (thrown) {
      // Translated: a bad key is an answer on the stream, and its end only when they go on coming.
      const error = CoordinatorError.from(thrown);
      return error.code === "unauthenticated" ? this.#refuse(error.reason, error) : { kind: "last", error };
    }
  }

  #refuse(reason: ErrorReason, cause: CoordinatorError | undefined): Refreshed {
    this.#refusedCount += 1;
    if (this.#refusedCount < limits.credentialRefusalsMax) return { kind: "refused", reason };
    const message = `${this.#refusedCount} refreshes of the credential were refused`;
    return { kind: "last", error: new CoordinatorError("unauthenticated", message, { reason, cause }) };
  }
}

/** A session keeps its MCP: events under way were accepted for it. */
function isSameScope(one: Principal, other: Principal): boolean {
  if (one.kind === "anyone" || other.kind === "anyone") return one.kind === other.kind;
  return one.mcpId === other.mcpId;
}
