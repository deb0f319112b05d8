import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { compareVersions, parseRange, parseVersion, satisfies, type Version } from "../../../src/platform/semver.js";

function versionOf(text: string): Version {
  const version = parseVersion(text);
  if (version === undefined) throw new Error(`${text} is a version`);
  return version;
}

function isIn(version: string, range: string): boolean {
  const parsed = parseRange(range);
  if (parsed === undefined) throw new Error(`${range} is a range`);
  return satisfies(versionOf(version), parsed);
}

describe("a version", () => {
  it.each([
    "0.0.0",
    "1.2.3",
    "10.20.30",
    "1.0.0-alpha",
    "1.0.0-alpha.1",
    "1.0.0-0.3.7",
    "1.0.0-x-y-z.--",
    "1.0.0+build.1",
    "1.0.0-rc.1+sha.5",
  ])("is %s", (text) => expect(parseVersion(text)).toBeDefined());

  it.each([
    "",
    "1",
    "1.2",
    "v1.2.3",
    "01.2.3",
    "1.02.3",
    "1.2.3-",
    "1.2.3-01",
    "1.2.3-a..b",
    "1.2.3+",
    "1.2.3 ",
    "-1.2.3",
    "1.2.9007199254740993",
    "a.b.c",
  ])("is not %j", (text) => expect(parseVersion(text)).toBeUndefined());

  it("comes in the order that the specification shows", () => {
    const ordered = [
      "1.0.0-alpha",
      "1.0.0-alpha.1",
      "1.0.0-alpha.beta",
      "1.0.0-beta",
      "1.0.0-beta.2",
      "1.0.0-beta.11",
      "1.0.0-rc.1",
      "1.0.0",
      "1.0.1",
      "1.1.0",
      "2.0.0",
    ].map(versionOf);
    for (const [i, one] of ordered.entries()) {
      for (const [j, other] of ordered.entries()) expect(Math.sign(compareVersions(one, other))).toBe(Math.sign(i - j));
    }
    expect(compareVersions(versionOf("1.0.0+a"), versionOf("1.0.0+b"))).toBe(0);
  });
});

describe("a range", () => {
  it.each([
    ["^1.2.3", ["1.2.3", "1.9.0"], ["1.2.2", "2.0.0", "2.0.0-alpha"]],
    ["^0.2.3", ["0.2.3", "0.2.9"], ["0.3.0", "0.2.2"]],
    ["^0.0.3", ["0.0.3"], ["0.0.4", "0.0.2"]],
    ["^0.0", ["0.0.0", "0.0.9"], ["0.1.0"]],
    ["^0", ["0.0.0", "0.9.9"], ["1.0.0"]],
    ["^1.x", ["1.0.0", "1.99.0"], ["2.0.0"]],
    ["~1.2.3", ["1.2.3", "1.2.99"], ["1.3.0"]],
    ["~1.2", ["1.2.0"], ["1.3.0"]],
    ["~1", ["1.0.0", "1.9.0"], ["2.0.0"]],
    [">=1.2.0 <2.0.0", ["1.2.0", "1.99.99"], ["1.1.9", "2.0.0"]],
    [">= 1.2.0 < 2", ["1.2.0"], ["2.0.0"]],
    [">1", ["2.0.0"], ["1.9.9"]],
    ["<=1.2", ["1.2.99"], ["1.3.0"]],
    ["1.x", ["1.0.0", "1.5.5"], ["2.0.0", "0.9.0"]],
    ["1.2.X || 3.*", ["1.2.7", "3.4.5"], ["1.3.0", "2.0.0"]],
    ["*", ["0.0.0", "9.9.9"], ["1.0.0-alpha"]],
    ["", ["1.2.3"], ["1.2.3-beta"]],
    ["=1.2.3", ["1.2.3", "1.2.3+build"], ["1.2.4"]],
    [">=1.2.3-beta.2", ["1.2.3-beta.3", "1.2.3", "1.3.0"], ["1.2.3-beta.1", "1.3.0-alpha"]],
    ["<*", [], ["0.0.0", "1.0.0"]],
  ])("%j holds %j and not %j", (range, inside, outside) => {
    for (const version of inside) expect(`${version} ${isIn(version, range)}`).toBe(`${version} true`);
    for (const version of outside) expect(`${version} ${isIn(version, range)}`).toBe(`${version} false`);
  });

  it.each(["latest", ">=", "1.2.3.4", "1.x.3", "^^1.0.0", "1.0.0 - 2.0.0", "1,2", "=>1.0.0", "1.2.x-beta"])("is not %j", (text) =>
    expect(parseRange(text)).toBeUndefined(),
  );

  it("^ and ~ hold the version they name and what is compatible by their definitions, for any version", () => {
    const part = fc.integer({ min: 0, max: 30 });
    fc.assert(
      fc.property(part, part, part, part, part, part, (a, b, c, d, e, f) => {
        const [base, other] = [`${a}.${b}.${c}`, `${d}.${e}.${f}`];
        const isNotBefore = compareVersions(versionOf(other), versionOf(base)) >= 0;
        const isSame = (count: number) => [d === a, e === b, f === c].slice(0, count).every(Boolean);
        expect(isIn(other, `~${base}`)).toBe(isNotBefore && isSame(2));
        expect(isIn(other, `^${base}`)).toBe(isNotBefore && isSame(a > 0 ? 1 : b > 0 ? 2 : 3));
        expect(isIn(other, `>=${base}`)).toBe(isNotBefore);
        expect(isIn(other, `<${base}`)).toBe(!isNotBefore);
      }),
    );
  });
});
