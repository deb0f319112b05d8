#!/usr/bin/env -S node --max-semi-space-size=64
import { exitCodes } from "./cli/exit-code.js";
import type { CliContext } from "./cli/output.js";
import { createProgram, runProgram } from "./cli/program.js";
import { startCoordinator } from "./compose.js";
import { systemClock } from "./platform/clock.js";
import { examineDatabase, examineDataDir } from "./store/examine.js";
import { migrateDatabase } from "./store/migrate.js";

const signals = ["SIGINT", "SIGTERM"] as const;

/** What became of stdout: its first failure. A reader that has gone away, as in `| head`, has had enough, and that is none. */
let lostOutput: Error | undefined;
const readerGone = new AbortController();
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code === "EPIPE") readerGone.abort();
  else lostOutput ??= error;
});
// Nobody reads it, so there is nobody to tell; without a listener a word on the way out would end a drain half-way.
process.stderr.on("error", () => undefined);

const context: CliContext = {
  env: process.env,
  stdout: process.stdout,
  stderr: process.stderr,
  onSignal: (listener) => {
    for (const signal of signals) process.on(signal, listener);
    return () => {
      for (const signal of signals) process.off(signal, listener);
    };
  },
  onReload: (listener) => {
    process.on("SIGHUP", listener);
    return () => process.off("SIGHUP", listener);
  },
  readerGone: readerGone.signal,
};

const program = createProgram(context, { clock: systemClock, startCoordinator, migrateDatabase, examineDatabase, examineDataDir });
// Timers of the clock keep no process alive, so a command that waits for nothing else would end here, without a word and with Node's exit code 13.
setInterval(() => undefined, 2 ** 31 - 1);
const code = await runProgram(program, context, process.argv.slice(2));
// Both are flushed before the end: exiting with a pipe half written would cut the output.
await Promise.all([process.stdout, process.stderr].map((stream) => new Promise((resolve) => stream.write("", resolve))));
if (lostOutput !== undefined) process.stderr.write(`mcp-coordinator: stdout cannot be written: ${lostOutput.message}\n`);
process.exit(lostOutput !== undefined && code === exitCodes.ok.code ? exitCodes.failed.code : code);
