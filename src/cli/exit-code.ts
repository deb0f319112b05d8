import type { CoordinatorError, ErrorCode } from "../platform/errors.js";

/** What the shell is told. docs/cli.md and `--help` repeat it. */
export const exitCodes = {
  ok: { code: 0, meaning: "done" },
  failed: { code: 1, meaning: "tried and failed; the last line on stderr says why" },
  usage: { code: 2, meaning: "the command line or the configuration is wrong; nothing was done" },
  not_found: { code: 3, meaning: "what was asked for does not exist" },
  refused: { code: 4, meaning: "the key is missing, wrong, or not allowed to do this" },
  unavailable: { code: 5, meaning: "not now: the coordinator or its store cannot be reached, or no MCP may be chosen; try again later" },
  undecided: { code: 6, meaning: "nothing wrong was found, but not everything could be checked" },
  interrupted: { code: 130, meaning: "ended by Ctrl-C before it was done" },
} as const;

export type ExitName = keyof typeof exitCodes;

/** Ends a command with an exit code other than 0. `message` goes to stderr; it holds no secret. */
export class CliFailure extends Error {
  override readonly name = "CliFailure";
  readonly exit: ExitName;

  constructor(exit: ExitName, message: string, cause?: unknown) {
    super(message, { cause });
    this.exit = exit;
  }
}

const exitOfError = {
  invalid: "failed",
  unauthenticated: "refused",
  forbidden: "refused",
  not_found: "not_found",
  failed_precondition: "failed",
  conflict: "failed",
  busy: "unavailable",
  unavailable: "unavailable",
  late: "unavailable",
  gone: "failed",
  broken: "failed",
} as const satisfies Record<ErrorCode, ExitName>;

/** How a command ends that met this error. */
export function exitOf(error: CoordinatorError): ExitName {
  return exitOfError[error.code];
}
