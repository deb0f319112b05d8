import fc from "fast-check";
import { parse, stringify } from "smol-toml";
import { describe, expect, test } from "vitest";
import { scanToml } from "../../../src/config/toml-scan.js";

describe("places in a TOML text", () => {
  test("keys of tables, arrays of tables, dotted and quoted keys and inline tables have their lines", () => {
    const text = [
      "top = 1 # [not.a.table]",
      "[a]",
      'b.c = """',
      "d = 5",
      '"""',
      "'quoted key' = [ 1,",
      '  { deep = "}" }, # ]',
      "]",
      "[[list.items]]",
      "name = 'x'",
      "[[list.items]]",
      'name = "y # \\" ]"',
      "[list.items.more]",
      "z = { p = 1, q = { r = null } }",
    ].join("\n");
    const { lineOf, nulls } = scanToml(text);
    expect(lineOf(["top"])).toBe(1);
    expect(lineOf(["a"])).toBe(2);
    expect(lineOf(["a", "b", "c"])).toBe(3);
    expect(lineOf(["d"])).toBeUndefined();
    expect(lineOf(["a", "d"])).toBeUndefined();
    expect(lineOf(["a", "quoted key"])).toBe(6);
    expect(lineOf(["a", "quoted key", "deep"])).toBe(7);
    expect(lineOf(["list", "items", "0", "name"])).toBe(10);
    expect(lineOf(["list", "items", "1", "name"])).toBe(12);
    expect(lineOf(["list", "items", "1", "more", "z", "p"])).toBe(14);
    expect(nulls).toEqual([{ path: ["list", "items", "1", "more", "z", "q", "r"], line: 14, offset: text.indexOf("null") }]);
  });

  test("the word null within text, comments and keys is no null", () => {
    expect(scanToml("a = \"null\"\n# b = null\nnull = 1\nc = '''\nd = null\n'''\ne = nullable").nulls).toEqual([]);
  });

  test("whatever the parser takes, every key of it has a line", () => {
    const key = fc.stringMatching(/^[a-zA-Z0-9_ .-]{1,8}$/);
    const leaf = fc.oneof(fc.integer(), fc.boolean(), fc.string({ maxLength: 12 }), fc.array(fc.integer(), { maxLength: 3 }));
    const table = fc.dictionary(key, leaf, { minKeys: 1, maxKeys: 4 });
    const file = fc.dictionary(key, fc.oneof(leaf, table, fc.array(table, { minLength: 1, maxLength: 3 })), { maxKeys: 5 });
    fc.assert(
      fc.property(file, (data) => {
        const text = stringify(data);
        const lines = text.split("\n");
        const { lineOf } = scanToml(text);
        for (const [name, value] of Object.entries(parse(text))) {
          const inner = typeof value === "object" && !Array.isArray(value) && !(value instanceof Date) ? Object.keys(value) : [];
          for (const path of inner.length === 0 ? [[name]] : inner.map((key) => [name, key])) {
            expect(lines[(lineOf(path) ?? 0) - 1]).toContain(path[path.length - 1]);
          }
        }
      }),
    );
  });

  test("any text at all is scanned without a throw and without a hang", () => {
    fc.assert(fc.property(fc.string({ unit: fc.constantFrom(..."[]{}\"'=.,#\\ \na1"), maxLength: 60 }), (text) => void scanToml(text)));
    scanToml("a = ".concat("[".repeat(100_000)));
  });
});
