import { createHash } from "node:crypto";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { tableDigest } from "../../../src/smart-router/digest.js";
import { compareIds } from "../../../src/smart-router/order.js";

describe("the digest of a table", () => {
  test("is the first 64 bits of SHA-256 over its lines in ascending byte order of mcp_id", () => {
    const lines = "a\t6000\t1\nb\t4000\t2\n";
    const expected = createHash("sha256").update(lines).digest("hex").slice(0, 16);
    expect(
      tableDigest([
        { mcpId: "b", weight: 4_000, state: "warming" },
        { mcpId: "a", weight: 6_000, state: "active" },
      ]),
    ).toBe(expected);
  });

  test("of an empty table is that of no bytes", () => expect(tableDigest([])).toBe("e3b0c44298fc1c14"));

  test("changes with a weight and with a state", () => {
    const digests = [
      tableDigest([{ mcpId: "a", weight: 1, state: "active" }]),
      tableDigest([{ mcpId: "a", weight: 2, state: "active" }]),
      tableDigest([{ mcpId: "a", weight: 1, state: "warming" }]),
    ];
    expect(new Set(digests).size).toBe(3);
  });
});

describe("the order of ids", () => {
  test("is that of their bytes in UTF-8, also beyond the basic plane", () => {
    expect(compareIds("\u{1f600}", "\uff5e")).toBeGreaterThan(0);
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), fc.string({ unit: "binary" }), (a, b) => {
        expect(Math.sign(compareIds(a, b))).toBe(Buffer.compare(Buffer.from(a), Buffer.from(b)));
      }),
    );
  });
});
