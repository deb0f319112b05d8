import fc from "fast-check";
import { expect, it } from "vitest";
import { decodeSetAside, encodeSetAside, readHead, readRecord, recordBytesOf, writeRecord } from "../../../src/client/spool/record.js";
import type { SpoolKind } from "../../../src/client/spool/spool.js";
import { decodeState, encodeState } from "../../../src/client/spool/state.js";
import { noTotals } from "../../../src/client/spool/totals.js";
import { limits } from "../../../src/platform/limits.js";

const event = fc.record({
  kind: fc.constantFrom<SpoolKind>("start", "progress", "complete", "error"),
  atMs: fc.double({ min: 0, max: 2 ** 48, noNaN: true }),
  eventId: fc.string({ unit: "grapheme", maxLength: 60 }),
  encoded: fc.uint8Array({ maxLength: 200 }),
});
type Event = typeof event extends fc.Arbitrary<infer T> ? T : never;

function recordOf(one: Event): Buffer {
  const target = Buffer.alloc(recordBytesOf(one.eventId, one.encoded));
  writeRecord(target, one);
  return target;
}

it("a record gives back what was written", () => {
  fc.assert(
    fc.property(event, (one) => {
      const read = readRecord(recordOf(one));
      expect(read && { ...read, encoded: Uint8Array.from(read.encoded) }).toEqual(one);
    }),
  );
});

it("a record with one other bit gives nothing", () => {
  fc.assert(
    fc.property(event, fc.nat(), fc.nat(7), (one, at, bit) => {
      const record = recordOf(one);
      const index = at % record.length;
      record[index] = (record[index] ?? 0) ^ (1 << bit);
      expect(readRecord(record)).toBeUndefined();
    }),
  );
});

it("any bytes are a record or not, and none of them throw", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 80 }), (bytes) => {
      const buffer = Buffer.from(bytes);
      readHead(buffer);
      decodeSetAside(buffer);
      decodeState(buffer);
    }),
  );
});

it("a refused event gives back its reason, cut between characters where it is too long, and its event", () => {
  fc.assert(
    fc.property(event, fc.string({ unit: "grapheme", maxLength: 700 }), fc.nat(2 ** 40), (one, reason, atMs) => {
      const read = decodeSetAside(encodeSetAside(reason, atMs, recordOf(one)));
      expect(reason.startsWith(read?.reason ?? "?")).toBe(true);
      const isShort = Buffer.byteLength(reason) <= limits.spoolReasonMaxBytes;
      if (isShort) expect(read?.reason).toBe(reason);
      else expect(Buffer.byteLength(read?.reason ?? "")).toBeGreaterThan(limits.spoolReasonMaxBytes - 4);
      expect(read).toMatchObject({ atMs, event: { eventId: one.eventId, kind: one.kind } });
    }),
  );
});

it("the state of a spool gives back what was written, and a spool without one is empty", () => {
  const state = { lastPlace: 7, totals: { ...noTotals(), events: 3, bytes: 99 } };
  expect(decodeState(encodeState(state))).toEqual(state);
  expect(decodeState(undefined)).toEqual({ lastPlace: 0, totals: noTotals() });
  expect(decodeState(Buffer.from('{"lastPlace":-1}'))).toBeUndefined();
});
