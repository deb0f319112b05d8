import { parse, TomlError } from "smol-toml";
import { limits } from "../platform/limits.js";
import type { Place, Remark } from "./place.js";
import { noRemarks, note, type Remarks } from "./remarks.js";
import { scanToml, type TomlNull, type TomlPath, tomlDepthMax } from "./toml-scan.js";

export type TomlTable = Readonly<Record<string, unknown>>;

/** A TOML text as data, with a place for each key. */
export type TomlFile = {
  /** Empty when the text is not TOML. */
  readonly root: TomlTable;
  /** Place of a key; `shown` replaces the key in messages, for keys that are secrets. */
  readonly placeOf: (path: TomlPath, shown?: string) => Place;
  readonly faults: Remarks;
};

/**
 * Parses a configuration file. A `null` is reported at its place and the key then taken for absent, so that the faults behind it are seen too;
 * any other syntax error ends the reading of the file. Takes time in proportion to the text, whatever is in it.
 * Bound: `limits.configFileMaxBytes`, above which nothing is read.
 */
export function readToml(text: string, file: string): TomlFile {
  if (Buffer.byteLength(text) > limits.configFileMaxBytes) return refuseLong(file);
  const scan = scanToml(text);
  const placeOf = (path: TomlPath, shown?: string): Place => ({
    kind: "file",
    file,
    line: scan.lineOf(path) ?? scan.lineOf(path.slice(0, -1)),
    key: shown ?? showPath(path),
  });
  const faults = noRemarks();
  for (const { path } of scan.nulls)
    note(faults, () => ({ place: placeOf(path, nullName(path)), message: "TOML has no null; leave the key out to mean none" }));
  try {
    const root = parse(withoutNulls(text, scan.nulls), { unsafeKeyBehaviour: "throw", maxDepth: tomlDepthMax });
    const nullPaths = scan.nulls.map(({ path }) => path);
    return { root: nullPaths.length === 0 ? root : withoutPaths(root, nullPaths), placeOf, faults };
  } catch (thrown) {
    // Translated into a fault. Only the first line of the message: the rest shows lines of the file, which may hold secrets.
    if (!(thrown instanceof TomlError)) throw thrown;
    const message = thrown.message.split("\n", 1)[0]?.replace("Invalid TOML document: ", "not TOML: ") ?? "not TOML";
    note(faults, () => ({ place: { kind: "file", file, line: thrown.line, key: `column ${thrown.column}` }, message }));
    return { root: {}, placeOf, faults };
  }
}

/** The fault of a file of which nothing is read because it is too long. */
export function longFault(file: string): Remark {
  const message = `the file is longer than ${limits.configFileMaxBytes} bytes, which is more than any configuration has; nothing of it is read`;
  return { place: { kind: "file", file, line: undefined, key: "" }, message };
}

function refuseLong(file: string): TomlFile {
  const faults = noRemarks();
  note(faults, () => longFault(file));
  const placeOf = (path: TomlPath, shown?: string): Place => ({ kind: "file", file, line: undefined, key: shown ?? showPath(path) });
  return { root: {}, placeOf, faults };
}

/** The text with a number in the place of each `null`, as long as the word. */
function withoutNulls(text: string, nulls: readonly TomlNull[]): string {
  const pieces: string[] = [];
  let at = 0;
  for (const { offset } of nulls) {
    pieces.push(text.slice(at, offset), "0   ");
    at = offset + 4;
  }
  return [...pieces, text.slice(at)].join("");
}

/** Whether a value is a table, and not a date or an array. */
export function isTable(value: unknown): value is TomlTable {
  return typeof value === "object" && value !== null && !Array.isArray(value) && !(value instanceof Date);
}

/** A copy of `table` without the keys at `paths`; what is not there is no matter. */
function withoutPaths(table: TomlTable, paths: readonly TomlPath[]): TomlTable {
  const tails = new Map<string, TomlPath[]>();
  for (const [head, ...rest] of paths) {
    if (head === undefined) continue;
    const known = tails.get(head);
    if (known === undefined) tails.set(head, [rest]);
    else known.push(rest);
  }
  return Object.fromEntries(
    Object.entries(table).flatMap(([key, value]) => {
      const inner = tails.get(key);
      if (inner === undefined) return [[key, value]];
      return inner.some((rest) => rest.length === 0) ? [] : [[key, withoutInner(value, inner)]];
    }),
  );
}

function withoutInner(value: unknown, paths: readonly TomlPath[]): unknown {
  if (isTable(value)) return withoutPaths(value, paths);
  if (!Array.isArray(value)) return value;
  // By their indexes the items of an array of tables are keys like others.
  const items: readonly unknown[] = value;
  const kept = withoutPaths(Object.fromEntries(items.entries()), paths);
  return items.map((item, index) => (String(index) in kept ? kept[String(index)] : item));
}

/** At most 128 characters of it. */
function showPath(path: TomlPath): string {
  const shown = path.slice(0, tomlDepthMax).join(".");
  return shown.length > 128 ? `${shown.slice(0, 125)}...` : shown;
}

/** In the documented table of keys the second name is the key itself, a secret. */
function nullName(path: TomlPath): string {
  return path[0] === "static_api_keys" && path.length > 2 ? `static_api_keys.(key).${showPath(path.slice(2))}` : showPath(path);
}
