import { appendFileSync, existsSync, readFileSync } from "node:fs";

/**
 * What reporting processes of one MCP have taken, in the words of their ledger. A line is written before and after each stretch of interactions, so that a kill -9 between leaves
 * a stretch whose events may be stored or not: the next process goes on behind it.
 */
export type Ledger = {
  /** The last interaction that was begun; 0 for none. */
  readonly lastTaken: number;
  readonly durableCount: number;
  /** Whether the reporter said that everything of an interaction was on disk. */
  readonly isDurable: (interaction: number) => boolean;
};

export function noteTaking(path: string, first: number, last: number): void {
  appendFileSync(path, `taking ${first} ${last}\n`);
}

export function noteDurable(path: string, first: number, last: number): void {
  appendFileSync(path, `durable ${first} ${last}\n`);
}

/** Reads a ledger; a file that is not there is an empty one. Errors: on a line that nobody writes. */
export function readLedger(path: string): Ledger {
  const durable = new Set<number>();
  let lastTaken = 0;
  const lines = existsSync(path) ? readFileSync(path, "utf8").split("\n").slice(0, -1) : [];
  for (const line of lines) {
    const [, word, first, last] = /^(taking|durable) (\d+) (\d+)$/.exec(line) ?? [];
    if (word === undefined) throw new Error(`${path}: a line that nobody writes: ${line}`);
    if (word === "taking") lastTaken = Math.max(lastTaken, Number(last));
    else for (let at = Number(first); at <= Number(last); at += 1) durable.add(at);
  }
  return { lastTaken, durableCount: durable.size, isDurable: (interaction) => durable.has(interaction) };
}
