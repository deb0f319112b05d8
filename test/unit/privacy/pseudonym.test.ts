import { createHmac } from "node:crypto";
import fc from "fast-check";
import { expect, test } from "vitest";
import { limits } from "../../../src/platform/limits.js";
import { createPseudonym } from "../../../src/privacy/pseudonym.js";

const keyHex = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

test("a pseudonym is the first half of the keyed hash, whether remembered or not", () => {
  const pseudonymise = createPseudonym(keyHex);
  const expected = `u_${createHmac("sha256", Buffer.from(keyHex, "hex")).update("ann@example.org").digest("hex").slice(0, 32)}`;
  expect([pseudonymise("ann@example.org"), pseudonymise("ann@example.org")]).toEqual([expected, expected]);
});

test("different users, and the same user under another key, have different pseudonyms of one form", () => {
  const other = createPseudonym(keyHex.replaceAll("0", "1"));
  fc.assert(
    fc.property(fc.uniqueArray(fc.string(), { minLength: 2, maxLength: 2 }), ([left = "", right = ""]) => {
      const pseudonymise = createPseudonym(keyHex);
      expect(pseudonymise(left)).toMatch(/^u_[0-9a-f]{32}$/);
      expect(pseudonymise(left)).not.toBe(pseudonymise(right));
      expect(pseudonymise(left)).not.toBe(other(left));
    }),
  );
});

test("more users than are remembered keep their pseudonyms", () => {
  const pseudonymise = createPseudonym(keyHex);
  const first = pseudonymise("user 0");
  for (let user = 1; user <= limits.pseudonymCacheMax + 5; user++) pseudonymise(`user ${user}`);
  expect(pseudonymise("user 0")).toBe(first);
});

test("a key of another length is our bug", () => {
  expect(() => createPseudonym("abcd")).toThrow("64 hex digits");
});
