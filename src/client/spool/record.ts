import { crc32 } from "node:zlib";
import { assert } from "../../platform/assert.js";
import { limits } from "../../platform/limits.js";
import type { SpoolKind } from "./spool.js";

/** An event as it lies in a spool. */
export type EventRecord = {
  readonly kind: SpoolKind;
  /** When it was put.     Units: ms since the Unix epoch. */
  readonly atMs: number;
  readonly eventId: string;
  readonly encoded: Uint8Array;
};

/** What can be said of a record without decoding the event in it. */
export type RecordHead = Omit<EventRecord, "encoded">;

/** A refused event as it lies in a spool. */
export type SetAsideRecord = { readonly reason: string; readonly atMs: number; readonly event: EventRecord };

/** Layout, big endian: crc32 of all that follows (4), kind (1), 0 (1), length of the id (2), time (8), id, event. SPEC.md, "Records". */
const headBytes = 16;
const kindCodes = { start: 1, progress: 2, complete: 3, error: 4 } as const satisfies Record<SpoolKind, number>;
const kinds = new Map<number, SpoolKind>(Object.entries(kindCodes).map(([kind, code]) => [code, kind as SpoolKind])); // the keys of the table above

/** Most that a record has before its event. */
export const recordHeadMaxBytes = headBytes + limits.idMaxBytes;

/** Size of the record of an event. */
export const recordBytesOf = (eventId: string, encoded: Uint8Array): number => headBytes + Buffer.byteLength(eventId) + encoded.length;

/** Writes a record at the start of `target`, which is exactly `recordBytesOf` long. */
export function writeRecord(target: Buffer, { kind, atMs, eventId, encoded }: EventRecord): void {
  const idBytes = target.length - headBytes - encoded.length;
  assert(idBytes >= 0 && idBytes <= 0xffff, "the target has the size of the record");
  target[4] = kindCodes[kind];
  target[5] = 0;
  target.writeUInt16BE(idBytes, 6);
  target.writeDoubleBE(atMs, 8);
  target.write(eventId, headBytes, idBytes, "utf8");
  target.set(encoded, headBytes + idBytes);
  target.writeUInt32BE(crc32(target.subarray(4)), 0);
}

/** Kind, time and id of a record, without checking its sum. Undefined when it is no record. */
export function readHead(record: Buffer): RecordHead | undefined {
  if (record.length < headBytes) return undefined;
  const kind = kinds.get(record[4] ?? 0);
  const idBytes = record.readUInt16BE(6);
  if (kind === undefined || headBytes + idBytes > record.length) return undefined;
  return { kind, atMs: record.readDoubleBE(8), eventId: record.toString("utf8", headBytes, headBytes + idBytes) };
}

/** The event of a record; undefined when its bytes are not those that were written. `encoded` lies in the memory of `record`. */
export function readRecord(record: Buffer): EventRecord | undefined {
  const head = readHead(record);
  if (head === undefined || crc32(record.subarray(4)) !== record.readUInt32BE(0)) return undefined;
  return { ...head, encoded: record.subarray(headBytes + record.readUInt16BE(6)) };
}

/** A refused event: time of the refusal (8), length of the reason (2), reason, the record of the event. A longer reason than allowed is cut. */
export function encodeSetAside(reason: string, atMs: number, record: Buffer): Buffer {
  const text = cutUtf8(reason, limits.spoolReasonMaxBytes);
  const target = Buffer.allocUnsafe(10 + text.length + record.length);
  target.writeDoubleBE(atMs, 0);
  target.writeUInt16BE(text.length, 8);
  target.set(text, 10);
  target.set(record, 10 + text.length);
  return target;
}

/** Reads back what `encodeSetAside` wrote; undefined for anything else. */
export function decodeSetAside(bytes: Buffer): SetAsideRecord | undefined {
  if (bytes.length < 10) return undefined;
  const reasonEnd = 10 + bytes.readUInt16BE(8);
  if (reasonEnd > bytes.length) return undefined;
  const event = readRecord(bytes.subarray(reasonEnd));
  return event && { reason: bytes.toString("utf8", 10, reasonEnd), atMs: bytes.readDoubleBE(0), event };
}

/** The value under a place of progress: the size of its record. */
export function sizeBytes(bytes: number): Buffer {
  const target = Buffer.allocUnsafe(4);
  target.writeUInt32BE(bytes);
  return target;
}

/** At most `maxBytes` of UTF-8, without half a character at the end. */
function cutUtf8(text: string, maxBytes: number): Buffer {
  const bytes = Buffer.from(text, "utf8");
  if (bytes.length <= maxBytes) return bytes;
  let end = maxBytes;
  while (end > 0 && ((bytes[end] ?? 0) & 0xc0) === 0x80) end--;
  return bytes.subarray(0, end);
}
