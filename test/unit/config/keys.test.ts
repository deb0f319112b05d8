import { describe, expect, test } from "vitest";
import { readKeys } from "../../../src/config/keys.js";
import { describeRemark } from "../../../src/config/place.js";
import { readToml } from "../../../src/config/toml-file.js";

const hashA = "a".repeat(64);
const hashB = "b".repeat(64);

function read(text: string): ReturnType<typeof readKeys> {
  return readKeys(readToml(text, "c.toml"));
}

function faults(text: string): readonly string[] {
  return read(text).faults.kept.map(describeRemark);
}

function keyTable(lines: string): string {
  return `[[auth.keys]]\nid = "one"\nmcp_id = "ocr"\n${lines}\n`;
}

describe("static keys", () => {
  test("a key is its id, its MCP and its hash; times are TOML's own, text, or seconds", () => {
    const at = Date.parse("2030-01-01T00:00:00Z");
    for (const expiry of ["2030-01-01T00:00:00Z", '"2030-01-01T01:00:00+01:00"', String(at / 1_000)]) {
      expect(read(keyTable(`sha256 = "${hashA.toUpperCase()}"\nexpires_at = ${expiry}`)).keys.map(({ key }) => key)).toEqual([
        { id: "one", mcpId: "ocr", sha256: hashA, isDisabled: false, expiresAtMs: at },
      ]);
    }
  });

  test("a plain key is hashed, and warned about at its line", () => {
    const result = read(keyTable('key = "a-plain-key-of-some-length"'));
    expect(result.keys).toHaveLength(1);
    expect(JSON.stringify(result)).not.toContain("a-plain-key");
    expect(result.warnings.kept.map(describeRemark)).toEqual([
      expect.stringMatching(/^c\.toml:4 auth\.keys\.key: stands here in plain text/),
    ]);
  });

  test.each([
    ['sha256 = "abc"', "c.toml:4 auth.keys.sha256: must be 64 hex digits, is 3 characters"],
    [`sha256 = "${"g".repeat(64)}"`, "c.toml:4 auth.keys.sha256: must be 64 hex digits, is 64 characters"],
    ["sha256 = 5", "c.toml:4 auth.keys.sha256: must be 64 hex digits"],
    ["", "c.toml:1 auth.keys.sha256: is missing"],
    [`sha256 = "${hashA}"\nkey = "a-plain-key-of-some-length"`, "c.toml:4 auth.keys.sha256: and `key` are both given; leave `key` out"],
    ['key = "short"', "c.toml:4 auth.keys.key: the key must have at least 16 characters"],
    [`key = "${"x".repeat(257)}"`, "c.toml:4 auth.keys.key: the key must have at most 256 bytes"],
    [
      'key = "a key with spaces in it"',
      "c.toml:4 auth.keys.key: the key must be visible ASCII characters without spaces, so that it fits into a header",
    ],
    [`sha256 = "${hashA}"\nexpires = 5`, "c.toml:5 auth.keys.expires: no such key; did you mean expires_at?"],
    [`sha256 = "${hashA}"\ndisabled = "no"`, "c.toml:5 auth.keys.disabled: must be true or false"],
    [
      `sha256 = "${hashA}"\nexpires_at = 1893456000000`,
      expect.stringMatching(/^c\.toml:5 auth\.keys\.expires_at: .*looks like milliseconds$/),
    ],
    [
      `sha256 = "${hashA}"\nexpires_at = 2030-01-01`,
      expect.stringMatching(/^c\.toml:5 auth\.keys\.expires_at: must be a date-time with its offset/),
    ],
    [
      `sha256 = "${hashA}"\nexpires_at = "next week"`,
      expect.stringMatching(/^c\.toml:5 auth\.keys\.expires_at: must be a date-time with its offset/),
    ],
  ])("%j is refused", (lines, fault) => {
    expect(faults(keyTable(lines))).toEqual([fault]);
  });

  test("a missing id, mcp_id and hash are all reported for each table", () => {
    expect(faults("[[auth.keys]]\n\n[[auth.keys]]\nid = 'bad id'\n")).toEqual([
      "c.toml:1 auth.keys.id: is missing",
      "c.toml:1 auth.keys.sha256: is missing",
      'c.toml:1 auth.keys.mcp_id: is missing; "*" means any',
      "c.toml:4 auth.keys.id: must be 1 to 64 of letters, digits and . _ : -",
      "c.toml:3 auth.keys.sha256: is missing",
      'c.toml:3 auth.keys.mcp_id: is missing; "*" means any',
    ]);
  });

  test("two keys with one id, or one key under two ids, are refused at the second", () => {
    expect(faults(keyTable(`sha256 = "${hashA}"`) + keyTable(`sha256 = "${hashB}"`))).toEqual([
      'c.toml:5 auth.keys: the id "one" is already given in line 1',
    ]);
    const renamed = keyTable(`sha256 = "${hashA}"`).replace("one", "two");
    expect(faults(keyTable(`sha256 = "${hashA}"`) + renamed)).toEqual(["c.toml:5 auth.keys: the same key is already given in line 1"]);
  });

  test("keys that are not tables are refused", () => {
    expect(faults("[auth]\nkeys = 'x'")).toEqual(["c.toml:2 auth.keys: must be tables: write [[auth.keys]]"]);
    expect(faults("[auth]\nkeys = ['x']")).toEqual(["c.toml:2 auth.keys: must be tables: write [[auth.keys]]"]);
    expect(faults("static_api_keys = 1")).toEqual(["c.toml:1 static_api_keys: must be a table of keys"]);
  });
});
