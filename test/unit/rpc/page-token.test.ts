import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { formatPageToken, parsePageToken } from "../../../src/rpc/page-token.js";
import type { InteractionFilter } from "../../../src/store/store.js";

const all: InteractionFilter = { mcpId: undefined, state: undefined, requestType: undefined, sessionId: undefined };
const cursor = { lastEventAtUs: 1_780_000_000_000_001, mcpId: "ocr", interactionId: "i-1" };
const refusal = expect.objectContaining({
  code: "invalid",
  reason: "PAGE_TOKEN_INVALID",
  fields: [expect.objectContaining({ field: "page_token" })],
});

function refused(filter: InteractionFilter, text: string): unknown {
  try {
    return parsePageToken(filter, text);
  } catch (thrown) {
    return thrown;
  }
}

describe("a page token", () => {
  it("gives back the cursor it was made of", () => {
    const name = fc.string({ minLength: 1, maxLength: 60 }).filter((text) => !text.includes("\0"));
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 4e15 }), name, name, (lastEventAtUs, mcpId, interactionId) => {
        const at = { lastEventAtUs, mcpId, interactionId };
        expect(parsePageToken(all, formatPageToken(all, at))).toEqual(at);
      }),
    );
  });

  it("that is empty means the first page", () => {
    expect(parsePageToken(all, "")).toBeUndefined();
  });

  it.each([
    { ...all, mcpId: "ocr" },
    { ...all, state: "failed" as const },
    { ...all, requestType: "ocr" },
    { ...all, sessionId: "ocr" },
  ])("of another list is refused: %j", (filter) => {
    expect(refused(filter, formatPageToken(all, cursor))).toEqual(refusal);
  });

  it("does not confuse lists whose filters hold the same words in other places", () => {
    expect(refused({ ...all, sessionId: "ocr" }, formatPageToken({ ...all, requestType: "ocr" }, cursor))).toEqual(refusal);
  });

  const encoded = (value: unknown) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const real = JSON.parse(Buffer.from(formatPageToken(all, cursor), "base64url").toString());
  it.each([
    ["noise", "%%%"],
    ["no JSON", Buffer.from("{").toString("base64url")],
    ["null", encoded(null)],
    ["a list", encoded([])],
    ["an extra member", encoded({ ...real, more: 1 })],
    ["a text for a time", encoded({ ...real, lastEventAtUs: "1" })],
    ["a fraction of a microsecond", encoded({ ...real, lastEventAtUs: 1.5 })],
    ["a time beyond all integers", encoded({ ...real, lastEventAtUs: 1e300 })],
    ["a name with NUL", encoded({ ...real, mcpId: "a\0b" })],
    ["a name that is too long", encoded({ ...real, interactionId: "x".repeat(10_000) })],
  ])("of %s is refused", (_what, text) => {
    expect(refused(all, text)).toEqual(refusal);
  });

  it("of any other text is refused and never an exception of another kind", () => {
    fc.assert(
      fc.property(fc.string({ minLength: 1, maxLength: 300 }), (text) => {
        expect(refused(all, text)).toEqual(refusal);
      }),
    );
  });
});
