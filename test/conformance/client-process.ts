import { type ChildProcessByStdio, spawn } from "node:child_process";
import type { Readable, Writable } from "node:stream";
import { lineOf, mcpId, type Told } from "./material.js";

/** How to start the client under test: program and arguments, before those of the contract. */
export type ClientCommand = readonly [string, ...string[]];

export type ClientProcess = {
  readonly tell: (events: readonly Told[]) => void;
  /** Nothing more is to be reported: it finishes and leaves. */
  readonly finish: () => void;
  /** Exit code, or the signal that ended it. */
  readonly exited: Promise<number | string>;
  readonly isRunning: () => boolean;
  /** The end of what it wrote to stdout and stderr. */
  readonly output: () => string;
  readonly kill: () => Promise<void>;
};

const outputMaxChars = 20_000;

/** Starts the client by the contract of docs/conformance.md. Its exit is never an error here: a program that cannot be started exits with the reason. */
export function startClient(
  [program, ...args]: ClientCommand,
  at: { readonly target: string; readonly webUrl: string; readonly key: string; readonly ledger: string },
): ClientProcess {
  const flags = ["--target", at.target, "--web", at.webUrl, "--mcp-id", mcpId, "--producer-id", "conformance-1", "--ledger", at.ledger];
  const child: ChildProcessByStdio<Writable, Readable, Readable> = spawn(program, [...args, ...flags], {
    env: { ...process.env, MCPC_KEY: at.key },
    stdio: ["pipe", "pipe", "pipe"],
  });
  let output = "";
  const keep = (chunk: string): void => {
    output = (output + chunk).slice(-outputMaxChars);
  };
  child.stdout.setEncoding("utf8").on("data", keep);
  child.stderr.setEncoding("utf8").on("data", keep);
  child.stdin.on("error", () => {}); // `exited` tells
  let isRunning = true;
  const exited = new Promise<number | string>((resolve) => {
    const end = (how: number | string): void => {
      isRunning = false;
      resolve(how);
    };
    child.once("error", (error) => end(error.message));
    child.once("exit", (code, signal) => end(code ?? signal ?? "unknown"));
  });
  return {
    tell: (events) => void child.stdin.write(events.map(lineOf).join("")),
    finish: () => void child.stdin.end(),
    exited,
    isRunning: () => isRunning,
    output: () => output,
    kill: async () => {
      child.kill("SIGKILL");
      await exited;
    },
  };
}
