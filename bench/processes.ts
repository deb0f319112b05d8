import { type ChildProcess, fork, spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type { LoadResult, LoadTask } from "./load-client.js";

/** A server under test, in its own process. */
export type ServerProcess = { readonly target: string; readonly pid: number; readonly stop: () => Promise<void> };

/** Longest that a server may take to say that it is ready: the first start of the embedded store runs initdb. */
const readyMaxMs = 60_000;
/** Longest that a server may take to end by itself. */
const stopMaxMs = 15_000;
const pathOf = (file: string) => fileURLToPath(new URL(file, import.meta.url));

/** The Node flag of `make run` and of the installed command; every server here gets it, so that none has an advantage. */
const roomForYoungObjects = ["--max-semi-space-size=64"];

/** Starts bench/servers/hand-written.ts and waits until it listens. */
export async function startHandWritten(
  mode: string,
  port: number,
  databaseUrl: string | undefined,
  execArgv: readonly string[] = [],
): Promise<ServerProcess> {
  return startBenchServer("hand-written", [mode, String(port), ...(databaseUrl === undefined ? [] : [databaseUrl])], port, execArgv);
}

/** Starts a server of bench/servers and waits until it says that it listens. */
export async function startBenchServer(
  name: string,
  args: readonly string[],
  port: number,
  execArgv: readonly string[] = [],
): Promise<ServerProcess> {
  const child = fork(pathOf(`servers/${name}.ts`), [...args], {
    execArgv: [...roomForYoungObjects, "--import", "tsx", ...execArgv],
    stdio: ["ignore", "ignore", "inherit", "ipc"],
  });
  endWithUs(child);
  await within(readyMaxMs, `${name} server`, (resolve, reject) => {
    child.once("message", () => resolve());
    child.once("exit", (code) => reject(new Error(`the ${name} server ended with ${code}`)));
  });
  return { target: `127.0.0.1:${port}`, pid: child.pid ?? 0, stop: () => stopChild(child) };
}

/** Starts the coordinator as a user would. `args` follow `serve`. */
export async function startCoordinatorProcess(
  port: number,
  webPort: number,
  args: readonly string[],
  execArgv: readonly string[] = [],
): Promise<ServerProcess> {
  const main = pathOf("../dist/src/main.js");
  const all = [...roomForYoungObjects, ...execArgv, main, "serve", "--grpc-port", String(port), "--web-port", String(webPort), ...args];
  const child = spawn(process.execPath, all, { stdio: ["ignore", "ignore", "pipe"] });
  endWithUs(child);
  let talk = "";
  child.stderr.on("data", (chunk: Buffer) => {
    talk = (talk + chunk.toString()).slice(-8_000);
  });
  await within(readyMaxMs, "coordinator", (resolve, reject) => {
    const probe = setInterval(() => {
      isHealthy(webPort).then(
        (healthy) => healthy && finish(resolve),
        () => undefined, // not listening yet: asked again
      );
    }, 100);
    const finish = (then: () => void) => {
      clearInterval(probe);
      then();
    };
    child.once("exit", (code) => finish(() => reject(new Error(`the coordinator ended with ${code}:\n${talk}`))));
  });
  return { target: `127.0.0.1:${port}`, pid: child.pid ?? 0, stop: () => stopChild(child) };
}

async function isHealthy(webPort: number): Promise<boolean> {
  const response = await fetch(`http://127.0.0.1:${webPort}/health`);
  await response.arrayBuffer();
  return response.ok;
}

/** Runs one load to its end. */
export async function runLoad(task: LoadTask, execArgv: readonly string[] = []): Promise<LoadResult> {
  const child = spawn(process.execPath, ["--import", "tsx", ...execArgv, pathOf("load-client.ts"), JSON.stringify(task)], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  endWithUs(child);
  let text = "";
  child.stdout.on("data", (chunk: Buffer) => {
    text += chunk.toString();
  });
  const code = await new Promise<number | null>((resolve) => child.once("close", resolve));
  if (code !== 0) throw new Error(`the load client ended with ${code}`);
  // Printed by load-client.ts of the same build.
  return JSON.parse(text) as LoadResult;
}

/** Resident memory of a process, in bytes; undefined where the system does not tell. */
export function residentBytes(pid: number): number | undefined {
  try {
    const kib = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1];
    return kib === undefined ? undefined : Number(kib) * 1024;
  } catch {
    return undefined; // Clean-up of a difference between systems: no /proc, no figure.
  }
}

/** Whatever ends this process: no server may be left behind. */
function endWithUs(child: ChildProcess): void {
  const sweep = () => void child.kill("SIGKILL");
  process.once("exit", sweep);
  child.once("exit", () => process.off("exit", sweep));
}

async function stopChild(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  child.kill("SIGTERM");
  const timer = setTimeout(() => child.kill("SIGKILL"), stopMaxMs);
  await gone;
  clearTimeout(timer);
}

function within(maxMs: number, what: string, task: (resolve: () => void, reject: (error: Error) => void) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`the ${what} was not ready after ${maxMs} ms`)), maxMs);
    const settle = (then: () => void) => {
      clearTimeout(timer);
      then();
    };
    task(
      () => settle(resolve),
      (error) => settle(() => reject(error)),
    );
  });
}
