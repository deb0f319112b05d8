import type { AddHelpTextContext } from "commander";
import { exitCodes } from "./exit-code.js";

/** Width of help texts where the terminal does not say. */
export const helpColumns = 120;

/** Text of a help, made for the width that it is shown in. */
type HelpText = (context: AddHelpTextContext) => string;

/** Examples as the first thing of a help text: what each is for stands behind it, or above it where the terminal is too narrow for that. */
export function examples(lines: readonly (readonly [command: string, purpose: string])[]): HelpText {
  return (context) => {
    const width = Math.max(...lines.map(([command]) => command.length));
    const behind = lines.map(([command, purpose]) => `  ${command.padEnd(width)}  # ${purpose}`);
    const fits = behind.every((line) => line.length <= columnsOf(context));
    const shown = fits ? behind : lines.flatMap(([command, purpose]) => [`  # ${purpose}`, `  ${command}`]);
    return ["Examples:", ...shown, ""].join("\n");
  };
}

/** Sentences as the last thing of a help text, wrapped. Each line of `text` begins a line. */
export function remarks(text: string): HelpText {
  return (context) => `\n${context.command.createHelp().boxWrap(text, columnsOf(context))}`;
}

/** The exit codes as the last thing of the main help text. */
export function exitCodeList(): HelpText {
  return (context) => {
    const help = context.command.createHelp();
    const indent = 7;
    const items = Object.values(exitCodes).map(({ code, meaning }) => {
      const wrapped = help.boxWrap(meaning, columnsOf(context) - indent).replaceAll("\n", `\n${" ".repeat(indent)}`);
      return `  ${String(code).padEnd(4)} ${wrapped}`;
    });
    return ["", "Exit codes:", ...items].join("\n");
  };
}

function columnsOf({ command, error }: AddHelpTextContext): number {
  const { getErrHelpWidth, getOutHelpWidth } = command.configureOutput();
  return (error ? getErrHelpWidth : getOutHelpWidth)?.() ?? helpColumns;
}
