import { parse, TomlError } from "smol-toml";
import type { Place, Remark } from "./place.js";
import { scanToml, type TomlPath } from "./toml-scan.js";

export type TomlTable = Readonly<Record<string, unknown>>;

/** A TOML text as data, with a place for each key. */
export type TomlFile = {
  /** Empty when the text is not TOML. */
  readonly root: TomlTable;
  /** Place of a key; `shown` replaces the key in messages, for keys that are secrets. */
  readonly placeOf: (path: TomlPath, shown?: string) => Place;
  readonly faults: readonly Remark[];
};

/** Longest configuration file: thousands of keys. Unit: UTF-16 units. */
const fileMaxLength = 1024 * 1024;

/**
 * Parses a configuration file. A `null` is reported at its place and the key then taken for absent, so that the faults behind it are seen too;
 * any other syntax error ends the reading of the file.
 */
export function readToml(text: string, file: string): TomlFile {
  const scan = scanToml(text);
  const placeOf = (path: TomlPath, shown?: string): Place => ({
    kind: "file",
    file,
    line: scan.lineOf(path) ?? scan.lineOf(path.slice(0, -1)),
    key: shown ?? showPath(path),
  });
  const nullFaults = scan.nulls.map(({ path }) => ({
    place: placeOf(path, nullName(path)),
    message: "TOML has no null; leave the key out to mean none",
  }));
  if (text.length > fileMaxLength) {
    const message = `the file is longer than ${fileMaxLength} characters`;
    return { root: {}, placeOf, faults: [{ place: { kind: "file", file, line: undefined, key: "" }, message }] };
  }
  try {
    const readable = scan.nulls.reduce((out, { offset }) => `${out.slice(0, offset)}0   ${out.slice(offset + 4)}`, text);
    const root = parse(readable, { unsafeKeyBehaviour: "throw", maxDepth: 16 });
    return { root: scan.nulls.reduce<TomlTable>((table, { path }) => without(table, path), root), placeOf, faults: nullFaults };
  } catch (thrown) {
    // Translated into a fault. Only the first line of the message: the rest shows lines of the file, which may hold secrets.
    if (!(thrown instanceof TomlError)) throw thrown;
    const message = thrown.message.split("\n", 1)[0]?.replace("Invalid TOML document: ", "not TOML: ") ?? "not TOML";
    const place: Place = { kind: "file", file, line: thrown.line, key: `column ${thrown.column}` };
    return { root: {}, placeOf, faults: [...nullFaults, { place, message }] };
  }
}

/** Whether a value is a table, and not a date or an array. */
export function isTable(value: unknown): value is TomlTable {
  return typeof value === "object" && value !== null && !Array.isArray(value) && !(value instanceof Date);
}

/** A copy of `table` without the key at `path`; what is not there is no matter. */
function without(table: TomlTable, path: TomlPath): TomlTable {
  const [head, ...rest] = path;
  if (head === undefined || !(head in table)) return table;
  if (rest.length === 0) return Object.fromEntries(Object.entries(table).filter(([key]) => key !== head));
  const inner = table[head];
  if (isTable(inner)) return { ...table, [head]: without(inner, rest) };
  if (!Array.isArray(inner)) return table;
  const [index, ...beyond] = rest;
  const items: readonly unknown[] = inner;
  return { ...table, [head]: items.map((item, at) => (String(at) === index && isTable(item) ? without(item, beyond) : item)) };
}

function showPath(path: TomlPath): string {
  return path.join(".");
}

/** In the documented table of keys the second name is the key itself, a secret. */
function nullName(path: TomlPath): string {
  return path[0] === "static_api_keys" && path.length > 2 ? `static_api_keys.(key).${path.slice(2).join(".")}` : showPath(path);
}
