import { createHash } from "node:crypto";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { mintUuidV7, parseUuidV7, uuidFloor, uuidV7FromHash, uuidV7TimeMs } from "../../../src/platform/uuid-v7.js";

const time = fc.integer({ min: 0, max: 2 ** 48 - 1 });
const hash = fc.string().map((text) => createHash("sha256").update(text).digest("hex"));

describe("ids of UUID version 7", () => {
  test("a minted id is canonical, carries the time of now, and is never the same twice", () => {
    const before = Date.now();
    const minted = Array.from({ length: 1_000 }, mintUuidV7);
    const after = Date.now();
    expect(new Set(minted).size).toBe(1_000);
    for (const id of minted) {
      expect(parseUuidV7(id)).toBe(id);
      expect(uuidV7TimeMs(id)).toBeGreaterThanOrEqual(before);
      expect(uuidV7TimeMs(id)).toBeLessThanOrEqual(after);
    }
  });

  test("ids are greater than all that were minted before, over many fetches of random bytes", () => {
    const minted = Array.from({ length: 5_000 }, mintUuidV7);
    expect(minted.toSorted()).toEqual(minted);
    // The last 50 bits are random: of so many, no two share them.
    expect(new Set(minted.map((id) => id.slice(-12))).size).toBe(5_000);
  });

  test("an id made of a time and a hash is canonical, keeps the time, and is the same for the same inputs only", () => {
    fc.assert(
      fc.property(time, hash, hash, (timeMs, left, right) => {
        const id = uuidV7FromHash(timeMs, left);
        expect(parseUuidV7(id)).toBe(id);
        expect(uuidV7TimeMs(id)).toBe(timeMs);
        expect(uuidV7FromHash(timeMs, left)).toBe(id);
        expect(uuidV7FromHash(timeMs, right) === id).toBe(left === right);
      }),
    );
  });

  test("74 bits of the hash are in the id: each digit that is used changes it", () => {
    const base = "0".repeat(64);
    const id = uuidV7FromHash(0, base);
    const changed = Array.from({ length: 64 }, (_, at) => uuidV7FromHash(0, `${base.slice(0, at)}1${base.slice(at + 1)}`) !== id);
    expect(changed.map((isUsed, at) => (isUsed ? at : -1)).filter((at) => at >= 0)).toEqual(Array.from({ length: 19 }, (_, at) => at));
    const variants = Array.from({ length: 16 }, (_, digit) => uuidV7FromHash(0, `000${digit.toString(16)}${"0".repeat(60)}`));
    expect(new Set(variants).size).toBe(4);
  });

  test("ids in the order of text are in the order of time", () => {
    fc.assert(
      fc.property(time, time, hash, (left, right, digest) => {
        const [earlier, later] = [Math.min(left, right), Math.max(left, right)];
        if (earlier === later) return;
        expect(uuidV7FromHash(earlier, digest) < uuidV7FromHash(later, digest)).toBe(true);
      }),
    );
  });

  test("the floor of a time is at most every id of that time and above every id of the millisecond before", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 2 ** 48 - 1 }), hash, (timeMs, digest) => {
        expect(uuidFloor(timeMs) <= uuidV7FromHash(timeMs, digest)).toBe(true);
        expect(uuidFloor(timeMs) > uuidV7FromHash(timeMs - 1, "f".repeat(64))).toBe(true);
      }),
    );
    expect(uuidFloor(-5)).toBe("00000000-0000-0000-0000-000000000000");
    expect(uuidFloor(1.9)).toBe(uuidFloor(1));
  });

  test("upper case is brought to the canonical form", () => {
    expect(parseUuidV7("019AA0B0-1234-7ABC-9DEF-0123456789AB")).toBe("019aa0b0-1234-7abc-9def-0123456789ab");
  });

  test.each([
    "",
    "not an id",
    "019aa0b0-1234-4abc-9def-0123456789ab",
    "019aa0b0-1234-7abc-7def-0123456789ab",
    "019aa0b012347abc9def0123456789ab",
    "{019aa0b0-1234-7abc-9def-0123456789ab}",
    "019aa0b0-1234-7abc-9def-0123456789ab\n",
    "019aa0b0-1234-7abc-9def-0123456789abc",
  ])("%j is no UUID version 7", (text) => {
    expect(parseUuidV7(text)).toBeUndefined();
  });
});
