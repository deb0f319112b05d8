import { exitCodes } from "./exit-code.js";

/** Examples as the first thing of a help text. */
export function examples(lines: readonly (readonly [command: string, purpose: string])[]): string {
  const width = Math.max(...lines.map(([command]) => command.length));
  return ["Examples:", ...lines.map(([command, purpose]) => `  ${command.padEnd(width)}  # ${purpose}`), ""].join("\n");
}

/** The exit codes as the last thing of the main help text. */
export function exitCodeList(): string {
  return ["", "Exit codes:", ...Object.values(exitCodes).map(({ code, meaning }) => `  ${String(code).padEnd(4)} ${meaning}`)].join("\n");
}
