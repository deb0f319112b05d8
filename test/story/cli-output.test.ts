import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, existsSync, mkdtempSync, openSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { outputOf } from "../support/child-output.js";
import { freePort } from "../support/server-process.js";
import { listen } from "../support/socket-relay.js";

const mainFile = fileURLToPath(new URL("../../dist/src/main.js", import.meta.url));
let dir = "";
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), "mcpc-output-"));
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

function start(stdout: "pipe" | number, ...args: readonly string[]): ChildProcess {
  const { DATABASE_URL: _, ...env } = process.env;
  const child = spawn(process.execPath, [mainFile, ...args], { env, stdio: ["ignore", stdout, "pipe"] });
  onTestFinished(() => void child.kill("SIGKILL"));
  return child;
}

/** Exit code, or the signal that ended it. */
async function endOf(child: ChildProcess): Promise<unknown> {
  const [code, signal] = await once(child, "exit");
  return code ?? signal;
}

async function untilHealthy(webPort: number): Promise<void> {
  for (;;) {
    const answer = await fetch(`http://127.0.0.1:${webPort}/health`).catch(() => undefined);
    if (answer?.status === 200) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

describe("output that goes nowhere", () => {
  test.skipIf(!existsSync("/dev/full"))("a disk that is full under stdout is a failure, and says so", async () => {
    const full = openSync("/dev/full", "w");
    const { code, stderr } = await outputOf(start(full, "config", "print"));
    closeSync(full);
    expect(code).toBe(1);
    expect(stderr).toMatch(/^mcp-coordinator: stdout cannot be written: ENOSPC/);
  });

  test("a reader that goes away changes no verdict", async () => {
    const other = createServer();
    const taken = await listen(other);
    const child = start("pipe", "doctor", "--data-dir", join(dir, "none"), "--grpc-port", String(taken), "--web-port", "0");
    child.stdout?.destroy();
    expect(await endOf(child)).toBe(1);
    other.close();
  });

  test("a coordinator whose stdout and stderr nobody reads serves, and drains when it is told to", async () => {
    const [grpcPort, webPort] = [await freePort(), await freePort()];
    const ports = ["--grpc-port", String(grpcPort), "--web-port", String(webPort)];
    const child = start("pipe", "serve", ...ports, "--data-dir", join(dir, "data"));
    child.stdout?.destroy();
    child.stderr?.destroy();
    const ended = endOf(child);
    await Promise.race([untilHealthy(webPort), ended]);
    expect(child.exitCode).toBeNull();
    child.kill("SIGTERM");
    expect(await ended).toBe(0);
  });
});
