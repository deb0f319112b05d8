import { execFileSync } from "node:child_process";
import { closeSync, constants, mkdtempSync, openSync, readSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setImmediate as nextTurn } from "node:timers/promises";
import { expect, test } from "vitest";
import { limits } from "../../../src/platform/limits.js";
import { createLog } from "../../../src/platform/log.js";

test("a log that nobody reads keeps a bounded number of lines, and says how many it dropped once somebody does", async () => {
  const dir = mkdtempSync(join(tmpdir(), "mcpc-log-"));
  const pipe = join(dir, "stderr");
  execFileSync("mkfifo", [pipe]);
  // Read and write, so that neither end waits for the other to be opened.
  const fd = openSync(pipe, constants.O_RDWR | constants.O_NONBLOCK);
  const log = createLog("info", {}, fd);
  const lineCount = 20_000;
  const filler = "x".repeat(1_000);
  for (let index = 0; index < lineCount; index++) log.info({ index, filler }, "line");
  const chunk = Buffer.alloc(1024 * 1024);
  let text = "";
  while (!text.includes("lines of the log were dropped")) {
    await nextTurn();
    text += readAvailable(fd, chunk);
  }
  const lines = text
    .trimEnd()
    .split("\n")
    .map((line): { readonly index?: number; readonly lines?: number } => JSON.parse(line));
  const told = lines.findIndex((line) => line.lines !== undefined);
  expect(lines.slice(0, told).map(({ index }) => index)).toEqual(Array.from({ length: told }, (_, index) => index));
  expect(told + (lines[told]?.lines ?? 0)).toBe(lineCount);
  expect(text.length).toBeGreaterThan(limits.logBufferMaxBytes / 2);
  expect(text.length).toBeLessThan(limits.logBufferMaxBytes * 1.1);
  closeSync(fd);
  rmSync(dir, { recursive: true });
});

/** What a pipe holds now. */
function readAvailable(fd: number, chunk: Buffer): string {
  try {
    return chunk.toString("utf8", 0, readSync(fd, chunk));
  } catch (thrown) {
    if (thrown instanceof Error && "code" in thrown && thrown.code === "EAGAIN") return "";
    throw thrown;
  }
}
