import type { RedisReply } from "../../platform/redis-connection.js";
import type { EntryField } from "./entry.js";
import type { ClaimedPage } from "./link.js";

/** An entry of a stream. Without fields when it was trimmed or deleted after it had been delivered. */
export type StreamEntry = { readonly id: string; readonly fields: readonly EntryField[] | undefined };

/** Answer of XREADGROUP for one stream: [[stream, entries]], or null after the time to block. Total: what is not understood is left out. */
export function parseRead(reply: RedisReply): readonly StreamEntry[] {
  const [only] = listOf(reply);
  return parseEntries(listOf(only ?? null)[1] ?? null);
}

/** An entry that was delivered, so often, and is not acknowledged. */
export type PendingEntry = { readonly id: string; readonly deliveries: number };

/** Answer of XPENDING with a range: [[id, consumer, idle, deliveries]]. */
export function parsePending(reply: RedisReply): readonly PendingEntry[] {
  return listOf(reply).flatMap((row) => {
    const [id, , , deliveries] = listOf(row);
    const text = textOf(id ?? null);
    return text === "" ? [] : [{ id: text, deliveries: typeof deliveries === "number" ? deliveries : 1 }];
  });
}

/** Answer of XAUTOCLAIM: [cursor, entries, ids of those that are no longer there]; the third since Redis 7, before it they stand as null. */
export function parseClaim(reply: RedisReply): ClaimedPage {
  const [cursor, entries, gone] = listOf(reply);
  const absent = listOf(gone ?? null).map((id): StreamEntry => ({ id: textOf(id), fields: undefined }));
  return { cursor: textOf(cursor ?? null) || "0-0", entries: [...parseEntries(entries ?? null), ...absent] };
}

/** Answer of XCLAIM, and part of others: [[id, [name, value, ...]]]. */
export function parseEntries(reply: RedisReply): readonly StreamEntry[] {
  return listOf(reply).flatMap((item) => {
    const [id, fields] = listOf(item);
    const text = textOf(id ?? null);
    return text === "" ? [] : [{ id: text, fields: fieldsOf(fields ?? null) }];
  });
}

function fieldsOf(reply: RedisReply): readonly EntryField[] | undefined {
  const flat = listOf(reply);
  if (flat.length === 0) return undefined; // XADD demands a field, so none means gone
  const fields: EntryField[] = [];
  for (let i = 0; i + 1 < flat.length; i += 2) fields.push({ name: textOf(flat[i] ?? null), value: bytesOf(flat[i + 1] ?? null) });
  return fields;
}

function listOf(reply: RedisReply): readonly RedisReply[] {
  // The cast: Array.isArray does not narrow to a readonly array.
  return Array.isArray(reply) ? (reply as readonly RedisReply[]) : [];
}

function bytesOf(reply: RedisReply): Uint8Array {
  return reply instanceof Uint8Array ? reply : new Uint8Array();
}

/** Texts of Redis; names that are no UTF-8 are shown with replacement characters. */
function textOf(reply: RedisReply): string {
  return Buffer.from(bytesOf(reply)).toString("utf8");
}
