import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { createTestProgram } from "../cli/test-program.js";

const dir = mkdtempSync(join(tmpdir(), "mcpc-nothing-"));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

test.each([
  ["an empty file", ""],
  ["a line that was cut off", '{"sent":"019'],
  ["bytes that are no ledger, without a line end", "\0\u0001\u0002"],
])("%s proves nothing: verify ends undecided, and not as if all were well", async (_what, text) => {
  const ledger = join(dir, "ledger.jsonl");
  writeFileSync(ledger, text);
  const cli = createTestProgram();
  expect(await cli.run("verify", ledger, "--target", "127.0.0.1:1")).toBe(6);
  expect(cli.stderr.join("")).toContain("there is no event in the ledger: nothing was checked");
});

test("the time that it took is told to the millisecond", async () => {
  const ledger = join(dir, "ledger.jsonl");
  writeFileSync(ledger, "");
  const cli = createTestProgram();
  await cli.run("verify", ledger, "--target", "127.0.0.1:1", "--json");
  expect(cli.stdout.join("")).toMatch(/"seconds":\d+(\.\d{1,3})?,/);
});
