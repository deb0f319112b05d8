import { createHmac, createSecretKey } from "node:crypto";
import { assert } from "../platform/assert.js";
import { limits } from "../platform/limits.js";

/** The pseudonym of a user id: "u_" and 32 hex digits. Equal ids give equal pseudonyms under one key; none can be turned back without it. */
export type Pseudonymise = (userId: string) => string;

/**
 * Pseudonyms under a key of 64 hex digits: the first 128 bits of HMAC-SHA256.
 * Bound: `limits.pseudonymCacheMax` pseudonyms are remembered; the one that was made first is forgotten first.
 */
export function createPseudonym(keyHex: string): Pseudonymise {
  assert(/^[0-9a-f]{64}$/i.test(keyHex), "a pseudonym key is 64 hex digits");
  const key = createSecretKey(Buffer.from(keyHex, "hex"));
  const remembered = new Map<string, string>();
  return (userId) => {
    const known = remembered.get(userId);
    if (known !== undefined) return known;
    const pseudonym = `u_${createHmac("sha256", key).update(userId, "utf8").digest("hex").slice(0, 32)}`;
    if (remembered.size >= limits.pseudonymCacheMax) {
      const oldest = remembered.keys().next();
      if (oldest.done !== true) remembered.delete(oldest.value);
    }
    remembered.set(userId, pseudonym);
    return pseudonym;
  };
}
