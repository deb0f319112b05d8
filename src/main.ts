#!/usr/bin/env -S node --max-semi-space-size=64
import type { CliContext } from "./cli/output.js";
import { createProgram, runProgram } from "./cli/program.js";
import { startCoordinator } from "./compose.js";
import { systemClock } from "./platform/clock.js";
import { examineDatabase, examineDataDir } from "./store/examine.js";
import { migrateDatabase } from "./store/migrate.js";

const signals = ["SIGINT", "SIGTERM"] as const;

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
};

// A reader that has gone away, as in `| head`, has had enough; that is no failure. Anything else, such as a full disk, is one.
process.stdout.on("error", (fault: NodeJS.ErrnoException) => {
  if (fault.code === "EPIPE") process.exit(0);
  process.stderr.write(`mcp-coordinator: the output cannot be written: ${fault.message}\n`);
  process.exit(1);
});
// What nobody reads is not worth ending for.
process.stderr.on("error", () => undefined);

const program = createProgram(context, { clock: systemClock, startCoordinator, migrateDatabase, examineDatabase, examineDataDir });
// Timers of the clock keep no process alive, so a command that waits for nothing else would end here, without a word and with Node's exit code 13.
setInterval(() => undefined, 2 ** 31 - 1);
const code = await runProgram(program, context, process.argv.slice(2));
// Both are flushed before the end: exiting with a pipe half written would cut the output.
await Promise.all([process.stdout, process.stderr].map((stream) => new Promise((resolve) => stream.write("", resolve))));
process.exit(code);
