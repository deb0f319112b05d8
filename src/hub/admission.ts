import type { Principal } from "../auth/principal.js";
import { CoordinatorError, type ErrorReason } from "../platform/errors.js";
import { limits } from "../platform/limits.js";

/** How many sessions there may be. */
export type SessionCaps = { readonly perProcess: number; readonly perKey: number };

/**
 * Counts sessions by what they share, and refuses the one too many. Callers without a key share none: they are bounded by connection and process only.
 * Bound: as many entries as there are sessions.
 */
export class Admission {
  readonly #caps: SessionCaps;
  readonly #byKey = new Map<string, number>();
  readonly #byConnection = new Map<object, number>();
  #count = 0;

  constructor(caps: SessionCaps) {
    this.#caps = caps;
  }

  /** Counts a session in. Errors: `busy`, with the quota that is used up; then nothing is counted. */
  enter(principal: Principal, connection: object | undefined): void {
    const { perProcess, perKey } = this.#caps;
    const onConnection = connection === undefined ? 0 : (this.#byConnection.get(connection) ?? 0);
    if (onConnection >= limits.sessionsPerConnectionMax) {
      throw exhausted(
        "CONNECTION_SESSIONS_EXHAUSTED",
        "connection",
        `a connection carries ${limits.sessionsPerConnectionMax} sessions at most`,
      );
    }
    if (principal.kind === "key" && (this.#byKey.get(principal.keyId) ?? 0) >= perKey) {
      throw exhausted("KEY_SESSIONS_EXHAUSTED", `key:${principal.keyId}`, `a key has ${perKey} sessions on one coordinator at most`);
    }
    if (this.#count >= perProcess) {
      throw exhausted("SESSIONS_EXHAUSTED", "coordinator", `this coordinator holds ${perProcess} sessions, as many as it may`);
    }
    this.#count += 1;
    if (principal.kind === "key") change(this.#byKey, principal.keyId, 1);
    if (connection !== undefined) change(this.#byConnection, connection, 1);
  }

  /** Counts a session out. `principal` and `connection` as they are counted now. */
  leave(principal: Principal, connection: object | undefined): void {
    this.#count -= 1;
    if (principal.kind === "key") change(this.#byKey, principal.keyId, -1);
    if (connection !== undefined) change(this.#byConnection, connection, -1);
  }

  /** A session goes on with another key. It is never refused for that: it is here already. */
  rekey(before: Principal, after: Principal): void {
    if (before.kind === "key") change(this.#byKey, before.keyId, -1);
    if (after.kind === "key") change(this.#byKey, after.keyId, 1);
  }
}

function change<K>(counts: Map<K, number>, key: K, by: 1 | -1): void {
  const count = (counts.get(key) ?? 0) + by;
  if (count === 0) counts.delete(key);
  else counts.set(key, count);
}

function exhausted(reason: ErrorReason, subject: string, description: string): CoordinatorError {
  return new CoordinatorError("busy", description, { reason, retryAfterMs: limits.reconnectSpreadMs, quota: { subject, description } });
}
