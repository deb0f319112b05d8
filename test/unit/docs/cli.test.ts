import type { Command } from "commander";
import { expect, test } from "vitest";
import { exitCodes } from "../../../src/cli/exit-code.js";
import { createTestProgram } from "../cli/test-program.js";

/** docs/cli.md: the help texts, word for word, at a width of 120 columns. */
function renderCliDoc(): string {
  const { program, stdout } = createTestProgram();
  const codes = Object.values(exitCodes).map(({ code, meaning }) => `| ${code} | ${meaning} |`);
  const texts = withSubcommands(program).flatMap((command) => {
    stdout.length = 0;
    command.outputHelp();
    return [`## ${nameOf(command)}`, "", "```text", stdout.join("").trimEnd(), "```", ""];
  });
  return [
    "# Command line",
    "",
    "Written by the tests from the help texts in `src/cli`; change it there.",
    "",
    "`mcp-coordinator` is `node dist/src/main.js` in a clone that was built with `make build`; [operations](operations.md) says more.",
    "",
    "Data goes to stdout, talk to stderr. `--json` gives JSON on stdout. Colours only on a terminal, and not with `--no-color` or `NO_COLOR`.",
    "",
    "| exit code | meaning |",
    "|---|---|",
    ...codes,
    "",
    ...texts,
  ].join("\n");
}

function withSubcommands(command: Command): readonly Command[] {
  return [command, ...command.commands.flatMap((inner) => withSubcommands(inner))];
}

function nameOf(command: Command): string {
  return command.parent === null ? command.name() : `${nameOf(command.parent)} ${command.name()}`;
}

test("docs/cli.md repeats the help texts; after a change, run vitest with -u", async () => {
  await expect(renderCliDoc()).toMatchFileSnapshot("../../../docs/cli.md");
});

test("every help text keeps to the width of the terminal, but for commands to copy", () => {
  const { program, stdout } = createTestProgram({ columns: 80 });
  const wide = withSubcommands(program).flatMap((command) => {
    stdout.length = 0;
    command.outputHelp();
    return stdout
      .join("")
      .split("\n")
      .filter((line) => line.length > 80 && !/^ {2}(\S+ )?mcp-coordinator [a-z]/.test(line));
  });
  expect(wide).toEqual([]);
});

test("every command that does something begins its help with examples", () => {
  const { program, stdout } = createTestProgram();
  for (const command of withSubcommands(program).filter((inner) => inner.commands.length === 0 && inner.name() !== "version")) {
    stdout.length = 0;
    command.outputHelp();
    expect(stdout.join("")).toMatch(/^Examples:\n {2}\S/);
  }
});
