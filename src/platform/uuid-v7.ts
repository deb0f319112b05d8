import { randomFillSync } from "node:crypto";
import { v7 } from "uuid";

const pattern = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;

/** Random bytes are fetched for so many ids at once: a call into the system for each id costs ten times what the rest of it does. */
const idsPerFetch = 256;
const idBytes = 16;

/** Random bytes, in which ids are made one after the other; the part behind `used` was never given to anybody. */
const pool = { bytes: Buffer.alloc(idsPerFetch * idBytes), used: idsPerFetch * idBytes };
/** Of the newest id. `count` begins anywhere in the lower half of 32 bits in each millisecond, and grows by one. */
const newest = { ms: 0, count: 0 };

/**
 * A new UUID version 7 in text form, greater than all that this process made before it, also within one millisecond and when the clock goes back.
 * Source: RFC 9562, sections 5.7 and 6.2, method 1, with a counter of 32 bits.
 */
export function mintUuidV7(): string {
  if (pool.used === pool.bytes.length) {
    randomFillSync(pool.bytes);
    pool.used = 0;
  }
  const random = pool.bytes.subarray(pool.used, pool.used + idBytes);
  pool.used += idBytes;
  const nowMs = Date.now();
  if (nowMs > newest.ms) {
    newest.ms = nowMs;
    newest.count = random.readUInt32BE(6) >>> 1;
  } else {
    newest.count = (newest.count + 1) >>> 0;
    if (newest.count === 0) newest.ms += 1;
  }
  return v7({ random, msecs: newest.ms, seq: newest.count });
}

/** The canonical lower-case form of `text`, or undefined when it is not a UUID version 7. */
export function parseUuidV7(text: string): string | undefined {
  const lower = text.toLowerCase();
  return pattern.test(lower) ? lower : undefined;
}

/** The time in the first 48 bits.     Units: milliseconds since the Unix epoch. `id` is a canonical UUID version 7. */
export function uuidV7TimeMs(id: string): number {
  return Number.parseInt(id.slice(0, 8) + id.slice(9, 13), 16);
}

/**
 * A UUID version 7 made of a time and a hash: the same inputs give the same id.
 * Shape: `timeMs` in [0, 2^48); `hashHex` at least 19 hex digits, of which 74 bits are used.
 */
export function uuidV7FromHash(timeMs: number, hashHex: string): string {
  const time = Math.floor(timeMs).toString(16).padStart(12, "0");
  const variant = (8 | (Number.parseInt(hashHex.charAt(3), 16) & 3)).toString(16);
  return `${time.slice(0, 8)}-${time.slice(8)}-7${hashHex.slice(0, 3)}-${variant}${hashHex.slice(4, 7)}-${hashHex.slice(7, 19)}`;
}

/** The smallest possible id of a time: a bound for ranges over ids. */
export function uuidFloor(timeMs: number): string {
  const time = Math.max(0, Math.floor(timeMs)).toString(16).padStart(12, "0");
  return `${time.slice(0, 8)}-${time.slice(8)}-0000-0000-000000000000`;
}
