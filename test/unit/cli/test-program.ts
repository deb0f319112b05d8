import type { Command } from "commander";
import type { CliContext } from "../../../src/cli/output.js";
import { createProgram, type ProgramDeps, runProgram } from "../../../src/cli/program.js";
import { systemClock } from "../../../src/platform/clock.js";
import { CoordinatorError } from "../../../src/platform/errors.js";

export type Signal = "SIGINT" | "SIGTERM";

/** The command line with its outputs kept, its signals given by hand, and neighbours that are not there unless a test says so. */
export type TestProgram = {
  readonly program: Command;
  readonly stdout: string[];
  readonly stderr: string[];
  readonly run: (...argv: readonly string[]) => Promise<number>;
  readonly signal: (name: Signal) => void;
  /** SIGHUP. */
  readonly hangUp: () => void;
  readonly listenerCount: () => number;
};

export function createTestProgram(
  given: {
    readonly env?: Readonly<Record<string, string>>;
    readonly isTerminal?: boolean;
    readonly columns?: number;
    readonly deps?: Partial<ProgramDeps>;
  } = {},
): TestProgram {
  const stdout: string[] = [];
  const stderr: string[] = [];
  const reloads = new Set<() => void>();
  const listeners = new Set<(signal: Signal) => void>();
  const isTTY = given.isTerminal ?? false;
  const context: CliContext = {
    env: given.env ?? {},
    stdout: { write: (text) => stdout.push(text), isTTY, ...(given.columns === undefined ? {} : { columns: given.columns }) },
    stderr: { write: (text) => stderr.push(text), isTTY },
    onSignal: (listener) => {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
    onReload: (listener) => {
      reloads.add(listener);
      return () => void reloads.delete(listener);
    },
    readerGone: new AbortController().signal,
  };
  const absent = (): never => {
    throw new CoordinatorError("unavailable", "no database here", { reason: "STORE_UNAVAILABLE" });
  };
  const deps: ProgramDeps = {
    clock: { ...systemClock, nowMs: () => Date.UTC(2026, 10, 20) },
    startCoordinator: async () => absent(),
    migrateDatabase: async () => absent(),
    examineDatabase: async () => absent(),
    examineDataDir: async () => ({ exists: true, writable: true }),
    ...given.deps,
  };
  const program = createProgram(context, deps);
  return {
    program,
    stdout,
    stderr,
    run: (...argv) => runProgram(program, context, argv),
    signal: (name) => {
      for (const listener of [...listeners]) listener(name);
    },
    hangUp: () => {
      for (const listener of [...reloads]) listener();
    },
    listenerCount: () => listeners.size + reloads.size,
  };
}
