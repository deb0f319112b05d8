import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { parseClaim, parseEntries, parsePending, parseRead } from "../../../src/intake/redis-stream/replies.js";
import type { RedisReply } from "../../../src/platform/redis-connection.js";
import { anyReply, bytes } from "../../support/redis-reply.js";

const entry = (id: string, ...flat: readonly string[]): RedisReply => [bytes(id), flat.map(bytes)];

describe("answers of Redis about a stream", () => {
  it("are read with ids, names and values, bytes as they are", () => {
    const raw = Buffer.from([0, 255, 128]);
    expect(parseRead([[bytes("s"), [[bytes("1-0"), [bytes("event"), raw]]]]])).toEqual([
      { id: "1-0", fields: [{ name: "event", value: raw }] },
    ]);
    expect(parseRead(null), "nothing came while it blocked").toEqual([]);
  });

  it("tell entries that are gone: from XAUTOCLAIM as ids, elsewhere as entries without fields", () => {
    expect(parseClaim([bytes("5-0"), [entry("1-0", "a", "b")], [bytes("2-0")]])).toEqual({
      cursor: "5-0",
      entries: [
        { id: "1-0", fields: [{ name: "a", value: Buffer.from("b") }] },
        { id: "2-0", fields: undefined },
      ],
    });
    expect(parseEntries([[bytes("1-0"), null]])).toEqual([{ id: "1-0", fields: undefined }]);
    expect(parsePending([[bytes("1-0"), bytes("c"), 10, 3]])).toEqual([{ id: "1-0", deliveries: 3 }]);
  });

  it("are nothing when they are anything else", () => {
    fc.assert(
      fc.property(anyReply, (any) => {
        const entries = [...parseRead(any), ...parseClaim(any).entries, ...parseEntries(any)];
        for (const { fields } of entries) for (const { value } of fields ?? []) expect(value).toBeInstanceOf(Uint8Array);
        for (const { id } of parsePending(any)) expect(id).not.toBe("");
      }),
    );
  });
});
