import { createHash, timingSafeEqual } from "node:crypto";
import type { StaticKey } from "../config/schema.js";
import type { Clock } from "../platform/clock.js";
import { CoordinatorError } from "../platform/errors.js";
import { limits } from "../platform/limits.js";
import type { Principal } from "./principal.js";

/** The keys that callers may show. */
export type KeyRing = {
  /** No keys are configured: everybody is let in, as `anyone`. */
  readonly isOpen: boolean;
  /**
   * Who calls, from the value of the `authorization` header: `Bearer <key>`. Expiry is judged at every call; nothing is cached.
   * Errors: `unauthenticated` with KEY_MISSING, KEY_UNKNOWN, KEY_EXPIRED or KEY_DISABLED. No message holds any part of the key.
   */
  readonly authenticate: (authorization: string | undefined) => Principal;
  /** Puts other configured keys in force, for every call from now on. Gives the ids of those with which nobody is let in any more as before. */
  readonly replace: (keys: readonly StaticKey[]) => ReadonlySet<string>;
};

type HeldKey = { readonly digest: Buffer; readonly key: StaticKey };

/** A key that was made for one MCP while the coordinator runs. */
export type IssuedKeyHolder = { readonly keyId: string; readonly mcpId: string };

/**
 * A ring of hashed keys. What is shown is hashed before anything is compared with it, so that the time taken says nothing about how much of a guess
 * was right; the digest found is compared in constant time besides.
 * `issued`: whose key has a SHA-256, in hex, of those that were made at registration; asked at every call. Such keys make no ring that has no others less open.
 */
export function createKeyRing(
  keys: readonly StaticKey[],
  clock: Pick<Clock, "nowMs">,
  issued: (sha256: string) => IssuedKeyHolder | undefined = () => undefined,
): KeyRing {
  let inForce = keys;
  let held = heldBy(keys);

  function find(shown: string): Omit<StaticKey, "sha256"> {
    if (Buffer.byteLength(shown) <= limits.keyMaxBytes) {
      const digest = createHash("sha256").update(shown, "utf8").digest();
      const found = held.get(digest.toString("hex"));
      if (found !== undefined && timingSafeEqual(found.digest, digest)) return found.key;
      const holder = issued(digest.toString("hex"));
      if (holder !== undefined) return { id: holder.keyId, mcpId: holder.mcpId, isDisabled: false };
    }
    throw new CoordinatorError("unauthenticated", "the key is not known", { reason: "KEY_UNKNOWN" });
  }

  return {
    get isOpen() {
      return inForce.length === 0;
    },
    replace: (next) => {
      const revoked = revokedIds(inForce, next);
      inForce = next;
      held = heldBy(next);
      return revoked;
    },
    authenticate: (authorization) => {
      if (inForce.length === 0) return { kind: "anyone" };
      const key = find(readBearer(authorization));
      const metadata = { key_id: key.id };
      if (key.isDisabled)
        throw new CoordinatorError("unauthenticated", `key "${key.id}" is switched off`, { reason: "KEY_DISABLED", metadata });
      if (key.expiresAtMs !== undefined && clock.nowMs() >= key.expiresAtMs) {
        throw new CoordinatorError("unauthenticated", `key "${key.id}" has expired`, { reason: "KEY_EXPIRED", metadata });
      }
      const principal = { kind: "key", keyId: key.id, mcpId: key.mcpId } as const;
      return key.expiresAtMs === undefined ? principal : { ...principal, expiresAtMs: key.expiresAtMs };
    },
  };
}

const heldBy = (keys: readonly StaticKey[]): ReadonlyMap<string, HeldKey> =>
  new Map(keys.map((key) => [key.sha256, { key, digest: Buffer.from(key.sha256, "hex") }]));

/**
 * Ids of keys that are gone: taken out, switched off, with another secret, for another MCP, or with an end that comes sooner. Whoever was let in with one of
 * them would not be let in so again. Pure.
 */
export function revokedIds(before: readonly StaticKey[], after: readonly StaticKey[]): ReadonlySet<string> {
  const byId = new Map(after.map((key) => [key.id, key]));
  const isGone = (key: StaticKey): boolean => {
    const next = byId.get(key.id);
    if (next === undefined || next.isDisabled || next.sha256 !== key.sha256 || next.mcpId !== key.mcpId) return true;
    return (next.expiresAtMs ?? Number.POSITIVE_INFINITY) < (key.expiresAtMs ?? Number.POSITIVE_INFINITY);
  };
  return new Set(before.filter((key) => !key.isDisabled && isGone(key)).map(({ id }) => id));
}

/** The key in the header; the scheme's case does not matter (RFC 9110, section 11.1). */
function readBearer(authorization: string | undefined): string {
  const scheme = authorization?.slice(0, 7).toLowerCase();
  const shown = authorization?.slice(7).trim() ?? "";
  if (scheme !== "bearer " || shown === "") {
    throw new CoordinatorError("unauthenticated", "send `authorization: Bearer <key>`", { reason: "KEY_MISSING" });
  }
  return shown;
}
