import { createHash } from "node:crypto";
import { z } from "zod";
import { CoordinatorError } from "../platform/errors.js";
import { limits } from "../platform/limits.js";
import { parseUuidV7 } from "../platform/uuid-v7.js";
import type { InteractionFilter, ListCursor } from "../store/store.js";

/** What a page token holds: the cursor, and what list it is a place in. */
const tokenShape = z.strictObject({
  filter: z.string(),
  lastEventAtUs: z.int(), // any safe integer: Postgres holds times up to the year 294276
  mcpId: z.string().min(1).max(limits.idMaxBytes),
  interactionId: z.string().min(1).max(limits.idMaxBytes),
});

/** The token of the page after `cursor` in the list of `filter`. Opaque to callers; holds nothing that the page itself did not show. */
export function formatPageToken(filter: InteractionFilter, cursor: ListCursor): string {
  const { lastEventAtUs, mcpId, interactionId } = cursor;
  const token: z.infer<typeof tokenShape> = { filter: fingerprint(filter), lastEventAtUs, mcpId, interactionId };
  return Buffer.from(JSON.stringify(token)).toString("base64url");
}

/**
 * The cursor that a token holds; undefined for the empty token, which means the first page.
 * Errors: `invalid` with PAGE_TOKEN_INVALID when it is not a token of ours, or one of another list.
 */
export function parsePageToken(filter: InteractionFilter, text: string): ListCursor | undefined {
  if (text === "") return undefined;
  const parsed = tokenShape.safeParse(readJson(text));
  if (!parsed.success) throw invalidToken("is not one that this service gave out");
  if (parsed.data.filter !== fingerprint(filter)) throw invalidToken("belongs to a list with other filters");
  const { lastEventAtUs, mcpId, interactionId } = parsed.data;
  if (mcpId.includes("\0") || interactionId.includes("\0")) throw invalidToken("is not one that this service gave out");
  return { lastEventAtUs, mcpId, interactionId };
}

/** What the token of a page of events holds: the last event of the page before, and of which interaction it is. */
const eventsTokenShape = z.strictObject({ interaction: z.string(), afterId: z.string() });

/** The token of the events after `afterId` in one interaction. */
export function formatEventsToken(mcpId: string, interactionId: string, afterId: string): string {
  const token: z.infer<typeof eventsTokenShape> = { interaction: fingerprintOf([mcpId, interactionId]), afterId };
  return Buffer.from(JSON.stringify(token)).toString("base64url");
}

/** The event_id that a token holds; undefined for the empty token. Errors: as parsePageToken. */
export function parseEventsToken(mcpId: string, interactionId: string, text: string): string | undefined {
  if (text === "") return undefined;
  const parsed = eventsTokenShape.safeParse(readJson(text));
  const afterId = parsed.success ? parseUuidV7(parsed.data.afterId) : undefined;
  if (!parsed.success || afterId === undefined) throw invalidToken("is not one that this service gave out");
  if (parsed.data.interaction !== fingerprintOf([mcpId, interactionId])) throw invalidToken("belongs to another interaction");
  return afterId;
}

function readJson(text: string): unknown {
  if (text.length > limits.pageTokenMaxChars) return undefined;
  try {
    return JSON.parse(Buffer.from(text, "base64url").toString("utf8"));
  } catch {
    return undefined; // translates: what is no JSON is no token
  }
}

/** Tells lists apart; 64 bits are enough against mistakes, and a forged one reads nothing that the caller may not read. */
function fingerprint(filter: InteractionFilter): string {
  return fingerprintOf([filter.mcpId, filter.state, filter.requestType, filter.sessionId].map((part) => part ?? null));
}

function fingerprintOf(parts: readonly (string | null)[]): string {
  return createHash("sha256").update(JSON.stringify(parts)).digest("hex").slice(0, 16);
}

function invalidToken(why: string): CoordinatorError {
  const description = `page_token ${why}`;
  return new CoordinatorError("invalid", description, {
    reason: "PAGE_TOKEN_INVALID",
    fields: [{ field: "page_token", reason: "MALFORMED", description }],
  });
}
