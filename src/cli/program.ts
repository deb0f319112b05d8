import { Command, CommanderError } from "commander";
import { coordinatorVersion } from "../config/version.js";
import type { Clock } from "../platform/clock.js";
import { CoordinatorError } from "../platform/errors.js";
import { addAuditCommand } from "./audit.js";
import { addConfigCommand } from "./config.js";
import { addDemoCommand } from "./demo.js";
import { addDoctorCommand, type DoctorDeps } from "./doctor.js";
import { CliFailure, exitCodes, exitOf } from "./exit-code.js";
import { addExplainCommand } from "./explain.js";
import { examples, exitCodeList, helpColumns } from "./help.js";
import { addKeysCommand } from "./keys.js";
import { addMigrateCommand, type MigrateDeps } from "./migrate.js";
import { type CliContext, printable } from "./output.js";
import { addReplayCommand } from "./replay.js";
import { addRoutesCommand } from "./routes.js";
import { addRoutingConfigCommand } from "./routing-config.js";
import { addSelectCommand } from "./select.js";
import { addServeCommand, type ServeDeps } from "./serve.js";
import { addSimulateCommand } from "./simulate.js";
import { addSpoolCommand } from "./spool.js";
import { addVerifyCommand } from "./verify.js";
import { addVersionCommand } from "./version.js";

/** What the commands need of the rest of the house. */
export type ProgramDeps = ServeDeps & MigrateDeps & Omit<DoctorDeps, "clock"> & { readonly clock: Clock };

/** The command `mcp-coordinator` with all it can do. */
export function createProgram(context: CliContext, deps: ProgramDeps): Command {
  const program = new Command("mcp-coordinator")
    .description(
      "A coordinator for fleets of MCPs: durable interaction events with per-event acks, and explained routing weights, over one gRPC stream.",
    )
    .version(coordinatorVersion, "-V, --version", "print the version")
    .helpCommand(false)
    .exitOverride()
    .configureOutput({
      writeOut: (text) => void context.stdout.write(text),
      writeErr: (text) => void context.stderr.write(text),
      getOutHelpWidth: () => context.stdout.columns ?? helpColumns,
      getErrHelpWidth: () => context.stderr.columns ?? helpColumns,
      getOutHasColors: () => false,
      getErrHasColors: () => false,
    })
    .addHelpText(
      "before",
      examples([
        ["mcp-coordinator serve", "a coordinator on an embedded store, loopback only"],
        ["mcp-coordinator demo", "the same with five simulated MCPs, live in the terminal"],
        ["mcp-coordinator doctor", "could it run here, and if not, what to do"],
      ]),
    )
    .addHelpText("after", exitCodeList());
  addServeCommand(program, context, deps);
  addDemoCommand(program, context, deps);
  addReplayCommand(program, context);
  addVerifyCommand(program, context);
  addRoutesCommand(program, context);
  addSelectCommand(program, context);
  addExplainCommand(program, context);
  addAuditCommand(program, context);
  addRoutingConfigCommand(program, context);
  addConfigCommand(program, context);
  addKeysCommand(program, context, deps.clock);
  addMigrateCommand(program, context, deps);
  addDoctorCommand(program, context, deps);
  addSimulateCommand(program, context);
  addSpoolCommand(program, context, deps.clock);
  addVersionCommand(program, context);
  return program;
}

/** Runs one command line and gives the exit code. Loop edge of the process: every failure becomes a line on stderr and a code. */
export async function runProgram(program: Command, context: CliContext, argv: readonly string[]): Promise<number> {
  try {
    await program.parseAsync([...argv], { from: "user" });
    return exitCodes.ok.code;
  } catch (thrown) {
    if (thrown instanceof CommanderError) return thrown.exitCode === 0 ? exitCodes.ok.code : exitCodes.usage.code;
    if (thrown instanceof CliFailure) return fail(context, thrown.message, exitCodes[thrown.exit].code);
    if (thrown instanceof CoordinatorError && thrown.code !== "broken")
      return fail(context, thrown.message, exitCodes[exitOf(thrown)].code);
    const cause = thrown instanceof CoordinatorError ? thrown.cause : thrown;
    return fail(
      context,
      `internal error: ${cause instanceof Error ? (cause.stack ?? cause.message) : String(cause)}`,
      exitCodes.failed.code,
    );
  }
}

function fail(context: CliContext, message: string, code: number): number {
  context.stderr.write(`mcp-coordinator: ${printable(message)}\n`);
  return code;
}
