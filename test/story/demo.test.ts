import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { networkInterfaces, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import { outputOf } from "../support/child-output.js";

const mainFile = fileURLToPath(new URL("../../dist/src/main.js", import.meta.url));
const hasIpv6 = Object.values(networkInterfaces()).some((addresses) => addresses?.some(({ address }) => address === "::1") === true);
let dir = "";
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), "mcpc-demo-"));
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

function demo(...args: readonly string[]) {
  const { DATABASE_URL: _, ...env } = process.env;
  const ports = ["--grpc-port", "0", "--web-port", "0"];
  return spawn(process.execPath, [mainFile, "demo", ...ports, ...args], {
    env: { ...env, TMPDIR: dir },
    stdio: ["ignore", "pipe", "pipe"],
  });
}

test("a demo that is interrupted while its store is made ends with 130 and leaves nothing in the temporary directory", async () => {
  const child = demo();
  const ended = outputOf(child);
  await once(child.stderr, "data");
  expect(readdirSync(dir)).toHaveLength(1);
  child.kill("SIGINT");
  const { code, stderr } = await ended;
  expect(stderr).toContain("interrupted while the coordinator was starting");
  expect(code).toBe(130);
  expect(readdirSync(dir)).toEqual([]);
});

test.skipIf(!hasIpv6)("a demo on an IPv6 address reaches its own coordinator there", async () => {
  const { code, stdout, stderr } = await outputOf(demo("--host", "::1", "--for", "2s", "--json"));
  expect(stderr).not.toContain("not every event");
  expect(code).toBe(0);
  expect((JSON.parse(stdout) as { readonly stored: number }).stored).toBeGreaterThan(0);
});
