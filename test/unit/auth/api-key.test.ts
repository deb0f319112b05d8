import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { createKeyRing, revokedIds } from "../../../src/auth/api-key.js";
import { createKey } from "../../../src/auth/new-key.js";
import { sha256Hex } from "../../../src/config/samples.js";
import type { StaticKey } from "../../../src/config/schema.js";
import { CoordinatorError } from "../../../src/platform/errors.js";

const plain = "sk-mcp-v2-test-key-number-one";

function key(more: Partial<StaticKey> = {}): StaticKey {
  return { id: "one", mcpId: "ocr", sha256: sha256Hex(plain), isDisabled: false, ...more };
}

function refusal(authorization: string | undefined, keys: readonly StaticKey[], nowMs = 0): CoordinatorError {
  try {
    createKeyRing(keys, { nowMs: () => nowMs }).authenticate(authorization);
  } catch (thrown) {
    if (thrown instanceof CoordinatorError) return thrown;
    throw thrown;
  }
  throw new Error("was let in");
}

describe("a ring of keys", () => {
  test("lets everybody in when it is empty, whatever they show", () => {
    const ring = createKeyRing([], { nowMs: () => 0 });
    expect(ring.isOpen).toBe(true);
    expect([ring.authenticate(undefined), ring.authenticate("Bearer x")]).toEqual([{ kind: "anyone" }, { kind: "anyone" }]);
  });

  test.each([`Bearer ${plain}`, `bearer ${plain}`, `BEARER   ${plain} `])("knows the holder of a key by %j", (authorization) => {
    const ring = createKeyRing([key()], { nowMs: () => 0 });
    expect(ring.authenticate(authorization)).toEqual({ kind: "key", keyId: "one", mcpId: "ocr" });
  });

  test.each([undefined, "", "Bearer", "Bearer ", plain, `Basic ${plain}`, `Bearer${plain}`])(
    "asks for a key when it gets %j",
    (authorization) => {
      expect(refusal(authorization, [key()])).toMatchObject({ code: "unauthenticated", reason: "KEY_MISSING" });
    },
  );

  test.each(["Bearer wrong-key-of-some-length", `Bearer ${plain}x`, `Bearer ${"x".repeat(1_000_000)}`, `Bearer ${sha256Hex(plain)}`])(
    "does not know a stranger, and never repeats what it was shown",
    (authorization) => {
      const refused = refusal(authorization, [key()]);
      expect(refused).toMatchObject({ code: "unauthenticated", reason: "KEY_UNKNOWN", message: "the key is not known", metadata: {} });
    },
  );

  test("a key is good until the millisecond of its expiry, judged at each call", () => {
    let nowMs = 999;
    const ring = createKeyRing([key({ expiresAtMs: 1_000 })], { nowMs: () => nowMs });
    expect(ring.authenticate(`Bearer ${plain}`).kind).toBe("key");
    nowMs = 1_000;
    expect(() => ring.authenticate(`Bearer ${plain}`)).toThrow("has expired");
    expect(refusal(`Bearer ${plain}`, [key({ expiresAtMs: 1_000 })], 1_000)).toMatchObject({
      reason: "KEY_EXPIRED",
      metadata: { key_id: "one" },
    });
  });

  test("a key that is switched off is refused, and no refusal shows it", () => {
    const refused = refusal(`Bearer ${plain}`, [key({ isDisabled: true })]);
    expect(refused).toMatchObject({ code: "unauthenticated", reason: "KEY_DISABLED" });
    expect(JSON.stringify([refused.message, refused.metadata])).not.toContain(plain);
  });

  test("each key opens its own MCP and no other text opens any", () => {
    const made = Array.from({ length: 20 }, () => createKey());
    const ring = createKeyRing(
      made.map(({ sha256 }, index) => key({ id: `k${index}`, mcpId: `mcp${index}`, sha256 })),
      { nowMs: () => 0 },
    );
    for (const [index, { key: text }] of made.entries())
      expect(ring.authenticate(`Bearer ${text}`)).toMatchObject({ mcpId: `mcp${index}` });
    fc.assert(
      fc.property(
        fc.string({ minLength: 1 }),
        (guess) => void expect(() => ring.authenticate(`Bearer ${guess}`)).toThrow(CoordinatorError),
      ),
    );
  });
});

test("a new key has 256 random bits, fits a header, and comes with its hash", () => {
  const made = createKey((size) => Buffer.alloc(size, 255));
  expect(made.key).toBe(`sk-mcp-v2-${"_".repeat(42)}8`);
  expect(made.sha256).toBe(sha256Hex(made.key));
  expect(createKey().key).not.toBe(createKey().key);
});

describe("a ring whose keys are replaced", () => {
  const otherPlain = "sk-mcp-v2-test-key-number-two";

  test("judges the next call by the new keys, and tells which are gone", () => {
    const ring = createKeyRing([key()], { nowMs: () => 0 });
    const added = key({ id: "two", sha256: sha256Hex(otherPlain) });
    expect([...ring.replace([key(), added])]).toEqual([]);
    expect(ring.authenticate(`Bearer ${otherPlain}`)).toMatchObject({ keyId: "two" });
    expect([...ring.replace([added])]).toEqual(["one"]);
    expect(() => ring.authenticate(`Bearer ${plain}`)).toThrow("the key is not known");
    ring.replace([]);
    expect([ring.isOpen, ring.authenticate(undefined)]).toEqual([true, { kind: "anyone" }]);
    expect([...ring.replace([key()])]).toEqual([]);
    expect([ring.isOpen, ring.authenticate(`Bearer ${plain}`)]).toMatchObject([false, { keyId: "one" }]);
  });

  test.each<[string, Partial<StaticKey>, readonly string[]]>([
    ["nothing", {}, []],
    ["the secret", { sha256: sha256Hex(otherPlain) }, ["one"]],
    ["the MCP", { mcpId: "search" }, ["one"]],
    ["that it is switched off", { isDisabled: true }, ["one"]],
    ["an end that comes sooner", { expiresAtMs: 500 }, ["one"]],
    ["an end that comes later", { expiresAtMs: 2_000 }, []],
  ])("counts one as gone, or not, when %s changes", (_, change, gone) => {
    const before = key({ expiresAtMs: 1_000 });
    expect([...revokedIds([before], [{ ...before, ...change }])]).toEqual(gone);
  });

  test("whoever is not gone is let in as the same before and after", () => {
    const entry = fc.record({ at: fc.nat(5), mcpId: fc.constantFrom("ocr", "search", "*"), secret: fc.nat(3), isDisabled: fc.boolean() });
    const ringOf = fc
      .uniqueArray(entry, { selector: ({ at }) => at, maxLength: 6 })
      .map((entries) =>
        entries.map(({ at, secret, ...more }) => key({ id: `k${at}`, sha256: sha256Hex(`secret-${at}-${secret}`), ...more })),
      )
      .filter((keys) => keys.length > 0);
    fc.assert(
      fc.property(ringOf, ringOf, (before, after) => {
        const ring = createKeyRing(before, { nowMs: () => 0 });
        const secrets = Array.from({ length: 24 }, (_, i) => `Bearer secret-${Math.floor(i / 4)}-${i % 4}`);
        const letIn = () =>
          secrets.map((shown) => {
            try {
              return ring.authenticate(shown);
            } catch {
              return undefined; // refused
            }
          });
        const first = letIn();
        const gone = ring.replace(after);
        const second = letIn();
        for (const [i, principal] of first.entries()) {
          if (principal?.kind !== "key") continue;
          if (gone.has(principal.keyId)) expect(second[i]).not.toEqual(principal);
          else expect(second[i]).toEqual(principal);
        }
      }),
    );
  });
});
