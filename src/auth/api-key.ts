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
  const held = new Map(keys.map((key): [string, HeldKey] => [key.sha256, { key, digest: Buffer.from(key.sha256, "hex") }]));

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
    isOpen: keys.length === 0,
    authenticate: (authorization) => {
      if (keys.length === 0) return { kind: "anyone" };
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

/** The key in the header; the scheme's case does not matter (RFC 9110, section 11.1). */
function readBearer(authorization: string | undefined): string {
  const scheme = authorization?.slice(0, 7).toLowerCase();
  const shown = authorization?.slice(7).trim() ?? "";
  if (scheme !== "bearer " || shown === "") {
    throw new CoordinatorError("unauthenticated", "send `authorization: Bearer <key>`", { reason: "KEY_MISSING" });
  }
  return shown;
}
