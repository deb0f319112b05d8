import { createHash, randomBytes } from "node:crypto";

/** A key that was just made. `key` exists only here: nothing keeps it. */
export type NewKey = { readonly key: string; readonly sha256: string };

/** 256 random bits behind a prefix that no documented key format has, so that neither is ever taken for the other. */
export function createKey(random: (size: number) => Buffer = randomBytes): NewKey {
  const key = `sk-mcp-v2-${random(32).toString("base64url")}`;
  return { key, sha256: createHash("sha256").update(key, "utf8").digest("hex") };
}
