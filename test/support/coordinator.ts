import { type ChildProcess, spawn } from "node:child_process";
import { rmSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { atEnd } from "./at-end.js";
import { type ChildOutput, outputOf } from "./child-output.js";

const mainFile = fileURLToPath(new URL("../../dist/src/main.js", import.meta.url));

export type CoordinatorOptions = {
  /** Absent: the embedded store in `dataDir`. */
  readonly databaseUrl?: string;
  /** Absent: a new one that `stop` removes. */
  readonly dataDir?: string;
  /** Text of a configuration file. */
  readonly config?: string;
  readonly flags?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
};

/** A coordinator as users run it: the built program in a process of its own. */
export type RunningCoordinator = {
  readonly target: string;
  readonly webUrl: string;
  readonly storePromise: string;
  readonly pid: number;
  readonly dataDir: string;
  /** What it wrote to stderr so far. */
  readonly log: () => string;
  readonly signal: (signal: NodeJS.Signals) => void;
  /** Exit code, or the signal that ended it. */
  readonly exited: Promise<number | NodeJS.Signals>;
  /** kill -9, if it still runs, and removal of what it left. */
  readonly stop: () => Promise<void>;
};

/** Starts one on free ports and waits until it listens. Errors: with what it wrote to stderr when it ends instead. */
export async function startCoordinatorProcess(options: CoordinatorOptions = {}): Promise<RunningCoordinator> {
  const scratch = await mkdtemp(join(tmpdir(), "mcpc-story-"));
  const dataDir = options.dataDir ?? join(scratch, "data");
  const flags = ["serve", "--grpc-port", "0", "--web-port", "0", "--json", "--data-dir", dataDir, ...(options.flags ?? [])];
  if (options.config !== undefined) {
    await writeFile(join(scratch, "config.toml"), options.config);
    flags.push("--config", join(scratch, "config.toml"));
  }
  const { DATABASE_URL: _, ...inherited } = process.env;
  const env = { ...inherited, ...(options.databaseUrl === undefined ? {} : { DATABASE_URL: options.databaseUrl }), ...options.env };
  const child = spawn(process.execPath, [mainFile, ...flags], { env, stdio: ["ignore", "pipe", "pipe"] });
  let log = "";
  child.stderr.setEncoding("utf8").on("data", (chunk: string) => {
    log = (log + chunk).slice(-1_000_000);
  });
  const exited = new Promise<number | NodeJS.Signals>((resolve) => child.once("exit", (code, signal) => resolve(code ?? signal ?? 0)));
  const callOff = atEnd(() => {
    child.kill("SIGKILL");
    rmSync(scratch, { recursive: true, force: true });
  });
  const stop = async () => {
    callOff();
    child.kill("SIGKILL");
    await exited;
    await rm(scratch, { recursive: true, force: true });
  };
  const line = await Promise.race([firstLine(child), exited.then(() => undefined)]);
  if (line === undefined) {
    await stop();
    throw new Error(`the coordinator ended at its start:\n${log}`);
  }
  const started = JSON.parse(line) as { readonly grpc: string; readonly web: string; readonly store: string };
  return {
    target: started.grpc,
    webUrl: started.web,
    storePromise: started.store,
    pid: child.pid ?? 0,
    dataDir,
    log: () => log,
    signal: (signal) => {
      child.kill(signal);
    },
    exited,
    stop,
  };
}

function firstLine(child: ChildProcess): Promise<string | undefined> {
  return new Promise((resolve) => {
    if (child.stdout === null) return resolve(undefined);
    const lines = createInterface({ input: child.stdout });
    lines.once("line", (line) => resolve(line));
    lines.once("close", () => resolve(undefined));
  });
}

/** Runs one command of the program to its end. */
export function runCli(args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<ChildOutput> {
  const { DATABASE_URL: _, ...inherited } = process.env;
  return outputOf(spawn(process.execPath, [mainFile, ...args], { env: { ...inherited, ...env }, stdio: ["ignore", "pipe", "pipe"] }));
}
