import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { canonicalJson, contentHash, contentText, stampContent } from "../../../src/interaction/content.js";
import type { Draft, Json } from "../../../src/interaction/event.js";
import { completeDetail, draftOf, startDetail } from "../../support/draft.js";

const pseudonym = (userId: string) => `u_${userId.length}`;

describe("contentText", () => {
  it("is JSON with absent fields left out", () => {
    expect(contentText(draftOf({ detail: { ...startDetail, requestType: "" } as Draft["detail"] }), pseudonym)).toBe('{"start":{}}');
  });

  it("holds the pseudonym and never the user", () => {
    const text = contentText(draftOf({ detail: { ...startDetail, userId: "alice@example.org" } as Draft["detail"] }), pseudonym);
    expect(JSON.parse(text).start.user_id).toBe("u_17");
    expect(text).not.toContain("alice");
  });

  it("writes 64-bit integers and spans as strings, so that no reader rounds them", () => {
    const text = contentText(draftOf({ detail: { ...completeDetail, outputBytes: 2n ** 60n } as Draft["detail"] }), pseudonym);
    expect(JSON.parse(text).complete).toEqual({ processing_time: "1.500000000s", output_bytes: "1152921504606846976" });
  });

  it("keeps the nanoseconds that the store's clock cannot", () => {
    const occurredAt = { seconds: 1_763_640_000n, nanos: 123_456_789 };
    expect(JSON.parse(contentText(draftOf({ occurredAt }), pseudonym)).ns).toBe(789);
  });

  it("does not depend on the order of map entries", () => {
    const one = contentText(draftOf({ labels: { a: "1", b: "2" } }), pseudonym);
    const other = contentText(draftOf({ labels: { b: "2", a: "1" } }), pseudonym);
    expect(one).toBe(other);
  });
});

describe("canonicalJson", () => {
  it("means the same as the value, in one spelling", () => {
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 5 }), (value) => {
        const text = canonicalJson(value as Json);
        const again = JSON.parse(JSON.stringify(value));
        expect(JSON.parse(text)).toEqual(again);
        expect(canonicalJson(JSON.parse(text))).toBe(text);
      }),
    );
  });
});

describe("stampContent", () => {
  it("adds the session's labels without touching the content", () => {
    expect(stampContent('{"start":{}}', '{"zone":"a"}')).toBe('{"start":{},"stamped":{"zone":"a"}}');
    expect(stampContent('{"start":{}}', "")).toBe('{"start":{}}');
    expect(stampContent("{}", '{"zone":"a"}')).toBe('{"stamped":{"zone":"a"}}');
  });
});

describe("contentHash", () => {
  it("tells raw bytes, time and interaction apart", () => {
    const base = contentHash("i", 1, "{}", undefined);
    const others = [
      contentHash("j", 1, "{}", undefined),
      contentHash("i", 2, "{}", undefined),
      contentHash("i", 1, '{"ns":1}', undefined),
      contentHash("i", 1, "{}", new Uint8Array()),
      contentHash("i", 1, "{}", new Uint8Array([0])),
    ];
    expect(new Set([base, ...others]).size).toBe(6);
    expect(contentHash("i", 1, "{}", undefined)).toBe(base);
  });
});
