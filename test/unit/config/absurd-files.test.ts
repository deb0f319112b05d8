import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { loadConfig } from "../../../src/config/load.js";
import { describeRemark } from "../../../src/config/place.js";
import { readConfig } from "../../../src/config/read.js";
import { limits } from "../../../src/platform/limits.js";

const dir = mkdtempSync(join(tmpdir(), "mcpc-absurd-"));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

const load = (fileText: string, env: Readonly<Record<string, string>> = {}) =>
  loadConfig({ readSecretFile: () => undefined, defaultCoordinatorId: "c" }, { fileText, filePath: "c.toml", env, flags: {} });
const lines = (count: number, line: (index: number) => string): string =>
  Array.from({ length: count }, (_, index) => line(index)).join("\n");

/** Files as long as are read. Each took minutes, all memory, or the stack, when something in the reading grew with the square of the file. */
test.each([
  ["200,000 nulls in an array", `[server]\nhost = [${"null,".repeat(200_000)}]`, 200_000],
  ["nulls under keys of their own", lines(70_000, (index) => `k${index}=null`), 70_000],
  ["unknown keys", `[server]\n${lines(60_000, (index) => `key_${index} = 1`)}`, 60_000],
  ["unknown tables", lines(60_000, (index) => `[t${index}.x]`), 60_000],
  ["keys without their secret", lines(20_000, () => '[[auth.keys]]\nid = "a"\nmcp_id = "b"\n'), 20_000],
  ["one key over and over", lines(10_000, () => '[[auth.keys]]\nid = "a"\nmcp_id = "b"\nkey = "0123456789abcdef"\n'), 9_999],
  [
    "the same documented key under many names",
    `[static_api_keys]\n${lines(20_000, (index) => `"0123456789abcdef${index}" = { mcp = "a" }`)}`,
    40_000,
  ],
  ["a dotted key of 250,000 parts", `${"a.".repeat(250_000)}a = 1`, 1],
  ["the same within an array", `[server]\nhost = [{ ${"a.".repeat(250_000)}a = 1 }]`, 1],
  ["the name of a table in 250,000 parts", `[${"a.".repeat(250_000)}a]`, 1],
  ["arrays in arrays", `a = ${"[".repeat(100_000)}`, 1],
  ["tables in tables", `a = ${"{a=".repeat(100_000)}`, 1],
  ["quotes without an end", `a = ${'"'.repeat(1_000_000)}`, 1],
  ["one name as long as the file", `${"n".repeat(1_000_000)} = 1`, 1],
])(
  "%s: the first hundred faults are told, shortly, and all are counted",
  (_, text, count) => {
    const result = load(text);
    if (result.kind !== "faulty") throw new Error("it has no fault");
    expect(result.faultCount).toBe(count);
    expect(result.faults).toHaveLength(Math.min(count, limits.configRemarksMax));
    for (const fault of result.faults) expect(describeRemark(fault).length).toBeLessThan(512);
  },
  60_000,
);

test("thousands of unknown variables are told like thousands of unknown keys", () => {
  const result = load("", Object.fromEntries(Array.from({ length: 20_000 }, (_, index) => [`MCPC_STRANGE__NAME_${index}`, "1"])));
  expect(result.kind === "faulty" ? [result.faults.length, result.faultCount] : []).toEqual([100, 20_000]);
});

test("thousands of warnings end in one that counts the rest", () => {
  const keys = lines(5_000, (index) => `[[auth.keys]]\nid = "k${index}"\nmcp_id = "m"\nkey = "plain-key-0123456789-${index}"`);
  const { kind, warnings } = load(keys);
  expect([kind, warnings.length, warnings.at(-1)?.message]).toEqual(["loaded", 101, "and 4900 more warnings"]);
});

test("a file that is too long is refused by its size, and a device without an end is read no further", () => {
  writeFileSync(join(dir, "long.toml"), `#${"x".repeat(limits.configFileMaxBytes)}`);
  for (const path of [join(dir, "long.toml"), "/dev/zero"]) {
    const result = readConfig({ env: {}, flags: { "--web-port": "x" }, configFlag: path, rng: () => 0 });
    expect(result.kind === "faulty" ? result.faults.map(describeRemark) : []).toEqual([
      `${path}: the file is longer than 1048576 bytes, which is more than any configuration has; nothing of it is read`,
      expect.stringMatching(/^flag --web-port/),
    ]);
  }
  expect(load(`#${"x".repeat(limits.configFileMaxBytes)}`).kind).toBe("faulty");
  expect(load(`#${"x".repeat(limits.configFileMaxBytes - 1)}`).kind).toBe("loaded");
});
