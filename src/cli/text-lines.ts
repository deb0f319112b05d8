import { closeSync, openSync, readSync } from "node:fs";

/** One line of a file without its end; `hasEnd` is false for a last line that was cut off. */
export type TextLine = { readonly number: number; readonly text: string; readonly hasEnd: boolean };

const chunkBytes = 256 * 1024;
const newline = 0x0a;

/**
 * The lines of a file in order, read as they are asked for. Only "\n" ends a line, unlike in node:readline, and a last line without an end is told apart.
 * Bound: one line and one chunk in memory; a line longer than `lineMaxBytes` comes as its first bytes, for its reader to find wrong.
 * Errors: the file system's.
 */
export function* readTextLines(path: string, lineMaxBytes: number): Generator<TextLine> {
  const descriptor = openSync(path, "r");
  const chunk = Buffer.allocUnsafe(chunkBytes);
  let begun: Buffer[] = [];
  let begunBytes = 0;
  let number = 1;
  const keep = (part: Buffer) => {
    if (part.length === 0 || begunBytes >= lineMaxBytes) return;
    begun.push(Buffer.from(part));
    begunBytes += part.length;
  };
  try {
    for (let read = readSync(descriptor, chunk); read > 0; read = readSync(descriptor, chunk)) {
      let start = 0;
      for (let end = chunk.indexOf(newline); end >= 0 && end < read; end = chunk.indexOf(newline, start)) {
        const tail = chunk.subarray(start, end);
        const text = begun.length === 0 ? tail.toString() : Buffer.concat([...begun, tail]).toString();
        begun = [];
        begunBytes = 0;
        start = end + 1;
        yield { number: number++, text, hasEnd: true };
      }
      keep(chunk.subarray(start, read));
    }
    if (begun.length > 0) yield { number, text: Buffer.concat(begun).toString(), hasEnd: false };
  } finally {
    closeSync(descriptor);
  }
}
