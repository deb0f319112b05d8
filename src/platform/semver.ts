/**
 * A semantic version. `pre` are the identifiers after "-": numbers for those of digits only. What follows "+" says nothing about order and is not kept.
 * Source: semver.org 2.0.0, items 2, 9, 10, 11.
 */
export type Version = {
  readonly major: number;
  readonly minor: number;
  readonly patch: number;
  readonly pre: readonly (number | string)[];
};

/** One bound of a range. */
type Comparator = { readonly operator: ">=" | ">" | "<=" | "<" | "="; readonly version: Version };

/** Alternatives, each a list of bounds that must all hold. */
export type Range = readonly (readonly Comparator[])[];

const number = "(0|[1-9]\\d*)";
const identifiers = "[0-9A-Za-z-]+(?:\\.[0-9A-Za-z-]+)*";
const versionShape = new RegExp(`^${number}\\.${number}\\.${number}(?:-(${identifiers}))?(?:\\+${identifiers})?$`);
const partialShape = new RegExp(
  `^(\\^|~|>=|<=|>|<|=)?\\s*v?(?:${number}|[xX*])(?:\\.(?:${number}|[xX*])(?:\\.(?:${number}|[xX*])(?:-(${identifiers}))?(?:\\+${identifiers})?)?)?$`,
);

/** A version with all three numbers; undefined for anything else, such as "1.0", "v1.0.0", "01.0.0" and "1.0.0-01". */
export function parseVersion(text: string): Version | undefined {
  const [, major, minor, patch, pre] = versionShape.exec(text) ?? [];
  if (major === undefined || minor === undefined || patch === undefined) return undefined;
  return versionOf(Number(major), Number(minor), Number(patch), pre);
}

/** Numbers beyond 2^53 have no order in a double; a pre-release of digits has no leading zero. */
function versionOf(major: number, minor: number, patch: number, pre: string | undefined): Version | undefined {
  const parts = pre === undefined ? [] : pre.split(".");
  if (parts.some((part) => /^0\d+$/.test(part))) return undefined;
  const identifiers = parts.map((part) => (/^\d+$/.test(part) ? Number(part) : part));
  const numbers = [major, minor, patch, ...identifiers.filter((one) => typeof one === "number")];
  return numbers.every(Number.isSafeInteger) ? { major, minor, patch, pre: identifiers } : undefined;
}

/** Below 0 when `a` comes before `b`, 0 when neither does, above 0 otherwise. */
export function compareVersions(a: Version, b: Version): number {
  const core = a.major - b.major || a.minor - b.minor || a.patch - b.patch;
  if (core !== 0) return core;
  if (a.pre.length === 0 || b.pre.length === 0) return b.pre.length - a.pre.length; // a release comes after its pre-releases
  for (const [index, one] of a.pre.entries()) {
    const other = b.pre[index];
    if (other === undefined) return 1;
    const order = compareIdentifiers(one, other);
    if (order !== 0) return order;
  }
  return a.pre.length - b.pre.length;
}

/** Numbers by size and before words, words by their ASCII. */
function compareIdentifiers(a: number | string, b: number | string): number {
  if (typeof a === "number" && typeof b === "number") return a - b;
  if (typeof a === "number") return -1;
  if (typeof b === "number") return 1;
  return a < b ? -1 : a > b ? 1 : 0;
}

/**
 * A range: comparators that must all hold, separated by blanks; alternatives by "||". Comparators are `>=1.2.3`, `>`, `<=`, `<`, `=`, `1.2.3`, `^1.2.3`
 * (the leftmost number that is not 0 stays), `~1.2.3` (the minor number stays), and any of them with numbers left out or as x, X or *, which stand
 * for any. "*" and the empty alternative accept every release. Undefined for anything else.
 */
export function parseRange(text: string): Range | undefined {
  const alternatives: (readonly Comparator[])[] = [];
  for (const part of text.split("||")) {
    const words = part
      .trim()
      .replaceAll(/(\^|~|>=|<=|>|<|=)\s+/g, "$1")
      .split(/\s+/);
    const comparators: Comparator[] = [];
    for (const word of words) {
      const parsed = word === "" ? [] : parseComparator(word);
      if (parsed === undefined) return undefined;
      comparators.push(...parsed);
    }
    alternatives.push(comparators);
  }
  return alternatives;
}

function parseComparator(word: string): readonly Comparator[] | undefined {
  const found = partialShape.exec(word);
  if (found === null) return undefined;
  const [, operator = "", major, minor, patch, pre] = found;
  const numbers = [major, minor, patch];
  const known = numbers.indexOf(undefined);
  // After a number that stands for any, nothing may be said: "1.x.3" has no meaning.
  if (known !== -1 && (numbers.slice(known).some((one) => one !== undefined) || pre !== undefined)) return undefined;
  const base = versionOf(Number(major ?? 0), Number(minor ?? 0), Number(patch ?? 0), pre);
  return base && comparatorsOf(operator, base, known === -1 ? 3 : known);
}

/** `known` is how many of the three numbers are said. Ranges become bounds: `~1.2` is `>=1.2.0 <1.3.0`. */
function comparatorsOf(operator: string, base: Version, known: number): readonly Comparator[] {
  const atLeast: Comparator = { operator: ">=", version: base };
  const below = (version: Version): Comparator => ({ operator: "<", version });
  switch (operator) {
    case "^": {
      const fixed = base.major > 0 || known === 1 ? 1 : base.minor > 0 || known === 2 ? 2 : 3;
      return known === 0 ? [] : [atLeast, below(nextAfter(base, fixed))];
    }
    case "~":
      return known === 0 ? [] : [atLeast, below(nextAfter(base, Math.min(known, 2)))];
    case ">=":
      return known === 0 ? [] : [atLeast];
    case ">":
      if (known === 0) return [below(lowest)];
      return known === 3 ? [{ operator: ">", version: base }] : [{ operator: ">=", version: nextAfter(base, known) }];
    case "<":
      return [below(known === 0 ? lowest : base)];
    case "<=":
      if (known === 0) return [];
      return known === 3 ? [{ operator: "<=", version: base }] : [below(nextAfter(base, known))];
    default:
      if (known === 0) return [];
      return known === 3 ? [{ operator: "=", version: base }] : [atLeast, below(nextAfter(base, known))];
  }
}

/** Below every version there is. */
const lowest: Version = { major: 0, minor: 0, patch: 0, pre: [0] };

/** The first version whose first `count` numbers differ: its lowest pre-release, so that "<" leaves those out too. */
function nextAfter({ major, minor, patch }: Version, count: number): Version {
  const pre = [0];
  if (count === 1) return { major: major + 1, minor: 0, patch: 0, pre };
  return count === 2 ? { major, minor: minor + 1, patch: 0, pre } : { major, minor, patch: patch + 1, pre };
}

/**
 * Whether a version lies in a range. A pre-release does so only where an alternative names a pre-release of the same three numbers: whoever asks for
 * "^1.0.0" does not ask for "1.5.0-alpha".     Source: the rule of npm's semver, "Prerelease Tags".
 */
export function satisfies(version: Version, range: Range): boolean {
  return range.some((comparators) => {
    if (!comparators.every((one) => holds(version, one))) return false;
    return version.pre.length === 0 || comparators.some((one) => isNamedPreRelease(version, one.version));
  });
}

function isNamedPreRelease(version: Version, named: Version): boolean {
  if (named.pre.length === 0 || (named.pre.length === 1 && named.pre[0] === 0)) return false;
  return named.major === version.major && named.minor === version.minor && named.patch === version.patch;
}

function holds(version: Version, { operator, version: bound }: Comparator): boolean {
  const order = compareVersions(version, bound);
  switch (operator) {
    case ">=":
      return order >= 0;
    case ">":
      return order > 0;
    case "<=":
      return order <= 0;
    case "<":
      return order < 0;
    case "=":
      return order === 0;
  }
}
