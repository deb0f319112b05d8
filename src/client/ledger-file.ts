import { closeSync, fstatSync, ftruncateSync, openSync, readSync, writeSync } from "node:fs";
import { EventStatus } from "../../gen/mcp/coordinator/v1/events_pb.js";
import { type AckStatus, formatLedgerLine } from "./ledger-line.js";
import type { Settled } from "./options.js";

/** Verdicts that may be lost with the process: an event without one is indeterminate, which is safe. */
const unwrittenMaxChars = 16 * 1024;
const tailBytes = 64 * 1024;
const newline = 0x0a;

/** Opens a ledger to append to, and makes it when missing; what a crash left of a last line is cut off. Errors: the file system's. */
export function openLedgerFile(path: string): LedgerFile {
  // Not "a": its descriptor cannot be read, and Linux appends whatever the position.
  const descriptor = openSync(path, "a+", 0o600);
  const { size } = fstatSync(descriptor);
  const end = endOfLastLine(descriptor, size);
  if (end < size) ftruncateSync(descriptor, end);
  return new LedgerFile(descriptor);
}

/**
 * What was sent and what was acknowledged, in a file that `mcp-coordinator verify` compares with the store. One owner per file.
 * Survives `kill -9` of its process, not a power cut.     Errors: the file system's, from every method.     Source: docs/verify.md.
 */
export class LedgerFile implements Disposable {
  readonly #descriptor: number;
  #unwritten = "";
  #isOpen = true;

  constructor(descriptor: number) {
    this.#descriptor = descriptor;
  }

  /** Notes an event that is about to be sent. In the file when this returns: the store can hold no event that the ledger does not know. */
  sent(eventId: string, mcpId: string, interactionId: string, encoded: Uint8Array): void {
    const event = Buffer.from(encoded.buffer, encoded.byteOffset, encoded.byteLength).toString("base64");
    this.#append(formatLedgerLine({ kind: "sent", eventId, mcpId, interactionId, event }));
    this.flush();
  }

  /** Notes a verdict. In the file with the next event that is sent, or at the next flush. */
  settled({ eventId, verdict, ack }: Settled): void {
    this.#append(formatLedgerLine({ kind: "acked", eventId, status: statusOf(verdict, ack?.status) }));
    if (this.#unwritten.length >= unwrittenMaxChars) this.flush();
  }

  flush(): void {
    if (!this.#isOpen) return;
    // Taken before it is written: a full disk must not make the text grow, and a line that is written in part is cut at the next opening.
    const text = Buffer.from(this.#unwritten);
    this.#unwritten = "";
    for (let at = 0; at < text.length; ) at += writeSync(this.#descriptor, text, at);
  }

  [Symbol.dispose](): void {
    if (!this.#isOpen) return;
    this.flush();
    this.#isOpen = false;
    closeSync(this.#descriptor);
  }

  #append(line: string): void {
    this.#unwritten += `${line}\n`;
  }
}

/** A verdict that was learnt by resuming has no status of its own: what the resume point covers is stored. */
function statusOf(verdict: Settled["verdict"], status: EventStatus | undefined): AckStatus {
  const name = status === undefined ? undefined : EventStatus[status];
  if (name !== undefined && name !== "UNSPECIFIED" && name !== "NOT_FOUND") return name as AckStatus; // a name of the enum, less two
  if (verdict === "stored") return "STORED";
  if (verdict === "not_collected") return "NOT_COLLECTED";
  return verdict === "duplicate" ? "DUPLICATE" : "INVALID";
}

/** Position after the last line end; 0 without one. */
function endOfLastLine(descriptor: number, size: number): number {
  const buffer = Buffer.alloc(tailBytes);
  for (let end = size; end > 0; ) {
    const start = Math.max(0, end - tailBytes);
    const read = readSync(descriptor, buffer, 0, end - start, start);
    const found = buffer.subarray(0, read).lastIndexOf(newline);
    if (found >= 0) return start + found + 1;
    end = start;
  }
  return 0;
}
