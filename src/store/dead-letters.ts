import type { NewEvent } from "../interaction/event.js";
import type { Pool } from "./connect.js";
import { sourceNumbers } from "./tables.js";

/**
 * See Store.setAside. The event is kept as bytes, since something in it could not be stored as text or JSON; what of it goes into text columns is
 * freed of what no text column takes.
 */
export async function setAside(pool: Pool, event: NewEvent, reason: string): Promise<void> {
  await pool.run(
    ({ sql }) => sql`
      INSERT INTO dead_letter (source, mcp_id, event_id, reason, frame)
      VALUES (${sourceNumbers[event.source]}, ${storable(event.mcpId)}, ${storable(event.eventId)}, ${storable(reason)}, ${frameOf(event)})`,
  );
}

/** The event as UTF-8 JSON, with what JSON has no form for as text: integers in decimal, raw bytes in base64. */
function frameOf(event: NewEvent): Buffer {
  const raw = event.raw === undefined ? undefined : Buffer.from(event.raw).toString("base64");
  const asText = (_: string, value: unknown): unknown => (typeof value === "bigint" ? value.toString() : value);
  return Buffer.from(JSON.stringify({ ...event, raw }, asText));
}

/** Text without NUL and lone surrogates. */
export function storable(text: string): string {
  return text.replaceAll("\0", "\uFFFD").replaceAll(/\p{Surrogate}/gu, "\uFFFD");
}
