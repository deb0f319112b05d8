import { closeSync, openSync, writeSync } from "node:fs";
import { join } from "node:path";
import { readTextLines } from "./text-lines.js";

/** Text sorted in memory at once: some 100 MiB of strings. What is more goes to files, 90 of them for ten million events of 300 bytes. */
const runMaxChars = 32 * 1024 * 1024;
const writeMaxChars = 256 * 1024;

type Run = { readonly lines: Iterator<string>; current: string };

/** Sorts any number of lines by their code units in bounded memory: sorted runs in files, then one merge over all of them. */
export class LineSorter {
  readonly #dir: string;
  readonly #name: string;
  readonly #runMaxChars: number;
  readonly #files: string[] = [];
  #lines: string[] = [];
  #chars = 0;

  /** Files go to `dir` and begin with `name`; the owner of `dir` removes them. */
  constructor(dir: string, name: string, runChars: number = runMaxChars) {
    this.#dir = dir;
    this.#name = name;
    this.#runMaxChars = runChars;
  }

  /** Takes a line. It must not hold a line end. Errors: the file system's. */
  add(line: string): void {
    this.#lines.push(line);
    this.#chars += line.length;
    if (this.#chars >= this.#runMaxChars) this.#writeRun();
  }

  /** All lines in ascending order, once; nothing may be added afterwards. Errors: the file system's. */
  *sorted(): Generator<string> {
    const inMemory = this.#lines.sort(ascending);
    this.#lines = [];
    if (this.#files.length === 0) yield* inMemory;
    else yield* merge([inMemory.values(), ...this.#files.map(linesOf)]);
  }

  #writeRun(): void {
    const path = join(this.#dir, `${this.#name}-${this.#files.length}`);
    const descriptor = openSync(path, "wx", 0o600);
    try {
      let text = "";
      for (const line of this.#lines.sort(ascending)) {
        text += `${line}\n`;
        if (text.length < writeMaxChars) continue;
        writeWhole(descriptor, text);
        text = "";
      }
      writeWhole(descriptor, text);
    } finally {
      closeSync(descriptor);
    }
    this.#files.push(path);
    this.#lines = [];
    this.#chars = 0;
  }
}

function writeWhole(descriptor: number, text: string): void {
  const bytes = Buffer.from(text);
  for (let at = 0; at < bytes.length; ) at += writeSync(descriptor, bytes, at);
}

function* linesOf(path: string): Generator<string> {
  for (const { text } of readTextLines(path, Number.POSITIVE_INFINITY)) yield text;
}

function* merge(sources: readonly Iterator<string>[]): Generator<string> {
  const heap: Run[] = [];
  for (const lines of sources) {
    const first = lines.next();
    if (!first.done) heap.push({ lines, current: first.value });
  }
  heap.sort((a, b) => ascending(a.current, b.current));
  for (let top = heap[0]; top !== undefined; top = heap[0]) {
    yield top.current;
    const next = top.lines.next();
    if (!next.done) top.current = next.value;
    else {
      const last = heap.pop();
      if (last === undefined || heap.length === 0) return;
      heap[0] = last;
    }
    sink(heap);
  }
}

/** Moves the first run down to its place; the rest is a heap already. */
function sink(heap: Run[]): void {
  const moving = heap[0];
  if (moving === undefined) return;
  let at = 0;
  for (;;) {
    let child = 2 * at + 1;
    let smaller = heap[child];
    const right = heap[child + 1];
    if (smaller === undefined) break;
    if (right !== undefined && right.current < smaller.current) {
      smaller = right;
      child++;
    }
    if (moving.current <= smaller.current) break;
    heap[at] = smaller;
    at = child;
  }
  heap[at] = moving;
}

function ascending(a: string, b: string): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}
