import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, expect, test } from "vitest";
import { type RunningCoordinator, runCli, startCoordinatorProcess } from "../support/coordinator.js";
import { startTcpProxy, type TcpProxy } from "../support/tcp-proxy.js";

const mainFile = fileURLToPath(new URL("../../dist/src/main.js", import.meta.url));
let coordinator: RunningCoordinator;
let proxy: TcpProxy;

beforeEach(async () => {
  coordinator = await startCoordinatorProcess();
  proxy = await startTcpProxy(Number(coordinator.target.split(":")[1]));
});
afterEach(async () => {
  await proxy[Symbol.asyncDispose]();
  await coordinator.stop();
});

/** `routes --watch --json` while it runs. */
function watch(...args: readonly string[]) {
  const child = spawn(process.execPath, [mainFile, "routes", "--watch", "--json", ...args], { stdio: ["ignore", "pipe", "pipe"] });
  const written = { stdout: "", stderr: "" };
  child.stdout.setEncoding("utf8").on("data", (chunk: string) => {
    written.stdout += chunk;
  });
  child.stderr.setEncoding("utf8").on("data", (chunk: string) => {
    written.stderr += chunk;
  });
  const ended = new Promise<unknown>((resolve) => child.once("close", (code, signal) => resolve(code ?? signal)));
  return {
    answers: () => written.stdout.split("\n").length - 1,
    said: () => written.stderr,
    ended,
    interrupt: () => void child.kill("SIGINT"),
  };
}

test("a watch outlives its coordinator: it says that nobody answers, and goes on when somebody does", async () => {
  const watching = watch("--target", `127.0.0.1:${proxy.port}`);
  await expect.poll(watching.answers, { timeout: 30_000 }).toBeGreaterThan(0);
  proxy.set("close");
  proxy.cut("reset");
  await expect.poll(watching.said, { timeout: 30_000 }).toMatch(/asking again until it answers/);
  const before = watching.answers();
  proxy.set("pass");
  await expect.poll(watching.answers, { timeout: 30_000 }).toBeGreaterThan(before);
  expect(watching.said()).toContain("answers again");
  watching.interrupt();
  expect(await watching.ended).toBe(0);
});

test("a watch goes to the next address when the first is away, and ends when it is interrupted while nobody answers", async () => {
  const watching = watch("--target", `127.0.0.1:1,127.0.0.1:${proxy.port}`);
  await expect.poll(watching.answers, { timeout: 30_000 }).toBeGreaterThan(0);
  proxy.set("close");
  proxy.cut("reset");
  await expect.poll(() => watching.said().match(/asking again/g)?.length ?? 0, { timeout: 30_000 }).toBeGreaterThan(1);
  watching.interrupt();
  expect(await watching.ended).toBe(0);
});

test("a watch without the right to look ends at once", async () => {
  const { code: _, stdout } = await runCli(["keys", "generate", "--mcp-id", "ocr", "--json"]);
  const closed = await startCoordinatorProcess({ config: (JSON.parse(stdout) as { readonly toml: string }).toml });
  try {
    const { code, stderr } = await runCli(["routes", "--watch", "--target", closed.target]);
    expect(code).toBe(4);
    expect(stderr).not.toContain("asking again");
  } finally {
    await closed.stop();
  }
});
