import { CoordinatorError } from "../platform/errors.js";

/** Who calls. `anyone` exists only when no keys are configured. */
export type Principal =
  | { readonly kind: "anyone" }
  | {
      readonly kind: "key";
      /** Stable public name of the key; safe to log. */
      readonly keyId: string;
      /** The MCP it is bound to, or "*" for any. */
      readonly mcpId: string;
      /** Milliseconds since the Unix epoch; absent means never. */
      readonly expiresAtMs?: number;
    };

/** Whether `who` may report or read for `mcpId`. */
export function mayActFor(who: Principal, mcpId: string): boolean {
  return who.kind === "anyone" || who.mcpId === "*" || who.mcpId === mcpId;
}

/** The only MCP that `who` may act for, or undefined when it may act for any. */
export function boundMcpId(who: Principal): string | undefined {
  return who.kind === "key" && who.mcpId !== "*" ? who.mcpId : undefined;
}

/**
 * The MCP that a read is about: what was asked for, else what the credential is bound to, else undefined for all.
 * Errors: `forbidden` when another MCP was asked for.
 */
export function scopeTo(who: Principal, askedMcpId: string): string | undefined {
  const bound = boundMcpId(who);
  if (askedMcpId === "") return bound;
  if (!mayActFor(who, askedMcpId)) {
    throw new CoordinatorError("forbidden", `this key may not act for mcp_id "${askedMcpId}"`, { reason: "MCP_NOT_ALLOWED" });
  }
  return askedMcpId;
}
