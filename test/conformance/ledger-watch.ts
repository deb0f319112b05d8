import { closeSync, openSync, readSync } from "node:fs";
import { parseLedgerLine } from "../../src/client/ledger-line.js";

/** Most that is read of a line of which no end has come. */
const lineMaxChars = 512 * 1024;

/** A ledger as another process writes it, read as far as it goes. */
export class LedgerWatch implements Disposable {
  readonly #path: string;
  #descriptor: number | undefined;
  #tail = "";
  readonly sent = new Set<string>();
  /** Verdicts by event id. */
  readonly acked = new Map<string, string[]>();
  /** Lines that are none, with the reason. */
  readonly faults: string[] = [];

  constructor(path: string) {
    this.#path = path;
  }

  /** Reads what was written since. A file that is not there yet is empty. Errors: the file system's. */
  read(): void {
    const descriptor = this.#open();
    if (descriptor === undefined) return;
    const chunk = Buffer.alloc(256 * 1024);
    for (;;) {
      const bytes = readSync(descriptor, chunk, 0, chunk.length, null);
      if (bytes === 0) return;
      const lines = (this.#tail + chunk.toString("latin1", 0, bytes)).split("\n");
      this.#tail = (lines.pop() ?? "").slice(-lineMaxChars);
      for (const line of lines) this.#take(Buffer.from(line, "latin1").toString("utf8"));
    }
  }

  [Symbol.dispose](): void {
    if (this.#descriptor !== undefined) closeSync(this.#descriptor);
    this.#descriptor = undefined;
  }

  #take(line: string): void {
    if (line === "") return;
    const parsed = parseLedgerLine(line);
    if (parsed.kind === "sent") this.sent.add(parsed.eventId);
    else if (parsed.kind === "acked") this.acked.set(parsed.eventId, [...(this.acked.get(parsed.eventId) ?? []), parsed.status]);
    else if (this.faults.length < 20) this.faults.push(`${parsed.reason}: ${line.slice(0, 120)}`);
  }

  #open(): number | undefined {
    if (this.#descriptor !== undefined) return this.#descriptor;
    try {
      this.#descriptor = openSync(this.#path, "r");
    } catch (thrown) {
      if (!(thrown instanceof Error && "code" in thrown && thrown.code === "ENOENT")) throw thrown;
    }
    return this.#descriptor;
  }
}
