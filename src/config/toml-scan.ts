/** A key as a path: names of tables, indexes of arrays of tables, then the key itself. */
export type TomlPath = readonly string[];

/** Where keys stand in a TOML text. Made for messages only: a text that is not TOML gives the places up to its first error. */
export type TomlScan = {
  /** Line of a key or table, from 1; undefined when it was not seen. */
  readonly lineOf: (path: TomlPath) => number | undefined;
  /** Keys that are given the word `null`, which TOML does not have, with the offset of that word. */
  readonly nulls: readonly TomlNull[];
};

export type TomlNull = { readonly path: TomlPath; readonly line: number; readonly offset: number };

/** The text, how far it has been read, and what was seen so far. */
type Cursor = {
  readonly text: string;
  at: number;
  readonly lineStarts: readonly number[];
  readonly lines: Map<string, number>;
  readonly nulls: TomlNull[];
  /** Tables seen of each array of tables. */
  readonly arrays: Map<string, number>;
};

const blank = /(?:[ \t\r\n]|#[^\n]*)*/y;
const space = /[ \t]*/y;
const segment = /[ \t]*(?:([A-Za-z0-9_-]+)|"((?:[^"\\\n]|\\.)*)"|'([^'\n]*)')[ \t]*/y;
const quoted = /"""(?:[^\\]|\\[\s\S])*?"""|'''[\s\S]*?'''|"(?:[^"\\\n]|\\.)*"|'[^'\n]*'/y;
const bare = /[^,\]}#\n"'[{]+/y;

/** Deepest nesting of arrays and inline tables, and most parts of a dotted key, that are looked into: no setting has more than three. */
export const tomlDepthMax = 16;

/** Finds the line of every key. The parser that judges the text, smol-toml, gives positions for syntax errors only. */
export function scanToml(text: string): TomlScan {
  const cursor: Cursor = { text, at: 0, lineStarts: findLineStarts(text), lines: new Map(), nulls: [], arrays: new Map() };
  let table: TomlPath = [];
  for (take(cursor, blank); cursor.at < text.length; take(cursor, blank)) {
    if (text[cursor.at] === "[") {
      const header = takeHeader(cursor);
      if (header === undefined) break;
      table = header;
    } else if (!takePair(cursor, table, 0)) break;
  }
  return { lineOf: (path) => cursor.lines.get(JSON.stringify(path)), nulls: cursor.nulls };
}

/** `[a.b]` or `[[a.b]]`: the path of the table it opens. */
function takeHeader(cursor: Cursor): TomlPath | undefined {
  const offset = cursor.at;
  const isArray = takeWord(cursor, "[[");
  if (!isArray) takeWord(cursor, "[");
  const key = takeKey(cursor);
  if (key === undefined || !takeWord(cursor, isArray ? "]]" : "]")) return undefined;
  let path: TomlPath = [];
  for (const [index, part] of key.entries()) {
    path = [...path, part];
    const isLast = index === key.length - 1;
    const count = cursor.arrays.get(JSON.stringify(path));
    if (!isLast && count !== undefined) path = [...path, String(count - 1)];
  }
  record(cursor, path, offset);
  if (!isArray) return path;
  const name = JSON.stringify(path);
  const index = cursor.arrays.get(name) ?? 0;
  cursor.arrays.set(name, index + 1);
  const item = [...path, String(index)];
  record(cursor, item, offset);
  return item;
}

/** `a.b = value`; false when the text is something else. */
function takePair(cursor: Cursor, table: TomlPath, depth: number): boolean {
  take(cursor, space);
  const offset = cursor.at;
  const key = takeKey(cursor);
  if (key === undefined || !takeWord(cursor, "=")) return false;
  const path = [...table, ...key];
  record(cursor, path, offset);
  take(cursor, space);
  return takeValue(cursor, path, depth);
}

function takeKey(cursor: Cursor): string[] | undefined {
  const path: string[] = [];
  do {
    const part = take(cursor, segment);
    if (part === undefined || path.length === tomlDepthMax) return undefined;
    path.push(part[1] ?? part[2] ?? part[3] ?? "");
  } while (takeWord(cursor, "."));
  return path;
}

function takeValue(cursor: Cursor, path: TomlPath, depth: number): boolean {
  if (depth > tomlDepthMax) return false;
  if (/^null\b/.test(cursor.text.slice(cursor.at, cursor.at + 5))) {
    cursor.nulls.push({ path, line: lineAt(cursor.lineStarts, cursor.at), offset: cursor.at });
  }
  if (takeWord(cursor, "[")) return takeItems(cursor, "]", () => takeValue(cursor, path, depth + 1));
  if (takeWord(cursor, "{")) return takeItems(cursor, "}", () => takePair(cursor, path, depth + 1));
  return take(cursor, quoted) !== undefined || take(cursor, bare) !== undefined;
}

function takeItems(cursor: Cursor, end: string, takeItem: () => boolean): boolean {
  for (;;) {
    take(cursor, blank);
    if (takeWord(cursor, end)) return true;
    if (!takeItem()) return false;
    take(cursor, blank);
    if (!takeWord(cursor, ",") && !cursor.text.startsWith(end, cursor.at)) return false;
  }
}

function take(cursor: Cursor, pattern: RegExp): RegExpExecArray | undefined {
  pattern.lastIndex = cursor.at;
  const found = pattern.exec(cursor.text);
  if (found === null) return undefined;
  cursor.at = pattern.lastIndex;
  return found;
}

function takeWord(cursor: Cursor, word: string): boolean {
  if (!cursor.text.startsWith(word, cursor.at)) return false;
  cursor.at += word.length;
  return true;
}

function record(cursor: Cursor, path: TomlPath, offset: number): void {
  const name = JSON.stringify(path);
  if (!cursor.lines.has(name)) cursor.lines.set(name, lineAt(cursor.lineStarts, offset));
}

function findLineStarts(text: string): readonly number[] {
  const starts = [0];
  for (let at = text.indexOf("\n"); at !== -1; at = text.indexOf("\n", at + 1)) starts.push(at + 1);
  return starts;
}

/** The last line that starts at or before `offset`, by halving. */
function lineAt(starts: readonly number[], offset: number): number {
  let low = 0;
  let high = starts.length;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if ((starts[middle] ?? 0) <= offset) low = middle;
    else high = middle;
  }
  return low + 1;
}
